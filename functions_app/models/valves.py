"""Configuration of functions: what an admin set, and what each user set. Encrypted at rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction

from functions_app import generation
from functions_app.fields import EncryptedJSONField, TolerantJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet
from functions_app.runtime import InvalidValves, Scope, get_runtime
from functions_app.valves import broken_rules, unmasked

if TYPE_CHECKING:
    from functions_app.models.function import Function
    from functions_app.models.user import User


def _kept(function: Function, scope: Scope, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the live version's own model keeps of the values; None means "not set"."""
    if function.live is None:
        message = f"{function.id} has no live version, so there is nothing to configure yet."
        raise ValidationError(message, code="not_live")
    if not function.live.manifest or function.live.manifest.get(scope) is None:
        what = "valves" if scope == "valves" else "user valves"
        raise ValidationError(f"{function.id} has no {what}.", code="no_valves")
    given = {name: value for name, value in values.items() if value is not None}
    kept: dict[str, Any] = unmasked(get_runtime().validate(function.live, scope, given), given)
    return kept


class ValvesQuerySet(WatchedQuerySet["Valves"]):
    """Admins' values."""

    def set_values(self, function: Function, values: Mapping[str, Any], by: User | None = None) -> Valves:
        """Replaces what is set for a function and returns the row.

        The values are tried by the live version's own model and against the admin's rules. Raises
        ``InvalidValves``, ``LoadError``, and ``ValidationError`` when there is nothing to configure.
        """
        while True:
            function.refresh_from_db()
            kept = _kept(function, "valves", values)
            with transaction.atomic(using=self.db):
                if function.lock().live_id != function.live_id:
                    continue  # another version went live meanwhile: its model has to agree
                row = self.filter(function=function).first() or self.model(function=function)
                if errors := broken_rules(kept, row.rules):
                    raise InvalidValves(errors)
                row.values, row.changed_by = kept, by
                row.save()
                return row


class UserValvesQuerySet(WatchedQuerySet["UserValves"]):
    """Users' values."""

    def set_values(self, function: Function, user: User, values: Mapping[str, Any]) -> UserValves:
        """Replaces what a user set for a function and returns the row. Raises as ``Valves.objects.set_values`` does."""
        function.refresh_from_db()
        kept = _kept(function, "user_valves", values)
        row, _ = self.update_or_create(function=function, user=user, defaults={"values": kept})
        return row


class Valves(WatchedModel):
    """The values that an admin set for a function; what is not set has the code's own default.

    ``rules`` are what an admin adds on top of the schema, and ``user_rules`` on top of that of the user valves:
    ``{field: {"minimum", "maximum", "choices", "pattern", "fixed"}}``. Who may change a row may configure the function.
    """

    generation_half = generation.FUNCTIONS

    function = models.OneToOneField("functions_app.Function", on_delete=models.CASCADE, related_name="valves")
    values = EncryptedJSONField(default=dict)
    rules = TolerantJSONField(default=dict, blank=True)
    user_rules = TolerantJSONField(default=dict, blank=True)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    objects = ValvesQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = "valves"

    def __str__(self) -> str:
        return f"valves of {self.function_id}"


class UserValves(WatchedModel):
    """The values that one user set for a function."""

    generation_half = generation.PEOPLE

    function = models.ForeignKey("functions_app.Function", on_delete=models.CASCADE, related_name="user_valves")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="function_valves")
    values = EncryptedJSONField(default=dict)
    changed_at = models.DateTimeField(auto_now=True)

    objects = UserValvesQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = "user valves"
        constraints = [models.UniqueConstraint(fields=["function", "user"], name="one_user_valves_row_per_user")]

    def __str__(self) -> str:
        return f"valves of {self.function_id} for user {self.user_id}"
