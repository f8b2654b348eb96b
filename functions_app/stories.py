"""What changes of our rows are called (docs/events.md, system events)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from django.contrib.auth.models import Group
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import transaction
from django.db.models.signals import m2m_changed, post_delete, pre_delete

from functions_app.acting import OAUTH, Acting, acting
from functions_app.models import File, Function, Model, User, UserValves, Valves
from functions_app.system_events import Told, listeners, publish
from functions_app.telling import Row, on_delete, on_m2m, stories, story_of


@story_of(Function, "name", "kind", "live_id", "is_active", "is_global", "meta", "policy")
def of_function(before: Row | None, after: Row | None) -> Iterator[Told]:
    """A function is there for others once a version of it has gone live; drafts are not told of."""
    row = after or before or {}
    key, about = str(row["pk"]), {"name": row["name"], "type": row["kind"]}
    if after is None:
        if before is not None and before["live_id"]:
            yield Told("function.deleted", key)
        return
    if not after["live_id"]:
        return
    was = before if before is not None and before["live_id"] else None
    served, serves = bool(was and was["is_active"]), bool(after["is_active"])
    if served != serves:
        yield Told("function.enable_started" if serves else "function.disable_started", key, about, early=True)
    if was is None:
        yield Told("function.created", key, about)
    elif was["is_global"] != after["is_global"]:
        yield Told("function.updated", key, {**about, "is_global": after["is_global"]})
    elif any(was[name] != after[name] for name in ("name", "kind", "live_id", "meta", "policy")):
        yield Told("function.updated", key, about)
    if served != serves:
        yield Told("function.enabled" if serves else "function.disabled", key, about)


@story_of(Model, "name", "base_model_id", "system_prompt", "params", "meta", "is_active")
def of_model(before: Row | None, after: Row | None) -> Iterator[Told]:
    row = after or before or {}
    key, about = str(row["pk"]), {"name": row["name"]}
    if before is None or after is None:
        yield Told("model.created" if before is None else "model.deleted", key, about)
        return
    if any(before[name] != after[name] for name in before if name != "is_active"):
        yield Told("model.updated", key, about)
    if before["is_active"] != after["is_active"]:
        yield Told("model.enabled" if after["is_active"] else "model.disabled", key, about)


_USER_FIELDS = ("username", "email", "profile_image_url", "timezone", "info")


@story_of(User, *_USER_FIELDS, "first_name", "last_name", "settings", "is_active", "is_superuser")
def of_user(before: Row | None, after: Row | None) -> Iterator[Told]:
    row = after or before or {}
    key, email = str(row["pk"]), row["email"]
    if after is None:
        yield Told("user.deleted", key, {"email": email})
        return
    role = User(is_active=row["is_active"], is_superuser=row["is_superuser"]).role
    if before is None:
        yield Told("user.created", key, {"email": email, "role": role})
        return
    changed = [name for name in _USER_FIELDS if before[name] != after[name]]
    if any(before[name] != after[name] for name in ("first_name", "last_name")):
        changed.append("name")
    if changed:
        yield Told("user.updated", key, {"updated_fields": changed})
    if before["settings"] != after["settings"]:
        yield Told("user.settings_updated", key)
    if User(is_active=before["is_active"], is_superuser=before["is_superuser"]).role != role:
        yield Told("user.role_updated", key, {"role": role})


@story_of(Valves, "function_id", "values", "rules", "user_rules")
def of_valves(before: Row | None, after: Row | None) -> Iterator[Told]:
    """That they were set; what they are set to is nobody's business."""
    yield Told("function.valves_updated", (after or before or {})["function_id"])


@story_of(UserValves, "function_id", "values")
def of_user_valves(before: Row | None, after: Row | None) -> Iterator[Told]:
    yield Told("function.valves_updated", (after or before or {})["function_id"], {"scope": "user"})


@story_of(File, "name", "content_type", "content")
def of_file(before: Row | None, after: Row | None) -> Iterator[Told]:
    """A file is there for others once its content has arrived."""
    was, now = bool(before and before["content"]), bool(after and after["content"])
    row = after or before or {}
    if now and not was:
        about = {"filename": row["name"], "content_type": row["content_type"]}
        yield Told("file.uploaded", str(row["pk"]), about)
    elif was and after is None:
        yield Told("file.deleted", str(row["pk"]), {"filename": row["name"]})


def of_group(instance: Group, using: str, **_: object) -> None:
    """Receives ``pre_delete`` of a group: the models that it was allowed to use lose a restriction."""
    if listeners(using):
        models = instance.models.order_by("pk").values_list("pk", flat=True)
        publish([Told("model.access_updated", str(key)) for key in models], using)


def _logged(name: str, user: object) -> None:
    if isinstance(user, User):
        with transaction.atomic():
            if listeners():
                source = acting().source
                data = {"auth_method": "oauth" if source == OAUTH else "password"} if name == "auth.login" else {}
                publish([Told(name, str(user.pk), data, acting=Acting(user, source))])


def on_login(user: object, **_: object) -> None:
    _logged("auth.login", user)


def on_logout(user: object, **_: object) -> None:
    _logged("auth.logout", user)


def connect() -> None:
    """Hears of deletions, of many-to-many changes, and of people who log in and out. Repeating it changes nothing."""
    for model in stories:
        post_delete.connect(on_delete, sender=model, dispatch_uid=f"system event {model._meta.label}")
    pre_delete.connect(of_group, sender=Group, dispatch_uid="system event Group")
    for field in Model._meta.many_to_many:
        name = "model.access_updated" if field.name == "groups" else "model.updated"
        through, uid = getattr(Model, field.name).through, f"system event Model.{field.name}"
        m2m_changed.connect(partial(on_m2m, name), sender=through, weak=False, dispatch_uid=uid)
    user_logged_in.connect(on_login, dispatch_uid="system event auth.login")
    user_logged_out.connect(on_logout, dispatch_uid="system event auth.logout")
