"""Makes an API key and prints it, alone, so that a script can take it."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from functions_app.models import User
from pipeline_app.models import ApiKey, Scope


class Command(BaseCommand):
    help = "Makes an API key for a user and prints it alone on standard output. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USERNAME")
        parser.add_argument(
            "--scopes",
            nargs="+",
            default=[],
            metavar="SCOPE",
            help=f"what the key may be used for: {', '.join(Scope.values)}; without it, all that the user may do",
        )
        parser.add_argument("--expires", type=int, metavar="DAYS", help="days that the key lives; without it, for ever")
        parser.add_argument("--label", default="", help="what the key is for, shown in the admin")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = User.objects.get(username=options["username"])
        except User.DoesNotExist as error:
            raise CommandError(f'There is no user named "{options["username"]}".') from error
        if not user.is_active:
            raise CommandError(f'The user "{user.username}" is not active, so a key would open nothing.')
        days = options["expires"]
        if days is not None and not 1 <= days <= 36500:
            raise CommandError(f"--expires takes 1 to 36500 days; got {days}.")
        scopes = [scope for given in options["scopes"] for scope in given.split(",") if scope]
        try:
            _, text = ApiKey.objects.issue(
                user,
                label=options["label"],
                scopes=scopes or None,
                expires_at=None if days is None else timezone.now() + timedelta(days=days),
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(text)
