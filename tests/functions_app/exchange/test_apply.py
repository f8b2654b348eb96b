"""What others do between a plan and its writing."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from functions_app.exchange.entries import read
from functions_app.exchange.plan import Terms
from functions_app.exchange.run import Conflict, Steps, carry_out
from functions_app.models import Function, FunctionVersion, Valves
from tests.builders import make_function, make_version
from tests.functions_app.sources import OTHER_PIPE, PIPE, with_valves

pytestmark = pytest.mark.django_db

ENTRY = {"id": "hello", "name": "Hello", "content": PIPE}
SIZED = with_valves("size: int = 1")
SECRET = with_valves("size: int = 1\napi_key: str = ''")
SYNC = Terms(overwrite=True, delete=True)


def run(data, terms=Terms(), **more):  # noqa: B008 - terms are frozen
    return carry_out(read(data), terms, None, **more)


class Meddler(Steps):
    """Changes something between the check and the writing, as often as it is told."""

    def __init__(self, change, times=1):
        self.change, self.times = change, times

    def checked(self, plan):
        if self.times:
            self.times -= 1
            self.change()


def rename():
    Function.objects.get(pk="old").change(name=f"Old {Function.objects.get(pk='old').name}")


def test_a_plan_that_was_overtaken_is_drawn_again():
    function = make_function("old", PIPE)
    entry = {"id": "old", "content": OTHER_PIPE, "name": "Mine"}
    run(entry, SYNC, steps=Meddler(lambda: make_version(function, SIZED)))
    assert [version.source for version in FunctionVersion.objects.order_by("number")] == [PIPE, SIZED, OTHER_PIPE]
    assert Function.objects.get().live.number == 3


def test_a_function_made_meanwhile_is_deleted_by_the_sync_too():
    run(ENTRY, SYNC, steps=Meddler(lambda: make_function("late", PIPE)))
    assert Function.objects.get().pk == "hello"


def test_an_id_taken_meanwhile_is_left_alone_by_an_import():
    run(ENTRY, steps=Meddler(lambda: make_function("hello", OTHER_PIPE)))
    assert Function.objects.get().live.source == OTHER_PIPE


def test_valves_set_meanwhile_are_seen():
    function = make_function("old", SECRET, valves={"api_key": "sk-1"})
    entry = {"id": "old", "content": SECRET, "valves": {"size": 2}}
    run(entry, SYNC, steps=Meddler(lambda: Valves.objects.set_values(function, {"api_key": "sk-2"})))
    assert Valves.objects.get().values == {"api_key": "sk-2", "size": 2}


def test_somebody_who_never_stops_ends_it_with_a_sentence():
    make_function("old", PIPE, name="Old")
    with pytest.raises(
        Conflict, match=r"^Nothing was changed: others changed the same functions meanwhile \(old\)\. Try"
    ):
        run({"id": "old", "content": OTHER_PIPE}, SYNC, steps=Meddler(rename, times=10))
    assert Function.objects.get().live.source == PIPE


def test_what_fails_while_writing_leaves_nothing():
    class Failing(Steps):
        def written(self, id):
            if id == "b":
                raise IntegrityError

    with pytest.raises(Conflict):
        run([{**ENTRY, "id": "a"}, {**ENTRY, "id": "b"}], steps=Failing())
    assert not Function.objects.exists()
