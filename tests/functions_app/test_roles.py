"""The words for what people may do, and commands that act for somebody."""

from __future__ import annotations

import io
import re

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.core.management.base import BaseCommand

from functions_app import roles
from functions_app.management.acting import ActingCommand
from functions_app.management.commands import make_roles
from functions_app.models import User
from tests.settings import CHECKOUT

pytestmark = pytest.mark.django_db


class Command(ActingCommand):
    """Publishes something, in the test's mind."""

    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--loud", action="store_true")

    def handle(self, *args, **options):
        self.require(roles.ACTIVATE, roles.AUTHOR)
        self.require(roles.VIEW)
        self.stdout.write(f"{self.acting} published{'!' if options['loud'] else ''}")


def run(*arguments: str, **options) -> str:
    out = io.StringIO()
    call_command(Command(), *arguments, stdout=out, **options)
    return out.getvalue().strip()


def grant(user, *codenames: str) -> None:
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))


def test_a_user_has_one_of_several_permissions(bob):
    grant(bob, "view_function")
    assert roles.has(bob, roles.VIEW, roles.AUTHOR)
    assert not roles.has(bob, roles.ACTIVATE, roles.AUTHOR)
    assert roles.has(bob, roles.USE)  # as everybody
    assert not roles.has(bob)


def test_the_docs_have_the_same_table():
    page = (CHECKOUT / "docs" / "admin.md").read_text().partition("## Roles")[2].partition("##")[0]
    assert dict(re.findall(r"^\| `(\w+\.\w+)` \| (.+) \|$", page, re.MULTILINE)) == roles.ROLES


def test_the_operator_of_the_machine_may_do_all():
    assert run("--loud") == "None published!"


@pytest.mark.parametrize("given", [("--user", "bob"), ("--user=bob",)])
def test_a_command_acts_with_the_rights_of_a_person(given, bob):
    with pytest.raises(CommandError) as refused:
        run(*given)
    assert str(refused.value) == (
        "bob may not do this. "
        "This needs the permission 'functions_app.publish_function' or 'functions_app.change_function'."
    )
    grant(bob, "publish_function")
    with pytest.raises(CommandError, match=r"This needs the permission 'functions_app\.view_function'"):
        run(*given)
    grant(bob, "publish_function", "view_function")
    assert run(*given) == "bob published"


def test_call_command_takes_the_name_as_an_option(bob, alice):
    assert run(user="alice") == "alice published"
    with pytest.raises(CommandError, match="bob may not do this"):
        run(user="bob")


@pytest.mark.parametrize("name", ["carol", "", "\0", "\ud800"])
def test_an_unknown_person_cannot_act(name):
    with pytest.raises(CommandError, match="There is no user named"):
        run(user=name)


def test_a_person_who_may_not_sign_in_cannot_act(bob):
    bob.is_active = False
    bob.save()
    with pytest.raises(CommandError, match='The user "bob" is not active'):
        run(user="bob")


OPERATORS = {"create_api_key", "install_requirements", "make_roles", "quickstart", "rotate_valve_keys"}
"""Commands for who has the machine, and with it everything."""

ACTING = {
    "check_functions": ["--all"],
    "clear_function_cache": [],
    "export_functions": [],
    "import_functions": ["."],
    "run_function": ["greeter"],
    "sync_functions": ["."],
}
"""Commands that act for a person, with what they need to get as far as their rights."""


def test_every_command_acts_for_a_person_or_is_for_the_operator():
    ours = {name for name, app in get_commands().items() if app in ("functions_app", "pipeline_app")}
    assert ours == OPERATORS | set(ACTING)
    for name in ours:
        command = load_command_class(get_commands()[name], name)
        assert isinstance(command, ActingCommand) is (name in ACTING), name


@pytest.mark.parametrize("name", ACTING)
def test_a_command_refuses_a_person_without_the_permission(name, bob):
    with pytest.raises(CommandError, match=r"bob may not do this\. This needs the permission 'functions_app\."):
        call_command(name, *ACTING[name], "--user", "bob", stdout=io.StringIO())


def test_ready_made_groups_have_the_permissions_of_their_roles(bob):
    call_command("make_roles", stdout=io.StringIO())
    for name, permissions in make_roles.GROUPS.items():
        bob.groups.set([Group.objects.get(name=name)])
        bob = User.objects.get(pk=bob.pk)
        assert bob.get_all_permissions() == {*permissions, roles.USE}


def test_groups_that_exist_are_kept_as_they_are():
    group = Group.objects.create(name="Function authors")
    out = io.StringIO()
    call_command("make_roles", stdout=out)
    assert "Function authors: there already, kept as it is" in out.getvalue()
    assert not group.permissions.exists()


def test_an_acting_command_is_an_ordinary_one():
    assert issubclass(ActingCommand, BaseCommand)
