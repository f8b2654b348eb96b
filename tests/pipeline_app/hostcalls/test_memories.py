"""What functions remember of the caller, and of nobody else."""

from __future__ import annotations

import pytest

from functions_app.models import Memory, memory
from tests.pipeline_app.hostcalls.conftest import refusal


def test_memories_are_made_changed_and_forgotten(ask, bob):
    made = ask(bob, "memories.create", user_id=str(bob.pk), content="Likes tea\x00", meta={"a": 1})
    assert (made["content"], made["type"], made["path"]) == ("Likes tea\ufffd", "context", None)
    assert ask(bob, "memories.list") == [made]
    changed = ask(bob, "memories.change", id=made["id"], content="Likes coffee", type="user", meta={"b": 2})
    assert (changed["content"], changed["type"], changed["meta"]) == ("Likes coffee", "user", {"a": 1, "b": 2})
    assert ask(bob, "memories.change", id=made["id"], path="drinks", move=True)["path"] == "drinks"
    kept = ask(bob, "memories.change", id=made["id"], path="ignored")
    assert (kept["path"], kept["content"]) == ("drinks", "Likes coffee")
    assert ask(bob, "memories.delete", ids=["nothing", made["id"]]) == 1
    assert ask(bob, "memories.list") == [] and ask(bob, "memories.delete", ids=[made["id"]]) == 0


def test_they_are_the_callers_own_even_for_an_admin(ask, alice, bob):
    made = ask(bob, "memories.create", user_id=str(bob.pk), content="Likes tea")
    assert ask(alice, "memories.list") == []
    assert ask(alice, "memories.change", id=made["id"], content="x") is None
    assert ask(alice, "memories.delete", ids=[made["id"]]) == 0 and ask(alice, "memories.delete") == 0
    assert refusal(ask, alice, "memories.create", user_id=str(bob.pk), content="x") == (
        "A function remembers things of the caller, and of nobody else."
    )
    assert Memory.objects.get().content == "Likes tea"
    assert ask(bob, "memories.delete") == 1


def test_nobody_has_more_than_so_many(ask, bob, monkeypatch):
    monkeypatch.setattr(memory, "MOST", 2)
    for number in range(2):
        ask(bob, "memories.create", user_id=str(bob.pk), content=str(number))
    assert refusal(ask, bob, "memories.create", user_id=str(bob.pk), content="one more") == (
        "There are 2 memories of this person already; delete some first."
    )
    assert [made["content"] for made in ask(bob, "memories.list")] == ["0", "1"]


def test_they_go_with_the_person(ask, bob):
    ask(bob, "memories.create", user_id=str(bob.pk), content="Likes tea")
    bob.delete()
    assert not Memory.objects.exists()


@pytest.mark.parametrize("ids", ["x", [1], ["x" * 256], ["x"] * 1001, {}])
def test_ids_are_a_list_of_ids(ask, bob, ids):
    assert refusal(ask, bob, "memories.delete", ids=ids) == (
        "'ids' of memories.delete must be a list of at most 1000 ids, or null."
    )
