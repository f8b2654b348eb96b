"""What functions may ask of the server: within the caller's rights and the function's grants, whichever is less."""

from __future__ import annotations

import base64
import uuid
from dataclasses import replace

import pytest
from asgiref.sync import async_to_sync

from functions_app.policy import GRANTS, Policy
from pipeline_app import hostcalls
from pipeline_app.hostcalls import METHODS, HostCalls, declared, files
from pipeline_app.hostcalls.users import PUBLIC_FIELDS
from pipeline_app.runners.base import Identity
from pipeline_app.snapshot import person_of
from tests.builders import make_model, make_user
from tests.pipeline_app.hostcalls.conftest import refusal

# --- What is asked -----------------------------------------------------------------------------------------


def test_every_host_call_takes_a_grant_that_exists():
    assert {call.grant for call in METHODS.values()} <= set(GRANTS)


def test_an_unknown_call_is_refused_with_those_there_are(ask, bob):
    assert refusal(ask, bob, "os.system") == f"There is no host call 'os.system'; there are {', '.join(METHODS)}."
    assert refusal(ask, bob, ["users.get"]).startswith("There is no host call")


def test_without_the_grant_nothing_is_answered(ask, bob):
    for method, call in METHODS.items():
        policy = Policy(grants=tuple(grant for grant in GRANTS if grant != call.grant))
        assert refusal(ask, bob, method, policy=policy) == (
            f"This function may not ask for {method}: its policy does not have the grant '{call.grant}'."
        )


def test_without_a_caller_nothing_is_answered(ask, db):
    for method in METHODS:
        assert refusal(ask, None, method, policy=Policy(grants=tuple(GRANTS))) == (
            f"Nobody is behind this call of the function, so {method} has nobody's rights."
        )


def test_the_scopes_of_the_callers_key_hold_for_functions_too(ask, bob):
    person = replace(person_of(bob), scopes=frozenset({"models"}))
    assert ask(person, "models.list") == []
    for method in (name for name in METHODS if name.startswith("files.")):
        assert refusal(ask, person, method) == (
            f"{method} is refused: the caller's key does not have the scope 'files'."
        )
    person = replace(person, scopes=frozenset({"files"}))
    assert ask(person, "files.list")["total"] == 0
    assert "the scope 'models'" in refusal(ask, person, "models.list")


@pytest.mark.parametrize(
    ("method", "params", "sentence"),
    [
        ("users.get", {}, "users.get needs the parameter 'id': text of at most 255 characters."),
        ("users.get", [], "The parameters of users.get are an object."),
        ("users.get", None, "users.get needs the parameter 'id': text of at most 255 characters."),
        ("users.get", {"id": 7}, "'id' of users.get must be text of at most 255 characters."),
        ("users.get", {"id": "x" * 256}, "'id' of users.get must be text of at most 255 characters."),
        ("users.get", {"id": "x", "as": "alice"}, "users.get has no parameter 'as'; its parameters are: id."),
        ("models.list", {"x": 1}, "models.list has no parameter 'x'; its parameters are: none."),
        ("users.list", {"skip": -1}, "'skip' of users.list must be a whole number from 0 to 1000000000."),
        ("users.list", {"limit": True}, "'limit' of users.list must be a whole number from 1 to 100."),
        ("users.list", {"limit": 1.0}, "'limit' of users.list must be a whole number from 1 to 100."),
        ("users.list", {"limit": None}, "'limit' of users.list must be a whole number from 1 to 100."),
    ],
)
def test_parameters_are_checked(ask, bob, method, params, sentence):
    if params is None:
        assert refusal(ask, bob, method) == sentence
    else:
        assert refusal(ask, bob, method, params) == sentence


# --- Users -------------------------------------------------------------------------------------------------


def test_one_sees_oneself_whole_and_others_in_public(ask, alice, bob):
    assert ask(bob, "users.get", id=str(bob.pk)) == bob.to_wire()
    seen = ask(bob, "users.get", id=str(alice.pk))
    assert seen.keys() == alice.to_wire().keys()
    assert {name: value for name, value in seen.items() if value} == {
        name: value for name, value in alice.to_wire().items() if value and name in PUBLIC_FIELDS
    }
    assert seen["email"] == ""
    assert ask(alice, "users.get", id=str(bob.pk)) == bob.to_wire()


def test_who_is_not_there_is_none(ask, alice):
    for id in (str(uuid.uuid4()), "", "nobody", "1' or 1=1", "\x00", "\ud800"):
        assert ask(alice, "users.get", id=id) is None


def test_the_list_of_users_is_for_those_who_may_view_users(ask, alice, bob):
    everybody = ask(alice, "users.list")
    assert everybody == {"users": [alice.to_wire(), bob.to_wire()], "total": 2}
    assert ask(alice, "users.list", skip=1, limit=1) == {"users": [bob.to_wire()], "total": 2}
    assert ask(bob, "users.list") == {"users": [bob.to_wire()], "total": 1}


# --- Models ------------------------------------------------------------------------------------------------


def test_models_are_those_that_the_caller_may_use(ask, alice, bob, changed):
    from django.contrib.auth.models import Group

    group = Group.objects.create(name="few")
    make_model("open", "echo", system_prompt="Be secret.", params={"temperature": 1}, meta={"description": "d"})
    make_model("off", "echo", is_active=False)
    make_model("few", "echo", groups=[group])
    changed()
    assert [model["id"] for model in ask(bob, "models.list")] == ["open"]
    assert [model["id"] for model in ask(alice, "models.list")] == ["few", "off", "open"]
    assert ask(bob, "models.get", id="few") is None
    assert ask(bob, "models.get", id="nothing") is None
    model = ask(bob, "models.get", id="open")
    assert (model["base_model_id"], model["params"], model["meta"]["description"]) == ("echo", {}, "d")
    assert ask(alice, "models.get", id="open")["params"] == {"temperature": 1, "system": "Be secret."}
    bob.groups.add(group)
    assert [model["id"] for model in ask(bob, "models.list")] == ["few", "open"]


# --- Files -------------------------------------------------------------------------------------------------


def test_files_are_the_callers_own_even_for_an_admin(ask, store, alice, bob):
    mine, other = store(bob), store(alice, "private.txt")
    assert [item["filename"] for item in ask(bob, "files.list")["items"]] == ["notes.txt"]
    assert ask(bob, "files.get", id=str(other.pk)) is None
    assert ask(alice, "files.get", id=str(mine.pk)) is None
    for method in ("files.read", "files.stream"):
        assert refusal(ask, bob, method, id=str(other.pk)) == f"The caller has no file '{other.pk}'."
    data = ask(bob, "files.get", id=str(mine.pk))
    assert data["meta"] == {"name": "notes.txt", "content_type": "text/plain", "size": 5}
    assert (data["user_id"], data["hash"]) == (str(bob.pk), "ab")
    assert data["data"] == {"status": "completed", "content": "hello"}


def test_a_file_is_read_in_pieces(ask, store, bob):
    content = bytes(range(256)) * 1000
    row = store(bob, content=content)
    pieces = [base64.b64decode(piece) for piece in ask(bob, "files.stream", id=str(row.pk))]
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) == files.PART
    assert base64.b64decode(ask(bob, "files.read", id=str(row.pk))) == content
    assert base64.b64decode(ask(bob, "files.read", id=str(row.pk), offset=255, length=3)) == content[255:258]
    assert ask(bob, "files.read", id=str(row.pk), offset=10**9) == ""


def test_a_file_without_its_content_is_a_sentence(ask, store, bob):
    row = store(bob)
    row.content.storage.delete(row.content.name)
    for method in ("files.read", "files.stream"):
        assert refusal(ask, bob, method, id=str(row.pk)) == f"The content of file {row.pk} is not there."


def test_one_function_takes_a_few_places_in_the_database(ask, alice, monkeypatch):
    """Many calls at once: no more than four are looked up at the same time, and all are answered."""
    import asyncio

    calls, person = HostCalls(), person_of(alice)
    strangers = [str(make_user().pk) for _ in range(12)]
    running = most = 0

    async def slowly(work, *args):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return None

    monkeypatch.setattr(declared, "in_database", slowly)

    async def many():
        identity = Identity(person, Policy(), "f", "pipe")
        return await asyncio.gather(*(calls.call(identity, "users.get", {"id": id}) for id in strangers))

    assert async_to_sync(many)() == [None] * 12
    assert most == hostcalls.FUNCTION_AT_ONCE
