"""Functions and their valves, as functions may see and change them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.contrib.auth.models import Permission

from functions_app.models import User, UserValves, Valves
from functions_app.policy import DEFAULT_GRANTS, Policy
from pipeline_app.snapshot import person_of
from tests.builders import make_function
from tests.pipeline_app.hostcalls.conftest import refusal

READ = Policy(grants=(*DEFAULT_GRANTS, "valves.read"))
WRITE = Policy(grants=(*DEFAULT_GRANTS, "functions.write"))
SOURCE = '''"""
title: Set
author: Ann
requirements_note: secret
"""
from pydantic import BaseModel


class Filter:
    class Valves(BaseModel):
        priority: int = 0
        token: str = ""

    class UserValves(BaseModel):
        size: int = 1

    def inlet(self, body):
        return body
'''


@pytest.fixture
def stored(base_packages, changed):
    """An active global filter with valves, one that is off, and a pipe."""
    made = make_function("set", SOURCE, is_global=True, valves={"token": "t1"})
    make_function("off", SOURCE, is_active=False)
    make_function("echo")
    changed()
    return made


def test_functions_are_shown_to_all_and_their_sources_to_those_who_look_inside(ask, stored, alice, bob):
    shown = ask(bob, "functions.get", id="set")
    assert (shown["id"], shown["type"], shown["is_active"], shown["is_global"]) == ("set", "filter", True, True)
    assert shown["content"] == "" and shown["meta"]["manifest"] == {"title": "Set", "author": "Ann"}
    assert ask(alice, "functions.get", id="set")["content"] == ""
    inside = ask(alice, "functions.get", policy=READ, id="set")
    assert inside["content"] == SOURCE and inside["meta"]["manifest"]["requirements_note"] == "secret"
    assert ask(bob, "functions.get", policy=READ, id="set")["content"] == ""
    assert ask(bob, "functions.get", policy=READ, id="off") is None
    assert ask(alice, "functions.get", policy=READ, id="off")["is_active"] is False
    for id in ("nothing", "", "\x00"):
        assert ask(alice, "functions.get", policy=READ, id=id) is None


def test_a_key_that_was_not_made_for_functions_does_not_look_inside(ask, stored, alice):
    person = replace(person_of(alice), scopes=frozenset({"models"}))
    assert ask(person, "functions.get", policy=READ, id="set")["content"] == ""
    assert ask(person, "functions.get", policy=READ, id="off") is None
    assert "scope 'functions'" in refusal(ask, person, "functions.valves", policy=READ, id="set")


def test_lists_have_no_sources_and_only_what_the_caller_may_know_of(ask, stored, alice, bob):
    assert [function["id"] for function in ask(bob, "functions.list")] == ["echo", "set"]
    assert [function["id"] for function in ask(alice, "functions.list")] == ["echo", "off", "set"]
    assert [function["id"] for function in ask(alice, "functions.list", active_only=True)] == ["echo", "set"]
    (found,) = ask(alice, "functions.list", kind="filter", active_only=True)
    assert (found["id"], found["content"]) == ("set", "")


def test_a_function_reads_its_own_valves_and_others_with_grant_and_permission(ask, stored, alice, bob):
    assert ask(bob, "functions.valves", function="set", id="set") == {"token": "t1"}
    assert refusal(ask, alice, "functions.valves", id="set") == (
        "This function may not read the valves of other functions: its policy does not have the grant 'valves.read'."
    )
    assert refusal(ask, bob, "functions.valves", policy=READ, id="set") == (
        "The caller may not read the valves of functions: this needs the permission 'functions_app.change_valves'."
    )
    assert ask(alice, "functions.valves", policy=READ, id="set") == {"token": "t1"}
    assert ask(alice, "functions.valves", policy=READ, id="nothing") is None


def test_setting_valves_takes_the_grant_and_the_permission(ask, stored, alice, bob, changed):
    assert "the grant 'functions.write'" in refusal(ask, alice, "functions.set_valves", id="set", values={})
    assert refusal(ask, bob, "functions.set_valves", policy=WRITE, function="set", id="set", values={}) == (
        "The caller may not set the valves of functions: this needs the permission 'functions_app.change_valves'."
    )
    bob.user_permissions.add(Permission.objects.get(codename="change_valves"))
    again = User.objects.get(pk=bob.pk)
    ask(again, "functions.set_valves", policy=WRITE, id="set", values={"priority": 3})
    assert Valves.objects.get(function="set").values == {"token": "t1", "priority": 3}
    assert Valves.objects.get(function="set").changed_by == bob
    sentence = refusal(ask, alice, "functions.set_valves", policy=WRITE, id="set", values={"priority": "high"})
    assert "priority" in sentence
    assert refusal(ask, alice, "functions.set_valves", policy=WRITE, id="nothing", values={}) == (
        "There is no function 'nothing'."
    )


def test_user_valves_are_the_callers_own(ask, stored, alice, bob):
    own = {"function": "set", "id": "set", "user_id": str(bob.pk)}
    assert ask(bob, "functions.user_valves", **own) == {}
    assert ask(bob, "functions.set_user_valves", **own, values={"size": 2}) == {"size": 2}
    assert UserValves.objects.get().values == {"size": 2}
    assert ask(bob, "functions.user_valves", **own) == {"size": 2}
    assert ask(alice, "functions.user_valves", **own) is None
    assert ask(alice, "functions.set_user_valves", **own, values={"size": 9}) is None
    assert UserValves.objects.get().values == {"size": 2}
    others = {**own, "function": "another"}
    assert "the grant 'valves.read'" in refusal(ask, bob, "functions.user_valves", **others)
    assert "the grant 'functions.write'" in refusal(ask, bob, "functions.set_user_valves", **others, values={})
    assert ask(bob, "functions.user_valves", policy=READ, **others) == {"size": 2}
    assert "size" in refusal(ask, bob, "functions.set_user_valves", **own, values={"size": "large"})
