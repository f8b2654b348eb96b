"""Tells ``generation`` of every change that signals can see: saves, deletes, cascades, many-to-many.

What they can't see (``QuerySet.update`` and the bulk methods) tells it itself, in
``models.base.WatchedQuerySet``. A model of any app takes part by deriving from ``WatchedModel``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from functions_app import generation
from functions_app.models.base import WatchedModel


def connect() -> None:
    """Connects every watched model with its many-to-many tables, and Django's groups and permissions.

    Repeating it changes nothing.
    """
    from allauth.socialaccount.models import SocialAccount
    from django.contrib.auth.models import Group, Permission

    from functions_app.models import File, User
    from functions_app.models.file import drop_content
    from functions_app.models.oauth import drop_tokens

    for model in apps.get_models():
        if issubclass(model, WatchedModel):
            _watch(model, model.generation_half, model.generation_ignores)
    _watch(Group, generation.PEOPLE)
    _watch(Permission, generation.PEOPLE)
    for through in (User.groups.through, User.user_permissions.through, Group.permissions.through):
        uid = f"generation {through.__name__}"
        m2m_changed.connect(partial(_on_m2m, generation.PEOPLE), sender=through, weak=False, dispatch_uid=uid)
    # A deleted person or group also leaves rows of the other half: owners become empty, models lose a restriction.
    for sender in (User, Group):
        uid = f"generation of functions {sender.__name__}"
        post_delete.connect(partial(_on_delete, generation.FUNCTIONS), sender=sender, weak=False, dispatch_uid=uid)
    post_delete.connect(drop_content, sender=File, dispatch_uid="content of a deleted file")
    post_delete.connect(drop_tokens, sender=SocialAccount, dispatch_uid="token of a deleted sign-in")


def _watch(model: type[Model], half: str, ignores: frozenset[str] = frozenset()) -> None:
    uid = f"generation {model._meta.label}"
    post_save.connect(partial(_on_save, half, ignores), sender=model, weak=False, dispatch_uid=uid)
    post_delete.connect(partial(_on_delete, half), sender=model, weak=False, dispatch_uid=uid)
    for field in model._meta.many_to_many:
        if issubclass(model, WatchedModel) and half == generation.FUNCTIONS:
            through = getattr(model, field.name).through
            m2m_changed.connect(partial(_on_m2m, half), sender=through, weak=False, dispatch_uid=f"{uid}.{field.name}")


def _on_save(half: str, ignores: frozenset[str], *, using: str, update_fields: frozenset[str] | None, **_: Any) -> None:
    if update_fields is None or not set(update_fields) <= ignores:
        generation.changed(half, using=using)


def _on_delete(half: str, *, using: str, **_: Any) -> None:
    generation.changed(half, using=using)


def _on_m2m(half: str, *, action: str, using: str, **_: Any) -> None:
    if action.startswith("post_"):
        generation.changed(half, using=using)
