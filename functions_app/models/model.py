"""Named presets that clients call as models."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from functions_app import generation
from functions_app.fields import TolerantJSONField
from functions_app.models.base import WatchedModel, WatchedQuerySet, check_text


class ModelQuerySet(WatchedQuerySet["Model"]):
    """Presets."""

    def active(self) -> ModelQuerySet:
        """Returns the presets that are switched on."""
        return self.filter(is_active=True)


class Model(WatchedModel):
    """A preset over a base model. With no base model it is settings for the pipe of the same id.

    Groups restrict it: with none, whoever may call models may call it.
    """

    generation_half = generation.FUNCTIONS

    id = models.CharField(primary_key=True, max_length=255, help_text="What clients send as model.")
    name = models.CharField(max_length=255)
    base_model_id = models.CharField(
        "base model",
        max_length=300,
        blank=True,
        help_text="A pipe, or function.part. Empty: settings for the pipe of the same id.",
    )
    system_prompt = models.TextField(blank=True)
    params = TolerantJSONField(
        "parameters", default=dict, blank=True, help_text="Such as temperature; the request's own win."
    )
    meta = TolerantJSONField(default=dict, blank=True)
    filters = models.ManyToManyField("functions_app.Function", blank=True, related_name="filtered_models")
    actions = models.ManyToManyField("functions_app.Function", blank=True, related_name="action_models")
    default_filters = models.ManyToManyField(
        "functions_app.Function",
        blank=True,
        related_name="default_models",
        help_text="Toggled filters that are on unless the request or the user says otherwise.",
    )
    groups = models.ManyToManyField("auth.Group", blank=True, related_name="models", help_text="Empty: everybody.")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="models"
    )
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ModelQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~models.Q(id=""), name="model_id_is_not_empty"),
            models.CheckConstraint(
                condition=~models.Q(base_model_id=models.F("id")),
                name="model_is_not_its_own_base",
                violation_error_message="A model cannot be its own base model; leave it empty for settings of a pipe.",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.id

    def save(self, *args: Any, **kwargs: Any) -> None:
        check_text(self.id, "The id of a model")
        super().save(*args, **kwargs)
