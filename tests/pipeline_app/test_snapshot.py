"""What every request knows, and how it notices that it changed."""

from __future__ import annotations

from asgiref.sync import async_to_sync

from functions_app import generation
from functions_app.models import Environment, Function, FunctionVersion
from pipeline_app.dispatch import _entry
from pipeline_app.runtime import code_of
from pipeline_app.snapshot import snapshot
from tests.builders import make_function


def test_a_re_read_takes_only_what_changed(fresh_snapshot, base_packages, changed, django_assert_num_queries):
    for number in range(3):
        make_function(f"f{number}")
    first = async_to_sync(snapshot.functions)()
    assert sorted(first.entries) == ["f0", "f1", "f2"]
    assert async_to_sync(snapshot.functions)() is first
    function = make_function("f3")
    changed()
    second = async_to_sync(snapshot.functions)()
    assert second is not first
    assert second.entries["f0"].code.source is first.entries["f0"].code.source
    assert second.entries["f3"].code.number == function.live.number


def test_a_crash_between_commit_and_publication_is_healed_once(fresh_snapshot, base_packages):
    published = generation.publication()
    make_function("f0")
    async_to_sync(snapshot.functions)()
    make_function("unpublished")  # a test's transaction never commits, so nobody is told
    assert "unpublished" not in async_to_sync(snapshot.functions)().entries

    async def look():
        await snapshot._compare_with_database()
        await snapshot._heal()

    async_to_sync(look)()
    assert "unpublished" in async_to_sync(snapshot.functions)().entries
    healed = published.read()
    async_to_sync(look)()
    assert published.read() == healed


def test_healing_never_brings_an_older_token_back(fresh_snapshot, base_packages):
    published = generation.publication()
    make_function("f0")

    async def race():
        await snapshot._compare_with_database()
        published.publish(generation.FUNCTIONS, b"newer token 0001")
        await snapshot._heal()

    before = published.read()
    async_to_sync(race)()
    assert published.read()[0] not in {before[0], generation.stored()[0]}


def test_an_unknown_key_is_asked_for_once_until_something_changes(fresh_snapshot, alice, django_assert_num_queries):
    from pipeline_app.models import ApiKey

    with django_assert_num_queries(1):
        assert async_to_sync(snapshot.person)("sk-unknown") is None
    with django_assert_num_queries(0):
        assert async_to_sync(snapshot.person)("sk-unknown") is None
    _, text = ApiKey.objects.issue(alice)
    person = async_to_sync(snapshot.person)(text)
    assert person.user["name"] == "alice"
    assert person.is_admin
    assert text not in repr(person)


def test_a_restart_gives_the_code_another_key(fresh_snapshot, base_packages, changed):
    function = make_function("f0")
    make_function("f1")
    changed()
    before = async_to_sync(snapshot.functions)().entries
    function.restart()
    changed()
    after = async_to_sync(snapshot.functions)().entries
    assert after["f0"].code.key != before["f0"].code.key
    assert after["f1"].code.key == before["f1"].code.key
    assert after["f0"].code.key == code_of(Function.objects.get(pk="f0").live).key


def test_a_version_runs_with_the_packages_of_its_environment_and_a_change_of_it_is_seen(
    fresh_snapshot, base_packages, changed, settings, django_assert_max_num_queries
):
    live = make_function("f0").live
    make_function("f1")

    def now():
        changed()
        with django_assert_max_num_queries(6):
            entries = async_to_sync(snapshot.functions)().entries
        code = entries["f0"].code
        assert code.key == code_of(Function.objects.get(pk="f0").live).key
        assert entries["f1"].code.folders == ()
        return code

    before = now()
    assert (before.packages, before.environment) == ((), "")
    folder = settings.FUNCTIONS_ENVIRONMENTS
    laid_over = Environment.objects.create(digest="1" * 24, kind="overlay", state="ready")
    FunctionVersion.objects.filter(pk=live.pk).update(environment=laid_over)
    code = now()
    assert (code.packages, code.environment) == ((f"{folder}/set-{'1' * 24}",), "")
    assert code.source is before.source
    own = Environment.objects.create(digest="2" * 24, kind="complete", state="ready")
    FunctionVersion.objects.filter(pk=live.pk).update(environment=own)
    code = now()
    assert (code.packages, code.environment) == ((), f"{folder}/set-{'2' * 24}")
    assert _entry("f0").code.key == code.key
