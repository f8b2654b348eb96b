"""Every change that matters replaces the token of its half; what does not matter replaces none."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import DatabaseError, connection
from django.utils import timezone

from functions_app import generation
from functions_app.models import Environment, FilterSwitches, Function, FunctionVersion, Model, User, UserValves, Valves
from tests.builders import make_function, make_model, make_user, make_version
from tests.functions_app.sources import OTHER_PIPE

pytestmark = pytest.mark.django_db


@pytest.fixture
def world():
    function = make_function("hello", policy={"on_error": "skip"})
    user = make_user("carol")
    model = make_model("preset", "hello")
    Valves.objects.create(function=function, values={})
    UserValves.objects.create(function=function, user=user, values={})
    Environment.objects.create()
    group = Group.objects.create(name="readers")
    return function, user, model, group


def halves(change) -> set[str]:
    before = generation.stored()
    change()
    after = generation.stored()
    return {half for half, old, new in zip(generation.HALVES, before, after, strict=True) if old != new}


FUNCTION_CHANGES = {
    "save": lambda f, u, m, g: f.save(),
    "save one field": lambda f, u, m, g: f.save(update_fields=["is_active"]),
    "queryset update": lambda f, u, m, g: Function.objects.update(is_active=False),
    "filtered update": lambda f, u, m, g: Function.objects.of_kind("pipe").update(is_active=False),
    "new version": lambda f, u, m, g: make_version(f, OTHER_PIPE),
    "version update": lambda f, u, m, g: f.versions.update(note="x"),
    "bulk update": lambda f, u, m, g: Function.objects.bulk_update([f], ["name"]),
    "bulk create": lambda f, u, m, g: Function.objects.bulk_create([Function(id="x", name="x")]),
    "get or create": lambda f, u, m, g: Function.objects.get_or_create(id="x", name="x"),
    "policy": lambda f, u, m, g: f.change_policy({"on_error": "block"}),
    "valves": lambda f, u, m, g: Valves.objects.update(values={"a": 1}),
    "rules": lambda f, u, m, g: Valves.objects.set_rules(f, {"valves": {}}),
    "model": lambda f, u, m, g: m.save(),
    "model filters": lambda f, u, m, g: m.filters.add(f),
    "reverse side": lambda f, u, m, g: f.filtered_models.add(m),
    "model groups": lambda f, u, m, g: m.groups.add(g),
    "model delete": lambda f, u, m, g: Model.objects.all().delete(),
    "environment": lambda f, u, m, g: Environment.objects.update(kind="overlay"),
}
PEOPLE_CHANGES = {
    "save": lambda f, u, m, g: u.save(),
    "update": lambda f, u, m, g: User.objects.update(is_active=False),
    "joins a group": lambda f, u, m, g: u.groups.add(g),
    "group gets a member": lambda f, u, m, g: g.user_set.add(u),
    "group": lambda f, u, m, g: g.save(),
    "user valves": lambda f, u, m, g: UserValves.objects.update(values={"a": 1}),
    "filter switches": lambda f, u, m, g: FilterSwitches.objects.change(u, {"*": ["f"]}, {"f"}),
    "filter switches removed": lambda f, u, m, g: FilterSwitches.objects.all().delete(),
    "permission deleted": lambda f, u, m, g: Permission.objects.filter(codename="use_function").delete(),
    "password": lambda f, u, m, g: u.set_password("x") or u.save(update_fields=["password"]),
}
BOTH = {
    "function deleted": lambda f, u, m, g: f.delete(),
    "functions deleted": lambda f, u, m, g: Function.objects.all().delete(),
    "user deleted": lambda f, u, m, g: u.delete(),
    "group deleted": lambda f, u, m, g: Group.objects.all().delete(),
}
NEITHER = {
    "last login": lambda f, u, m, g: User.objects.update(last_login=timezone.now()),
    "last login saved": lambda f, u, m, g: u.save(update_fields=["last_login"]),
    "reading": lambda f, u, m, g: list(Function.objects.active()) + list(FunctionVersion.objects.all()),
}


@pytest.mark.parametrize("change", FUNCTION_CHANGES.values(), ids=FUNCTION_CHANGES)
def test_changes_of_functions_are_told(world, change):
    assert halves(lambda: change(*world)) == {"functions"}


@pytest.mark.parametrize("change", PEOPLE_CHANGES.values(), ids=PEOPLE_CHANGES)
def test_changes_of_people_are_told(world, change):
    assert halves(lambda: change(*world)) == {"people"}


@pytest.mark.parametrize("change", BOTH.values(), ids=BOTH)
def test_deletions_that_reach_both_halves_are_told_of_both(world, change):
    assert halves(lambda: change(*world)) == {"functions", "people"}


@pytest.mark.parametrize("change", NEITHER.values(), ids=NEITHER)
def test_what_does_not_matter_is_not_told(world, change):
    assert halves(lambda: change(*world)) == set()


@pytest.mark.django_db(transaction=True)
def test_a_change_whose_token_cannot_be_written_does_not_happen():
    function = make_function("hello")

    def rename_table(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename_table("functions_app_generation", "elsewhere")
    try:
        function.name = "New name"
        for change in (function.save, lambda: Function.objects.update(is_active=False), function.delete):
            with pytest.raises(DatabaseError):
                change()
    finally:
        rename_table("elsewhere", "functions_app_generation")
    stored = Function.objects.get()
    assert (stored.name, stored.is_active) == ("Echo", True)
