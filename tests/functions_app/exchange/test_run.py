from __future__ import annotations

from datetime import UTC, datetime

import pytest

from functions_app import roles
from functions_app.exchange import export, import_file
from functions_app.exchange.entries import read
from functions_app.exchange.plan import Action, Taking, Terms
from functions_app.exchange.run import NotAllowed, Refused, carry_out
from functions_app.models import Function, FunctionVersion, Valves
from tests.builders import make_function, make_version
from tests.functions_app.sources import NO_CLASS, NO_CLASS_ERROR, OTHER_PIPE, PIPE, RAISES, with_valves

pytestmark = pytest.mark.django_db

ENTRY = {"id": "hello", "name": "Hello", "content": PIPE, "meta": {"description": "Says it.", "manifest": {"a": "b"}}}
SIZED = with_valves("size: int = 1")
SECRET = with_valves("size: int = 1\napi_key: str = ''")
OVERWRITE = Terms(overwrite=True)
SYNC = Terms(overwrite=True, delete=True)


def run(data, terms=Terms(), by=None, **more):  # noqa: B008 - terms are frozen
    return carry_out(read(data, policy=True), terms, by, **more)


def told(plan):
    return {change.id: (change.action.value, change.reasons) for change in plan.changes}


# --- What an import makes --------------------------------------------------------------------------------


def test_a_function_is_made_and_serves_but_is_not_switched_on(alice):
    (change,) = run(ENTRY, by=alice).changes
    assert change.as_json() == {
        "id": "hello", "action": "create", "version": 1, "reasons": ["new"], "notes": [], "error": None,
    }  # fmt: skip
    function = Function.objects.get()
    assert (function.name, function.owner, function.is_active, function.kind) == ("Hello", alice, False, "pipe")
    assert function.meta == {"description": "Says it."}
    version = function.live
    assert (version.number, version.state, version.author, version.source) == (1, "live", alice, PIPE)
    assert version.manifest["kind"] == "pipe"


def test_switches_policy_and_time_are_taken():
    run({**ENTRY, "is_active": True, "is_global": True, "policy": {"memory_mb": 256}, "created_at": 60})
    function = Function.objects.get()
    assert (function.is_active, function.is_global, function.policy) == (True, True, {"memory_mb": 256})
    assert function.created_at == datetime(1970, 1, 1, 0, 1, tzinfo=UTC)


def test_without_a_name_it_has_that_of_the_frontmatter():
    run([{"id": "a", "content": f'"""\ntitle: A title\n"""\n{PIPE}'}, {"id": "b", "content": PIPE}])
    assert list(Function.objects.values_list("name", flat=True)) == ["A title", "b"]


def test_valves_come_along():
    run({**ENTRY, "content": SIZED, "valves": {"size": "4", "unknown": 1}})
    assert Valves.objects.get().values == {"size": 4}


def test_what_exists_is_left_alone_unless_it_may_be_overwritten(alice):
    function = make_function("hello", SIZED)
    assert told(run({**ENTRY, "content": OTHER_PIPE})) == {"hello": ("keep", ["exists"])}
    assert function.versions.count() == 1
    assert told(run({**ENTRY, "content": OTHER_PIPE}, OVERWRITE, alice)) == {
        "hello": ("update", ["code (version 2)", "name", "meta"])
    }
    function.refresh_from_db()
    assert (function.live.number, function.live.source, function.name) == (2, OTHER_PIPE, "Hello")
    assert function.versions.get(number=1).state == "retired"
    assert function.owner is None


def test_the_same_again_changes_nothing():
    run({**ENTRY, "content": SIZED, "valves": {"size": 2}, "is_active": True}, SYNC)
    before = Function.objects.values().get(), Valves.objects.values("changed_at").get()
    assert told(run({**ENTRY, "content": SIZED, "valves": {"size": 2}, "is_active": True}, SYNC)) == {
        "hello": ("keep", [])
    }
    assert (Function.objects.values().get(), Valves.objects.values("changed_at").get()) == before


def test_a_draft_with_the_same_source_is_what_goes_live():
    function = make_function("hello", PIPE)
    draft = make_version(function, OTHER_PIPE, publish=False)
    run({**ENTRY, "content": OTHER_PIPE}, OVERWRITE)
    function.refresh_from_db()
    assert function.live == draft
    assert function.versions.count() == 2


def test_a_description_that_the_code_gives_is_no_fact_of_its_own():
    source = f'"""\ndescription: From the code.\n"""\n{PIPE}'
    run({"id": "a", "content": source, "meta": {"description": "From the code."}})
    assert Function.objects.get().meta == {}
    entries = export.entries(Function.objects.all())
    assert entries[0]["meta"]["description"] == "From the code."
    assert told(run(entries, OVERWRITE)) == {"a": ("keep", [])}


def test_a_policy_has_to_be_asked_for():
    (change,) = carry_out(read({**ENTRY, "policy": {"network": "open"}}), Terms(), None).changes
    assert Function.objects.get().policy == {}
    assert change.notes == ["It brings a policy of its own, which is left out: take it only from those whom you trust."]


# --- All or nothing --------------------------------------------------------------------------------------


def test_one_bad_entry_stops_all_and_every_problem_is_said():
    bad = [
        3,
        {"id": "a-b"},
        {**ENTRY, "id": "broken", "content": NO_CLASS},
        {**ENTRY, "id": "raises", "content": RAISES},
    ]
    with pytest.raises(Refused) as caught:
        run([ENTRY, *bad])
    assert caught.value.plan.problems == [
        "entry 2: This is no function: an object is needed, not int.",
        "entry 3: The id 'a-b' is not usable: only letters, digits and underscores are allowed, no digit first.",
        f"broken does not load: {NO_CLASS_ERROR}",
        "raises does not load: no configuration (line 3)",
    ]
    assert not Function.objects.exists()
    plan = run([ENTRY, *bad], partial=True)
    assert plan.count(Action.CREATE) == 1
    assert plan.count(Action.REFUSE) == 4
    assert Function.objects.get().pk == "hello"


def test_code_that_the_policy_refuses_is_a_problem():
    source = f"import socket\n{PIPE}"
    with pytest.raises(Refused, match=r"^hello does not load: The policy of this function does not allow it to import"):
        run({**ENTRY, "content": source, "policy": {"imports": {"deny": ["socket"]}}})
    make_function("old", PIPE, policy={"imports": {"deny": ["socket"]}})
    with pytest.raises(Refused, match="does not allow it to import socket"):
        run({"id": "old", "content": source}, OVERWRITE)
    run({"id": "old", "content": source, "policy": {}}, OVERWRITE)


def test_valves_that_do_not_fit_are_a_problem():
    with pytest.raises(
        Refused,
        match=r"^hello: the valves do not fit its code, or rules on them: size: Input should be a valid integer",
    ):
        run({**ENTRY, "content": SIZED, "valves": {"size": "x"}})
    make_function("old", SIZED, valves={"size": 3})
    with pytest.raises(
        Refused, match="the valves do not fit its code, or rules on them: size: Input should be greater than 5"
    ):
        run({"id": "old", "content": with_valves("size: int = Field(9, gt=5)")}, OVERWRITE)


def test_valves_of_code_without_any_are_left_out_with_a_note():
    (change,) = run({**ENTRY, "valves": {"size": 1}}).changes
    assert change.notes == ["It has no valves, so those given are left out."]
    assert not Valves.objects.exists()


def test_a_required_value_that_is_missing_is_a_note():
    source = with_valves("api_key: str\nsize: int = 1")
    source = source.replace("self.Valves()", "self.Valves(api_key='')")
    (change,) = run({**ENTRY, "content": source, "valves": {"size": 2}}).changes
    assert change.notes == ["It needs values for api_key; set them here."]
    assert Valves.objects.get().values == {"size": 2}


def test_an_administrators_rule_holds_for_imports_too():
    function = make_function("hello", SIZED, valves={"size": 3})
    Valves.objects.update(rules={"size": {"maximum": 5}})
    with pytest.raises(Refused, match=r"rules on them: size: Must be at most 5\."):
        run({"id": "hello", "content": SIZED, "valves": {"size": 9}}, OVERWRITE)
    function.valves.refresh_from_db()
    assert function.valves.values == {"size": 3}


def test_a_plan_alone_writes_nothing():
    plan = run([ENTRY, {**ENTRY, "id": "broken", "content": NO_CLASS}], only_plan=True)
    assert [change.action for change in plan.changes] == [Action.CREATE, Action.REFUSE]
    assert not Function.objects.exists()
    assert not FunctionVersion.objects.exists()


# --- Secrets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [{"size": 2}, {"size": 2, "api_key": ""}, {"size": 2, "api_key": "********"}])
def test_a_secret_that_is_absent_empty_or_masked_stays(given):
    make_function("hello", SECRET, valves={"api_key": "sk-1", "size": 1})
    run({"id": "hello", "content": SECRET, "valves": given}, SYNC)
    assert Valves.objects.get().values == {"api_key": "sk-1", "size": 2}


def test_absent_valves_stay_and_null_takes_them_back():
    make_function("hello", SECRET, valves={"api_key": "sk-1", "size": 5})
    entry = {"id": "hello", "content": SECRET}
    assert told(run(entry, SYNC)) == {"hello": ("keep", [])}
    run({**entry, "valves": {"api_key": None}}, SYNC)
    assert Valves.objects.get().values == {}
    Valves.objects.set_values(Function.objects.get(), {"api_key": "sk-1", "size": 5})
    assert told(run({**entry, "valves": None}, SYNC)) == {"hello": ("update", ["valves"])}
    assert Valves.objects.get().values == {}


def test_valves_that_nobody_has_any_more_stand_in_no_ones_way():
    function = make_function("hello", SECRET, valves={"api_key": "sk-1"})
    make_version(function, PIPE)
    for valves in ({}, {"size": 1}):
        assert told(run({"id": "hello", "content": PIPE, "valves": valves}, SYNC)) == {"hello": ("keep", [])}
    assert Valves.objects.get().values == {"api_key": "sk-1"}
    run({"id": "hello", "content": PIPE, "valves": None}, SYNC)
    assert Valves.objects.get().values == {}
    assert told(run({"id": "hello", "content": PIPE, "valves": None}, SYNC)) == {"hello": ("keep", [])}


def test_a_new_secret_replaces_the_stored_one():
    make_function("hello", SECRET, valves={"api_key": "sk-1"})
    run({"id": "hello", "content": SECRET, "valves": {"api_key": "sk-2"}}, SYNC)
    assert Valves.objects.get().values == {"api_key": "sk-2"}


def test_valves_that_cannot_be_read_can_only_be_taken_back(settings):
    make_function("hello", SECRET, valves={"api_key": "sk-1"})
    from cryptography.fernet import Fernet

    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    entry = {"id": "hello", "content": SECRET}
    with pytest.raises(Refused, match=r"hello: Valves\.values cannot be decrypted"):
        run({**entry, "valves": {"size": 2}}, SYNC)
    run({**entry, "valves": None}, SYNC)
    assert Valves.objects.get().values == {}


def test_no_secret_is_in_a_plan():
    make_function("hello", SECRET, valves={"api_key": "sk-stored"})
    plan = run({"id": "hello", "content": SECRET, "valves": {"api_key": "sk-given"}}, SYNC, only_plan=True)
    assert "sk-" not in str([change.as_json() for change in plan.changes])


def test_a_validators_words_do_not_carry_a_secret_out():
    source = SECRET + (
        "\n    from pydantic import field_validator\n    class Valves(Valves):\n"
        "        @field_validator('api_key')\n        def never(cls, value):\n            raise ValueError(f'not {value}')\n"
    )
    source = source.replace(
        "from pydantic import BaseModel, Field", "from pydantic import BaseModel, Field, field_validator"
    )
    source = source.replace("    from pydantic import field_validator\n", "")
    with pytest.raises(Refused) as caught:
        run({**ENTRY, "content": source, "valves": {"api_key": "sk-given-1"}})
    assert "sk-given-1" not in str(caught.value)


# --- Sync --------------------------------------------------------------------------------------------------


def test_a_sync_deletes_what_is_not_named_with_its_history():
    make_function("hello", PIPE)
    make_version(make_function("old", SIZED, valves={"size": 2}), OTHER_PIPE)
    assert told(run(ENTRY, SYNC)) == {"hello": ("update", ["name", "meta"]), "old": ("delete", ["missing"])}
    assert [version.function_id for version in FunctionVersion.objects.all()] == ["hello"]
    assert not Valves.objects.exists()


def test_a_sync_of_nothing_deletes_everything():
    make_function("hello", PIPE)
    run([], SYNC)
    assert not Function.objects.exists()


def test_a_refused_sync_deletes_nothing():
    make_function("old", PIPE)
    with pytest.raises(Refused):
        run({**ENTRY, "content": NO_CLASS}, SYNC)
    assert Function.objects.get().pk == "old"


def test_valves_of_new_functions_only():
    make_function("old", SIZED, valves={"size": 3})
    entries = [
        {"id": "old", "content": SIZED, "valves": {"size": 9}},
        {**ENTRY, "content": SIZED, "valves": {"size": 9}},
    ]
    run(entries, Terms(overwrite=True, valves=Taking.NEW))
    assert {row.function_id: row.values for row in Valves.objects.all()} == {"old": {"size": 3}, "hello": {"size": 9}}


# --- Permissions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "lacking"),
    [
        ({}, roles.AUTHOR),
        ({"is_active": True}, roles.ACTIVATE),
        ({"valves": {"size": 2}}, roles.CONFIGURE),
        ({"policy": {"memory_mb": 256}}, roles.SET_POLICY),
    ],
)
def test_what_somebody_may_not_do_is_not_done(more, lacking):
    with pytest.raises(NotAllowed, match=lacking):
        run({**ENTRY, "content": SIZED, **more}, may=lambda permission: permission != lacking)
    assert not Function.objects.exists()


def test_an_author_who_may_not_publish_makes_drafts():
    make_function("old", PIPE)
    terms = Terms(overwrite=True, serve=False)
    entries = [ENTRY, {"id": "old", "content": OTHER_PIPE}]
    run(entries, terms, may=lambda permission: permission == roles.AUTHOR)
    new, old = Function.objects.order_by("pk")
    assert (new.live, new.kind, new.newest.state) == (None, "pipe", "draft")
    assert (old.live.number, old.newest.number, old.newest.state) == (1, 2, "draft")
    assert told(run(entries, terms, may=lambda permission: permission == roles.AUTHOR)) == {
        "hello": ("keep", []),
        "old": ("keep", []),
    }


# --- Single files -------------------------------------------------------------------------------------------------


def test_an_import_file_says_what_became_of_it(tmp_path, alice):
    path = tmp_path / "my-pipe.py"
    path.write_text(PIPE)
    imported = import_file(path, alice)
    assert (imported.function, imported.created, imported.error) == (Function.objects.get(), True, None)
    assert not import_file(path, alice).created
    path.with_name("b.py").write_text(NO_CLASS)
    imported = import_file(path.with_name("b.py"), alice)
    assert (imported.function, imported.error) == (None, f"b does not load: {NO_CLASS_ERROR}")
