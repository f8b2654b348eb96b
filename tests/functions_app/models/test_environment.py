"""Sets of packages as rows: found again, claimed by one, given back, failed, and asked for again."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from functions_app.acting import API, acting, acting_as
from functions_app.models import Environment, FunctionVersion, claims
from functions_app.models.environment import requirement_key
from functions_app.runtime import RequirementError, ShuttingDown
from pipeline_app.runtime import ServerRuntime
from tests.builders import make_function, make_version
from tests.functions_app.sources import OTHER_PIPE, PIPE

pytestmark = pytest.mark.django_db

ASKING = '"""\nrequirements: tiny>=1, other\n"""\n' + PIPE
HERE = ("py", "base-1")


def make_environment(*requirements: str, lock: str = "tiny==1.0", **fields) -> Environment:
    told = {
        "lock": lock,
        "digest": lock and f"digest of {lock}"[:64],
        "state": "ready",
        "kind": "overlay",
        "base": "base-1",
    }
    return Environment.objects.create(
        **{
            **told,
            "requirements": list(requirements),
            "key": requirement_key(requirements, "py"),
            "python": "py",
            **fields,
        }
    )


def abandon(*models) -> None:
    for model in models:
        model.objects.filter(state="building").update(claimed_until=timezone.now() - timedelta(seconds=1))


def until(holds) -> None:
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("It never came to that.")


class Runtime(ServerRuntime):
    """Makes packages ready as a test says, and runs code for real."""

    prepares: Any = None

    def prepare(self, version):
        return type(self).prepares(version)


@pytest.fixture
def preparing(settings):
    """Lets a test say what comes of making packages ready."""
    settings.FUNCTIONS_RUNTIME = "tests.functions_app.models.test_environment.Runtime"

    def says(does) -> None:
        Runtime.prepares = staticmethod(does)

    says(lambda version: None)
    return says


def raises(error):
    def does(version):
        raise error

    return does


# --- Which set a version gets -----------------------------------------------------------------------------


def test_a_version_gets_its_own_set_else_that_of_the_same_requirements():
    function = make_function(source=PIPE)
    version = make_version(function, ASKING, publish=False)
    requirements = version.requirements
    assert Environment.objects.wanted_by(version, requirements, *HERE) is None
    newer = make_environment(*reversed(requirements))
    assert Environment.objects.wanted_by(version, requirements, *HERE) == newer
    version.environment = make_environment(
        *requirements, lock="tiny==0.9", created_at=timezone.now() - timedelta(days=9)
    )
    assert Environment.objects.wanted_by(version, requirements, *HERE) == version.environment


@pytest.mark.parametrize(
    "change", [{"python": "another"}, {"base": "base-2"}, {"lock": "", "digest": "", "state": "building"}]
)
def test_a_set_for_other_ground_or_without_a_lock_is_not_used(change):
    version = make_version(make_function(), ASKING, publish=False)
    version.environment = make_environment(*version.requirements, **change)
    assert Environment.objects.wanted_by(version, version.requirements, *HERE) is None


def test_an_edit_that_asks_for_the_same_gets_the_same_whoever_first_locked_it():
    function = make_function(source=PIPE)
    first = make_version(function, ASKING, publish=False)
    shared = make_environment("another way to ask for it")
    FunctionVersion.objects.filter(pk=first.pk).update(
        environment=shared, manifest={"requirements": ["other", "tiny>=1"]}
    )
    edit = make_version(function, ASKING + "# edited\n", publish=False)
    assert Environment.objects.wanted_by(edit, edit.requirements, *HERE) == shared


def test_there_is_one_attempt_at_a_time_and_a_lock_has_one_row():
    first = Environment.objects.attempt(["a", "b"], "py")
    assert Environment.objects.attempt(["b", "a"], "py") == first
    found = first.locked("a==1", "d" * 32, "overlay", {"a": "1"}, "base-1")
    assert (found, found.base) == (first, "base-1")
    second = Environment.objects.attempt(["a", "b"], "py")
    assert second != first
    other = second.locked("a==1", "d" * 32, "complete", {"a": "1"}, "base-1")
    assert other == first
    second.discard(other)
    assert list(Environment.objects.all()) == [first]


@pytest.mark.parametrize("change", [{"state": "odd"}, {"state": "failed"}, {"state": "ready", "digest": ""}])
def test_the_database_keeps_the_rules(change):
    row = make_environment("a")
    with pytest.raises(IntegrityError), transaction.atomic():
        Environment.objects.filter(pk=row.pk).update(**change)


# --- How publishing goes ----------------------------------------------------------------------------------


def test_a_version_whose_packages_cannot_be_had_is_broken_and_keeps_their_set(preparing):
    function = make_function(source=PIPE)

    def fails(version):
        version.link(row)
        row.failed("network", "The index cannot be reached.", "what uv said")
        raise RequirementError("The index cannot be reached.", code="network")

    row = Environment.objects.attempt(["tiny>=1", "other"], "py")
    preparing(fails)
    version = make_version(function, ASKING)
    assert (version.state, version.environment, version.wish) == ("broken", row, None)
    assert version.error["message"] == "The index cannot be reached."
    row.refresh_from_db()
    assert (row.state, row.error["code"], row.log) == ("failed", "network", "what uv said\n")
    assert (function.live.number, function.is_active) == (1, True)


def test_a_server_that_stops_gives_the_version_back(preparing):
    version = make_version(make_function(source=PIPE), OTHER_PIPE, publish=False)
    preparing(raises(ShuttingDown()))
    with pytest.raises(ShuttingDown):
        version.publish(name="Renamed")
    version.refresh_from_db()
    assert (version.state, version.error, version.claimed_by) == ("building", None, "")
    assert not claims.held
    preparing(lambda version: None)
    taken = FunctionVersion.objects.take(claims.new_claim())
    assert taken == version
    assert taken.carry_out() is True
    function = version.function
    function.refresh_from_db()
    assert (function.live, function.name) == (version, "Renamed")


def test_who_wanted_it_is_known_to_whoever_takes_it_up(alice):
    version = make_version(make_function(source=PIPE), OTHER_PIPE, publish=False)
    with acting_as(alice, API):
        version.ask_for_publication(claim="")
    taken = FunctionVersion.objects.take("somebody")
    with acting_as(*taken.wished_by()):
        assert acting() == (alice, API)


def test_a_claim_holds_until_it_runs_out_and_is_renewed():
    version = make_version(make_function(source=PIPE), OTHER_PIPE, publish=False)
    version.ask_for_publication("first")
    assert FunctionVersion.objects.take("second") is None
    abandon(FunctionVersion)
    FunctionVersion.objects.renew(["first"])
    assert FunctionVersion.objects.take("second") is None
    abandon(FunctionVersion)
    assert FunctionVersion.objects.take("second").taken == 1
    assert FunctionVersion.objects.take("third") is None
    claims.held.clear()


@pytest.mark.django_db(transaction=True)
def test_a_process_without_a_server_renews_what_it_holds_and_a_dead_one_soon_holds_nothing(monkeypatch):
    monkeypatch.setattr(claims, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(claims, "renewing", False)
    claims.held.clear()
    version = make_version(make_function(source=PIPE), OTHER_PIPE, publish=False)
    version.ask_for_publication("mine")
    latest = timezone.now() + claims.LEASE
    version.refresh_from_db()
    assert version.claimed_until <= latest + timedelta(seconds=1)
    abandon(FunctionVersion)
    until(lambda: not FunctionVersion.objects.abandoned().exists())
    assert FunctionVersion.objects.take("other") is None
    renewer = claims._renewer
    claims.held.clear()
    renewer.join(60)
    assert (renewer.is_alive(), claims._renewer) == (False, None)
    abandon(FunctionVersion)
    assert FunctionVersion.objects.take("other") == version
    claims.held.clear()


def test_what_ends_each_process_is_given_up():
    function = make_function(source=PIPE)
    version = make_version(function, OTHER_PIPE, publish=False)
    version.ask_for_publication(claim="")
    for _ in range(claims.TAKEN_MOST + 1):
        abandon(FunctionVersion)
        taken = FunctionVersion.objects.take(claims.new_claim())
    assert taken.taken > claims.TAKEN_MOST
    taken.give_up()
    version.refresh_from_db()
    assert (version.state, version.error["type"], version.taken) == ("broken", "Abandoned", 0)
    claims.held.clear()


@pytest.mark.django_db(transaction=True)
def test_of_many_processes_one_gets_it():
    version = make_version(make_function("busy", PIPE), OTHER_PIPE, publish=False)
    version.ask_for_publication(claim="")
    got: list[object] = []

    def take(number: int) -> None:
        try:
            got.append(FunctionVersion.objects.take(f"process {number}"))
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found is not None for found in got) == [False] * 5 + [True]
    claims.held.clear()


# --- Once more --------------------------------------------------------------------------------------------


def failed_for(*versions: FunctionVersion) -> Environment:
    row = Environment.objects.attempt(["tiny"], "py")
    row.failed("network", "No network.")
    error = {"type": "RequirementError", "message": "No network.", "line": None, "traceback": None}
    for version in versions:
        FunctionVersion.objects.filter(pk=version.pk).update(
            state="broken", error=error, environment=row, asked_at=timezone.now()
        )
    return row


def test_a_retry_publishes_what_only_this_kept_from_serving():
    newest = make_version(make_function("one", PIPE), OTHER_PIPE, publish=False)
    overtaken = make_version(make_function("two", PIPE), OTHER_PIPE, publish=False)
    row = failed_for(newest, overtaken)
    make_version(overtaken.function, PIPE + "# later\n")
    again = row.retry()
    assert again == [newest]
    row.refresh_from_db()
    assert (row.state, row.error, row.asked_at) == ("building", None, None)
    assert row.retry() == []
    states = FunctionVersion.objects.values_list("state", flat=True)
    assert states.get(pk=newest.pk) == "building"
    assert states.get(pk=overtaken.pk) == "broken"


def test_a_retry_without_versions_is_asked_for_by_itself():
    row = failed_for()
    assert row.retry() == []
    assert Environment.objects.exclude(asked_at=None).take("me") == row
    claims.held.clear()


def test_what_is_ready_is_built_again_only_where_its_folder_is_missing():
    row = make_environment("tiny")
    row.retry()
    assert row.state == "ready"
    row.retry(is_there=False)
    assert row.state == "building"


def test_what_nobody_builds_any_more_counts_as_failed_after_a_while():
    row = Environment.objects.attempt(["tiny"], "py")
    assert Environment.objects.bury() == 0
    Environment.objects.filter(pk=row.pk).update(updated_at=timezone.now() - timedelta(hours=2))
    assert Environment.objects.bury() == 1
    row.refresh_from_db()
    assert (row.state, row.error["code"]) == ("failed", "ended")
