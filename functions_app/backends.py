"""Where permissions come from beside Django's users and groups."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import BaseBackend


class EverybodyBackend(BaseBackend):
    """Gives everybody who may sign in what ``FUNCTIONS_EVERYBODY`` lists."""

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        return set(settings.FUNCTIONS_EVERYBODY) if user_obj.is_active and obj is None else set()

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:
        return perm in self.get_all_permissions(user_obj, obj)
