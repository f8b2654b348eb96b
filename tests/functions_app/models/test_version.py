from __future__ import annotations

import threading

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import RestrictedError
from django.utils import timezone

from functions_app.models import Function, FunctionVersion, Valves
from pipeline_app.worker.imports import refusal
from tests.builders import make_function, make_version
from tests.functions_app.sources import (
    FILTER,
    NO_CLASS,
    NO_CLASS_ERROR,
    OTHER_PIPE,
    PIPE,
    RAISES,
    SYNTAX_ERROR,
    with_valves,
)

pytestmark = pytest.mark.django_db


def states(function: Function) -> dict[int, str]:
    return dict(function.versions.values_list("number", "state"))


def test_publishing_retires_what_was_live():
    function = make_function(source=PIPE)
    version = make_version(function, OTHER_PIPE)
    assert states(function) == {1: "retired", 2: "live"}
    assert function.live == version
    assert version.manifest["kind"] == "pipe"
    assert version.error is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (NO_CLASS, NO_CLASS_ERROR),
        (RAISES, "no configuration"),
    ],
)
def test_a_broken_edit_leaves_the_last_good_version(source, message):
    function = make_function(source=PIPE)
    good = function.live
    version = function.save_source(source)
    assert version.publish() is False
    function.refresh_from_db()
    version.refresh_from_db()
    assert (function.live, function.is_active) == (good, True)
    assert states(function) == {1: "live", 2: "broken"}
    assert version.error["message"] == message
    assert version.source == source


def test_a_syntax_error_is_kept_with_its_line():
    version = make_version(make_function(), SYNTAX_ERROR)
    assert version.state == "broken"
    assert (version.error["type"], version.error["line"]) == ("SyntaxError", 2)


def test_an_older_version_is_made_live_again_without_a_new_one():
    function = make_function(source=PIPE)
    first = function.live
    make_version(function, OTHER_PIPE)
    assert first.publish() is True
    function.refresh_from_db()
    assert function.live == first
    assert states(function) == {1: "live", 2: "retired"}


def test_publishing_the_live_version_changes_nothing():
    function = make_function()
    assert function.live.publish() is True
    assert states(function) == {1: "live"}


def test_a_version_beside_a_broken_newest_can_be_published():
    function = make_function(source=PIPE)
    draft = make_version(function, OTHER_PIPE, publish=False)
    make_version(function, SYNTAX_ERROR)
    assert draft.publish() is True
    assert states(function) == {1: "retired", 2: "live", 3: "broken"}


def test_the_kind_follows_the_live_version():
    function = make_function(source=PIPE)
    make_version(function, FILTER)
    assert function.kind == "filter"


def test_the_manifest_has_frontmatter_and_requirements():
    source = '"""\ntitle: Hello\nrequirements: pydantic>=2,<3\n"""\n' + PIPE
    manifest = make_function(source=source).live.manifest
    assert manifest["frontmatter"] == {"title": "Hello", "requirements": "pydantic>=2,<3"}
    assert manifest["requirements"] == ["pydantic<3,>=2"]


def test_a_malformed_requirement_breaks_the_version():
    version = make_version(make_function(), '"""\nrequirements: not a package!\n"""\n' + PIPE)
    assert version.error == {
        "type": "RequirementError",
        "message": "The requirement 'not a package!' in the frontmatter is not a valid one: "
        "Expected semicolon (after name with no version specifier) or end.",
        "line": None,
        "traceback": None,
    }


def test_imports_that_the_policy_refuses_break_the_version():
    function = make_function(policy={"imports": {"deny": ["subprocess"]}})
    version = make_version(function, "import subprocess\n" + PIPE)
    assert version.error["message"] == refusal(["subprocess"])
    assert version.error["line"] == 1


def test_imports_that_only_a_hook_makes_are_refused_in_the_same_words():
    function = make_function(policy={"imports": {"deny": ["subprocess"]}})
    version = make_version(function, PIPE + "\n\ndef later():\n    import subprocess\n")
    assert version.error["message"] == refusal(["subprocess"])
    assert version.error["line"] is None


def test_valves_that_do_not_fit_new_code_keep_it_from_going_live():
    function = make_function(source=with_valves("size: int = 1"), valves={"size": 7})
    version = make_version(function, with_valves("size: int = Field(1, le=5)"))
    assert version.state == "broken"
    assert version.error["type"] == "InvalidValves"
    assert version.error["message"] == (
        "Current Valves are incompatible with this code: size: Input should be less than or equal to 5"
    )
    assert function.live.number == 1


def test_a_valve_that_new_code_requires_and_nobody_set_does_not_keep_it_from_going_live():
    function = make_function(source=with_valves("size: int = 1"), valves={"size": 7})
    source = with_valves("size: int = 1\nkey: str").replace("self.Valves()", "self.Valves(key='')")
    assert make_version(function, source).state == "live"


def test_set_valves_survive_a_version_without_them():
    function = make_function(source=with_valves("size: int = 1"), valves={"size": 7})
    make_version(function, PIPE)
    make_version(function, with_valves("size: int = 1\nother: int = 2"))
    assert Valves.objects.get(function=function).values == {"size": 7}


def test_a_lost_valve_key_keeps_versions_from_going_live(settings):
    function = make_function(source=with_valves("size: int = 1"), valves={"size": 7})
    settings.VALVE_KEYS = ["c2l4dGVlbiBieXRlcyBvZiBrZXkgYW5kIHNpeHRlZW4="]
    version = make_version(function, with_valves("size: int = 2"))
    assert version.error["type"] == "UndecryptableValves"
    assert function.live.number == 1


SLOW = "import time\n\ntime.sleep(1)\n\n\n" + PIPE
"""A pipe whose source takes a while to load."""


@pytest.fixture
def publish_slowly():
    """Publishes a version in a thread, runs something while that is being checked, and waits for its end."""

    def publish(version: FunctionVersion, meanwhile) -> FunctionVersion:
        failures: list[BaseException] = []

        def work() -> None:
            try:
                version.publish()
            except BaseException as error:
                failures.append(error)
            finally:
                connection.close()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            while not FunctionVersion.objects.filter(pk=version.pk, state="building").exists():
                assert thread.is_alive(), failures
            meanwhile()
        finally:
            thread.join()
        assert failures == []
        version.refresh_from_db()
        return version

    return publish


@pytest.mark.django_db(transaction=True)
def test_the_later_wish_wins(publish_slowly):
    function = make_function(source=PIPE)
    slow = make_version(function, SLOW, publish=False)
    publish_slowly(slow, lambda: make_version(function, FILTER))
    assert states(function) == {1: "retired", 2: "retired", 3: "live"}
    assert slow.error["message"] == "Version 3 was published while this one was being prepared; it serves."
    function.refresh_from_db()
    assert (function.live.number, function.kind) == (3, "filter")
    assert slow.publish() is True


@pytest.mark.django_db(transaction=True)
def test_what_is_live_serves_while_a_version_is_checked(publish_slowly):
    function = make_function(source=PIPE)
    slow = make_version(function, SLOW, publish=False)
    seen: list[dict[int, str]] = []
    publish_slowly(slow, lambda: seen.append(states(function)))
    assert seen == [{1: "live", 2: "building"}]
    assert states(function) == {1: "retired", 2: "live"}


@pytest.mark.django_db(transaction=True)
def test_a_function_can_be_deleted_while_a_version_is_checked(publish_slowly):
    function = make_function(source=PIPE)
    slow = make_version(function, SLOW, publish=False)
    with pytest.raises(AssertionError, match="DoesNotExist"):
        publish_slowly(slow, function.delete)
    assert not FunctionVersion.objects.exists()


def test_a_publication_that_ends_without_a_verdict_leaves_no_mark(settings):
    function = make_function(source=PIPE)
    version = make_version(function, OTHER_PIPE, publish=False)
    settings.FUNCTIONS_RUNTIME = "tests.functions_app.models.test_version.StoppedRuntime"
    with pytest.raises(KeyboardInterrupt):
        version.publish()
    assert states(function) == {1: "live", 2: "draft"}


class StoppedRuntime:
    """A runtime whose owner presses Ctrl-C."""

    def prepare(self, version: FunctionVersion) -> None:
        raise KeyboardInterrupt


def test_valves_set_during_the_check_are_checked_again():
    function = make_function(source=with_valves("size: int = 1"))
    version = make_version(function, with_valves("size: int = Field(1, le=5)"), publish=False)
    seen = version._check_valves({"valves": {}})
    Valves.objects.set_values(function, {"size": 7})
    assert version._go_live({"kind": "pipe"}, timezone.now(), seen) is None
    assert version.publish() is False


def test_a_version_never_changes():
    function = make_function()
    version = function.live
    version.source = OTHER_PIPE
    with pytest.raises(ValidationError) as caught:
        version.save()
    assert caught.value.messages == [
        "A version never changes: its source cannot be set. Save the function for a new version."
    ]
    with pytest.raises(ValidationError):
        FunctionVersion.objects.filter(pk=version.pk).update(source=OTHER_PIPE)
    with pytest.raises(ValidationError):
        function.versions.update(number=7)
    with pytest.raises(ValidationError):
        FunctionVersion.objects.bulk_update([version], ["source"])
    with pytest.raises(IntegrityError), transaction.atomic():
        FunctionVersion(pk=version.pk, function=function, number=9, source=OTHER_PIPE).save()
    version.refresh_from_db()
    assert version.source != OTHER_PIPE


def test_only_the_live_version_cannot_be_deleted():
    function = make_function()
    first = function.live
    make_version(function, OTHER_PIPE)
    first.delete()
    with pytest.raises(RestrictedError):
        function.live.delete()


@pytest.mark.parametrize(
    "change",
    [{"state": "odd"}, {"state": "live"}, {"state": "broken"}],
)
def test_the_database_keeps_the_rules(change):
    function = make_function()
    draft = make_version(function, OTHER_PIPE, publish=False)
    with pytest.raises(IntegrityError), transaction.atomic():
        FunctionVersion.objects.filter(pk=draft.pk).update(**change)
    with pytest.raises(IntegrityError), transaction.atomic():
        FunctionVersion.objects.create(function=function, number=draft.number, source=PIPE)


def test_what_postgresql_cannot_store_is_replaced_in_manifests():
    function = make_function(source=with_valves("text: str = 'a\\0b\\ud800'\nsize: float = float('nan')"))
    function.live.refresh_from_db()
    properties = function.live.manifest["valves"]["properties"]
    assert "\0" not in properties["text"]["default"]
    assert properties["size"].get("default") is None


@pytest.mark.django_db(transaction=True)
def test_concurrent_publications_leave_exactly_one_live():
    function = make_function("busy", PIPE)
    drafts = [make_version(function, PIPE + f"# {number}\n", publish=False) for number in range(6)]
    failures: list[BaseException] = []

    def publish(version: FunctionVersion) -> None:
        try:
            FunctionVersion.objects.get(pk=version.pk).publish()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=publish, args=[version]) for version in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    function.refresh_from_db()
    assert [version.pk for version in function.versions.filter(state="live")] == [function.live_id]
    assert set(states(function).values()) == {"live", "retired"}


@pytest.mark.django_db(transaction=True)
def test_concurrent_saves_get_different_numbers():
    function = make_function("busy", PIPE)
    failures: list[BaseException] = []

    def save(number: int) -> None:
        try:
            Function.objects.get(pk="busy").save_source(PIPE + f"# {number}\n")
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(states(function)) == [1, 2, 3, 4, 5, 6, 7]
