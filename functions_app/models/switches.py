"""Filter switches: which toggle filters a user has on when a request names none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction

from functions_app import generation
from functions_app.fields import TolerantJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet, check_text

if TYPE_CHECKING:
    from functions_app.models.user import User

ALL_MODELS = "*"
MODEL_LENGTH = 300
MOST_MODELS = 200
"""Rows that one user may have: they are held in memory."""


class FilterSwitchesQuerySet(WatchedQuerySet["FilterSwitches"]):
    """Users' switches."""

    def of(self, user: User) -> dict[str, list[str]]:
        """Returns the ids of the filters that a user has on, by model; ``*`` stands for all models without a row."""
        return {model: list(filters) for model, filters in self.filter(user=user).values_list("model_id", "filters")}

    def change(self, user: User, switches: Mapping[str, Any], toggles: set[str]) -> None:
        """Sets the rows of the models that are named; None removes one. ``toggles`` are the filters that can be named.

        Raises ``ValidationError`` whose dict names the model; nothing is stored then.
        """
        cleaned = {model: _clean(model, filters, toggles) for model, filters in switches.items()}
        with transaction.atomic(using=self.db):
            for model, filters in cleaned.items():
                if filters is None:
                    self.filter(user=user, model_id=model).delete()
                else:
                    self.update_or_create(user=user, model_id=model, defaults={"filters": filters})
            if self.filter(user=user).count() > MOST_MODELS:
                raise ValidationError(
                    {ALL_MODELS: f"There can be switches for at most {MOST_MODELS} models; remove some with null."}
                )


def _clean(model: str, filters: Any, toggles: set[str]) -> list[str] | None:
    label = model[:80]
    try:
        check_text(model, "The name of a model")
    except ValidationError as error:
        raise ValidationError({label.encode("ascii", "replace").decode(): error.messages}) from None
    if not 0 < len(model) <= MODEL_LENGTH:
        raise ValidationError({label: f"The name of a model has 1 to {MODEL_LENGTH} characters."})
    if filters is None:
        return None
    if not isinstance(filters, list) or not all(isinstance(name, str) for name in filters):
        raise ValidationError({label: "This must be a list of ids of filters, or null."})
    for name in filters:
        if name not in toggles:
            there = ", ".join(sorted(toggles)) or "none"
            raise ValidationError(
                {label: f"There is no active filter '{name[:80]}' with a toggle; there are: {there}."}
            )
    return list(dict.fromkeys(filters))


class FilterSwitches(WatchedModel):
    """The toggle filters that one user has on for one model, or for all models that have no row of their own."""

    generation_half = generation.PEOPLE

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="filter_switches")
    model_id = models.CharField(max_length=MODEL_LENGTH, default=ALL_MODELS, help_text="A model, or * for all others.")
    filters = TolerantJSONField(default=list, blank=True, help_text="Ids of the toggle filters that are on.")
    changed_at = models.DateTimeField(auto_now=True)

    objects = FilterSwitchesQuerySet.as_manager()

    class Meta:
        verbose_name = verbose_name_plural = "filter switches"
        ordering = ["model_id"]
        constraints = [models.UniqueConstraint(fields=["user", "model_id"], name="one_row_of_switches_per_model")]

    def __str__(self) -> str:
        return f"filters of user {self.user_id} for {self.model_id}"
