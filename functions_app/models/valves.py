"""Configuration of functions: what an admin set, and what each user set. Encrypted at rest."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction

from functions_app import configuration, generation
from functions_app.fields import EncryptedJSONField, TolerantJSONField, UndecryptableValves
from functions_app.models.base import WatchedModel, WatchedQuerySet
from functions_app.runtime import Scope
from functions_app.valves import Rules

if TYPE_CHECKING:
    from functions_app.models.function import Function
    from functions_app.models.user import User
    from functions_app.models.version import FunctionVersion

LARGEST_OF_A_USER = 100_000
"""Characters that the values of one user for one function may have, as JSON: they are held in memory."""


def _configurable(function: Function, scope: Scope) -> FunctionVersion:
    """Returns the live version. Raises ``ValidationError`` when it has nothing to configure."""
    if function.live is None:
        message = f"{function.id} has no live version, so there is nothing to configure yet."
        raise ValidationError(message, code="not_live")
    if not function.live.manifest or function.live.manifest.get(scope) is None:
        what = "valves" if scope == "valves" else "user valves"
        raise ValidationError(f"{function.id} has no {what}.", code="no_valves")
    return function.live


class ValvesQuerySet(WatchedQuerySet["Valves"]):
    """Admins' values."""

    def set_values(
        self, function: Function, values: Mapping[str, Any], by: User | None = None, *, anew: bool = False
    ) -> Valves:
        """Sets what is given for a function and returns the row.

        What is given replaces what is stored; but a secret that is absent, empty or masked stays, and None takes any
        value back to its default. The values are tried by the live version's own model and against the admin's rules.
        Raises ``InvalidValves``, ``LoadError``, and ``ValidationError`` when there is nothing to configure. What is
        stored and can't be decrypted is given up only when ``anew`` says so, else ``UndecryptableValves`` is raised.
        """
        while True:
            function.refresh_from_db()
            version = _configurable(function, "valves")
            row = self.filter(function=function).first()
            rules = row.rules if row else {}
            kept = configuration.kept(version, "valves", values, _opened(row, anew), rules)
            with transaction.atomic(using=self.db):
                # Another version that went live meanwhile has to agree, and secrets set meanwhile have to stay.
                if function.lock().live_id == function.live_id:
                    now = self.filter(function=function).first()
                    if _seen(now) == _seen(row):
                        now = now or self.model(function=function)
                        now.values, now.changed_by = kept, by
                        now.save()
                        return now

    def set_rules(self, function: Function, given: Mapping[str, Any], by: User | None = None) -> Valves:
        """Sets the rules on ``valves``, on ``user_valves`` or on both, and returns the row.

        The rules of a scope that is given replace those that there are. Raises ``InvalidValves`` for rules that are
        none, that contradict the schema, that the live version's own model refuses or that what an admin has set
        breaks; ``LoadError``, and ``ValidationError`` when there is nothing that rules could be for.
        """
        while True:
            function.refresh_from_db()
            row = self.filter(function=function).first()
            rules: dict[str, Rules] = {"valves": row.rules if row else {}, "user_valves": row.user_rules if row else {}}
            for scope in ("valves", "user_valves"):
                if given.get(scope):
                    version = _configurable(function, scope)
                    stored = _opened(row, anew=True) if scope == "valves" else {}
                    rules[scope] = configuration.kept_rules(version, scope, given[scope], stored)
                elif scope in given:
                    rules[scope] = {}
            with transaction.atomic(using=self.db):
                if function.lock().live_id == function.live_id:
                    now = self.filter(function=function).first()
                    if _seen(now) == _seen(row):
                        now = now or self.model(function=function)
                        now.rules, now.user_rules, now.changed_by = rules["valves"], rules["user_valves"], by
                        now.save()
                        return now


class UserValvesQuerySet(WatchedQuerySet["UserValves"]):
    """Users' values."""

    def set_values(self, function: Function, user: User, values: Mapping[str, Any]) -> UserValves:
        """Sets what a user gives for a function and returns the row, as ``Valves.objects.set_values`` does. Raises
        ``ObjectDoesNotExist`` when the function or the user is gone."""
        while True:
            function.refresh_from_db()
            version = _configurable(function, "user_valves")
            row = self.filter(function=function, user=user).first()
            rules = Valves.objects.filter(function=function).values_list("user_rules", flat=True).first() or {}
            kept = configuration.kept(version, "user_valves", values, _opened(row), rules, LARGEST_OF_A_USER)
            try:
                with transaction.atomic(using=self.db):
                    now = self.select_for_update().filter(function=function, user=user).first()
                    if _seen(now) == _seen(row):
                        now = now or self.model(function=function, user=user)
                        now.values = kept
                        now.save()
                        return now
            except IntegrityError:
                # Function or user were deleted meanwhile, which ``refresh_from_db`` says.
                function.refresh_from_db()
                user.refresh_from_db()
                # Set for the first time by two requests at once: the other one was quicker.
                if row is not None or not self.filter(function=function, user=user).exists():
                    raise


class Valves(WatchedModel):
    """The values that an admin set for a function; what is not set has the code's own default.

    ``rules`` are what an admin adds on top of the schema, and ``user_rules`` on top of that of the user valves
    (``functions_app.valves.rules``). Who may change a row may configure the function.
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
        default_permissions = ("change",)

    def __str__(self) -> str:
        return f"valves of {self.function_id}"

    def check_fit(self, version: FunctionVersion, manifest: Mapping[str, Any]) -> None:
        """Tries the stored values and the rules against a version that may serve next. Raises ``InvalidValves``,
        ``LoadError`` and ``UndecryptableValves``; a value that the version requires and nobody has set is no reason.
        """
        # Values that no code asks for need not be readable.
        values = self.values if manifest.get("valves") is not None else {}
        configuration.check_fit(version, manifest, values, {"valves": self.rules, "user_valves": self.user_rules})


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


def _seen(row: Valves | UserValves | None) -> datetime | None:
    return row.changed_at if row is not None else None


def _opened(row: Valves | UserValves | None, anew: bool = False) -> dict[str, Any]:
    if row is None:
        return {}
    try:
        return dict(row.values)
    except UndecryptableValves:
        if anew:
            return {}
        raise
