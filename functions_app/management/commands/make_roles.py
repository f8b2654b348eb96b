"""Makes groups for the usual roles, so that nobody has to tick permissions one by one."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.core.management.base import BaseCommand
from django.db import transaction
from django.db.models import Q

from functions_app.roles import ACTIVATE, AUDIT, AUTHOR, CONFIGURE, SET_POLICY, VIEW

GROUPS = {
    "Function authors": (VIEW, AUTHOR),
    "Function operators": (VIEW, ACTIVATE, CONFIGURE, SET_POLICY, AUDIT),
    "Function auditors": (VIEW, AUDIT),
}


class Command(BaseCommand):
    help = "Makes the groups Function authors, Function operators and Function auditors; those that exist are kept."

    def handle(self, *args: Any, **options: Any) -> None:
        for name, permissions in GROUPS.items():
            with transaction.atomic():
                group, made = Group.objects.get_or_create(name=name)
                if made:
                    group.permissions.set(Permission.objects.filter(_named(permissions)))
            self.stdout.write(f"{name}: {'made' if made else 'there already, kept as it is'}")


def _named(permissions: tuple[str, ...]) -> Q:
    found = Q()
    for permission in permissions:
        app, _, codename = permission.partition(".")
        found |= Q(content_type__app_label=app, codename=codename)
    return found
