"""Commands that act for a person: ``--user NAME`` gives them that person's rights, and no others."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from functions_app import roles
from functions_app.acting import SYSTEM, acting_as
from functions_app.models import User


class ActingCommand(BaseCommand):
    """A command with ``--user``; without it the operator of the machine acts, who may do everything anyway.

    ``self.acting`` is the person, None for the operator; it is there when ``handle`` is called. Subclasses add no
    ``--user`` of their own and need not call ``super().add_arguments``.
    """

    acting: User | None = None

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        self._add_user(parser)
        return parser

    @staticmethod
    def _add_user(parser: ArgumentParser) -> None:
        parser.add_argument(
            "--user",
            metavar="NAME",
            help="who acts: their permissions are asked for, and what is made is theirs; without it, all is allowed",
        )

    def execute(self, *args: Any, **options: Any) -> Any:
        self.acting = self._found(options.get("user"))
        with acting_as(self.acting, SYSTEM):
            return super().execute(*args, **options)

    def may(self, *permissions: str) -> bool:
        """Whether who acts holds one of these permissions (constants of ``roles``)."""
        return self.acting is None or roles.has(self.acting, *permissions)

    def require(self, *permissions: str) -> None:
        """Raises ``CommandError`` unless who acts holds one of these permissions."""
        if self.acting is not None and not self.may(*permissions):
            raise CommandError(f"{self.acting.username} may not do this. {roles.needed(permissions)}")

    @staticmethod
    def _found(username: str | None) -> User | None:
        if username is None:
            return None
        found = User.objects.filter(username=username.encode(errors="replace").decode().replace("\0", "?")).first()
        if found is None:
            raise CommandError(f'There is no user named "{username}".')
        if not found.is_active:
            raise CommandError(f'The user "{username}" is not active, so nothing can be done in their name.')
        return found
