from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from functions_app import configuration
from functions_app.models import Function, UserValves, Valves
from functions_app.runtime import InvalidValves
from tests.builders import make_function
from tests.functions_app.sources import PIPE, SYNTAX_ERROR, with_valves

pytestmark = pytest.mark.django_db


def test_only_what_was_set_is_kept_as_the_functions_model_keeps_it(alice):
    function = make_function(source=with_valves("size: int = 1\nother: str = 'x'"))
    row = Valves.objects.set_values(function, {"size": "3", "other": None, "unknown": 1}, alice)
    assert (row.values, row.changed_by) == ({"size": 3}, alice)
    Valves.objects.set_values(function, {"other": "y"})
    assert Valves.objects.get().values == {"other": "y"}


def test_a_secret_keeps_its_value():
    source = with_valves("key: SecretStr = SecretStr('')\nkeys: list[SecretStr] = []")
    source = source.replace("BaseModel, Field", "BaseModel, Field, SecretStr")
    values = {"key": "sk-1", "keys": ["sk-2", "sk-3"]}
    assert Valves.objects.set_values(make_function(source=source), values).values == values


def test_values_that_do_not_fit_change_nothing():
    function = make_function(source=with_valves("size: int = 1"), valves={"size": 2})
    with pytest.raises(InvalidValves) as caught:
        Valves.objects.set_values(function, {"size": "x"})
    assert [error["loc"] for error in caught.value.errors] == [["size"]]
    assert Valves.objects.get().values == {"size": 2}


def test_an_admins_rules_hold():
    function = make_function(source=with_valves("size: int = 1"), valves={"size": 2})
    Valves.objects.update(rules={"size": {"maximum": 5}})
    with pytest.raises(InvalidValves) as caught:
        Valves.objects.set_values(function, {"size": 6})
    assert str(caught.value) == "size: Must be at most 5."


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (PIPE, "hello has no valves."),
        (SYNTAX_ERROR, "hello has no live version, so there is nothing to configure yet."),
    ],
)
def test_nothing_to_configure_gets_a_sentence(source, message):
    with pytest.raises(ValidationError) as caught:
        Valves.objects.set_values(make_function("hello", source), {"size": 1})
    assert caught.value.messages == [message]


def test_each_user_has_values_of_their_own(alice, bob):
    function = make_function("hello", with_valves("size: int = 1", "tone: str = 'plain'"))
    UserValves.objects.set_values(function, alice, {"tone": "loud"})
    UserValves.objects.set_values(function, bob, {})
    UserValves.objects.set_values(function, alice, {"tone": "soft"})
    assert {row.user: row.values for row in UserValves.objects.all()} == {alice: {"tone": "soft"}, bob: {}}
    with pytest.raises(IntegrityError), transaction.atomic():
        UserValves.objects.create(function=function, user=bob, values={})


def test_a_function_has_one_row_of_valves():
    function = make_function(source=with_valves("size: int = 1"), valves={})
    with pytest.raises(IntegrityError), transaction.atomic():
        Valves.objects.create(function=function, values={})


def test_what_is_set_meanwhile_is_not_lost_to_a_slower_update(monkeypatch):
    function = make_function("hello", with_valves("api_key: str = ''\nsize: int = 1"), valves={"api_key": "old"})
    kept, meanwhile = configuration.kept, iter([{"api_key": "new", "size": 2}])

    def slowly(*args):
        found = kept(*args)
        for values in meanwhile:
            Valves.objects.set_values(function, values)
        return found

    monkeypatch.setattr(configuration, "kept", slowly)
    Valves.objects.set_values(function, {"size": 3})
    assert Valves.objects.get().values == {"api_key": "new", "size": 3}


def test_a_users_first_values_set_twice_at_once_are_set_one_after_the_other(monkeypatch, bob):
    function = make_function("hello", with_valves("size: int = 1", "token: str = ''\ntone: str = ''"))
    kept, meanwhile = configuration.kept, iter([{"token": "t"}])

    def slowly(*args):
        found = kept(*args)
        for values in meanwhile:
            UserValves.objects.set_values(function, bob, values)
        return found

    monkeypatch.setattr(configuration, "kept", slowly)
    UserValves.objects.set_values(function, bob, {"tone": "soft"})
    assert UserValves.objects.get().values == {"token": "t", "tone": "soft"}


@pytest.mark.django_db(transaction=True)
def test_a_function_that_is_deleted_meanwhile_is_gone_for_its_users_too(monkeypatch, bob):
    function = make_function("hello", with_valves("size: int = 1", "token: str = ''"))
    kept = configuration.kept

    def slowly(*args):
        found = kept(*args)
        Function.objects.filter(pk="hello").delete()
        return found

    monkeypatch.setattr(configuration, "kept", slowly)
    with pytest.raises(Function.DoesNotExist):
        UserValves.objects.set_values(function, bob, {"token": "t"})
    assert not UserValves.objects.exists()


def test_a_fixed_value_has_to_fit_what_is_set_beside_it():
    lines = (
        "low: int = 1\nhigh: int = 5\n@model_validator(mode='after')\ndef check(self):\n"
        "    if self.low > self.high: raise ValueError('low is above high')\n    return self"
    )
    source = with_valves(lines).replace("BaseModel, Field", "BaseModel, Field, model_validator")
    function = make_function("hello", source, valves={"low": 4})
    with pytest.raises(InvalidValves) as caught:
        Valves.objects.set_rules(function, {"valves": {"high": {"fixed": 3}}})
    assert str(caught.value) == "valves: Value error, low is above high"
    Valves.objects.set_rules(function, {"valves": {"high": {"fixed": 4}}})
    with pytest.raises(InvalidValves, match="low is above high"):
        Valves.objects.set_values(function, {"low": 5})
