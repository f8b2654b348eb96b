"""What clients are shown of functions and their versions: Open WebUI's shapes and key order, times in epoch seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db.models import OuterRef, Subquery

from functions_app.models import Function, FunctionVersion, User

Json = dict[str, Any]

COMPUTED = frozenset({"manifest", "toggle", "has_user_valves"})
"""Keys of ``meta`` that the server computes of a version; they are never stored with the function."""
PUBLIC_MANIFEST = (
    "title", "description", "version", "author", "author_url", "license", "icon_url", "funding_url",
    "required_open_webui_version",
)  # fmt: skip
"""What people who may only use functions are shown of a frontmatter: nothing about how the code is built."""


def epoch(moment: datetime) -> int:
    return int(moment.timestamp())


def own_meta(meta: Mapping[str, Any]) -> Json:
    """Returns what is kept of a ``meta`` that a client sent."""
    return {key: value for key, value in meta.items() if key not in COMPUTED}


def shown(functions: Iterable[Function], *, source: bool = False) -> Iterator[tuple[Function, FunctionVersion | None]]:
    """Yields each function with the version that clients are shown: the live one, else the newest, else None.

    One query for all versions, whose sources stay where they are unless they are wanted.
    """
    rows = list(functions)
    newest = FunctionVersion.objects.filter(function=OuterRef("pk")).order_by("-number").values("pk")[:1]
    waiting = [row.pk for row in rows if row.live_id is None]
    drafts = dict(Function.objects.filter(pk__in=waiting).annotate(shown=Subquery(newest)).values_list("pk", "shown"))
    wanted = {row.pk: row.live_id or drafts.get(row.pk) for row in rows}
    versions = FunctionVersion.objects.all() if source else FunctionVersion.objects.defer("source")
    found = versions.in_bulk([pk for pk in wanted.values() if pk is not None])
    for row in rows:
        version = found.get(wanted[row.pk]) if wanted[row.pk] is not None else None
        if version is not None:
            version.function = row
        yield row, version


def kind(function: Function, version: FunctionVersion | None) -> str:
    """Returns what a function is; empty while nothing of it was ever inspected."""
    return function.kind or str(((version and version.manifest) or {}).get("kind", ""))


def meta(function: Function, version: FunctionVersion | None, own: Any = None) -> Json:
    """Returns the function's own facts, or those given, with what its version says in ``manifest`` and ``toggle``."""
    told = (version and version.manifest) or {}
    manifest = told.get("frontmatter") if version is None or version.manifest else version.frontmatter
    own = function.meta if own is None else own
    own = own_meta(own if isinstance(own, dict) else {})
    return {
        "description": own.pop("description", (manifest or {}).get("description")),
        "manifest": manifest or {},
        "toggle": kind(function, version) == Function.Kind.FILTER and bool(told.get("toggle")),
        **own,
    }


def response(function: Function, version: FunctionVersion | None) -> Json:
    """Returns the ``FunctionResponse``: a function without its source."""
    return {
        "version_id": str(version.pk) if version is not None else None,
        "id": function.pk,
        "user_id": str(function.owner_id) if function.owner_id is not None else None,
        "type": kind(function, version),
        "name": function.name,
        "meta": meta(function, version),
        "is_active": function.is_active,
        "is_global": function.is_global,
        "updated_at": epoch(function.updated_at),
        "created_at": epoch(function.created_at),
    }


def model(function: Function, version: FunctionVersion | None) -> Json:
    """Returns the ``FunctionModel``: a function with its source. Entries of export files have this shape."""
    told = response(function, version)
    content = version.source if version is not None else ""
    return {
        **{key: told[key] for key in ("version_id", "id", "user_id", "name", "type")},
        "content": content,
        **{key: told[key] for key in ("meta", "is_active", "is_global", "updated_at", "created_at")},
    }


def trimmed(told: Json) -> Json:
    """Returns a ``FunctionResponse`` as people see it who may use functions, but not look into them."""
    manifest = told["meta"]["manifest"]
    return {
        **told,
        "meta": {
            "description": told["meta"]["description"],
            "manifest": {key: manifest[key] for key in PUBLIC_MANIFEST if key in manifest},
            "toggle": told["meta"]["toggle"],
        },
    }


def owner(user: User | None) -> Json | None:
    """Returns the ``user`` of a ``FunctionUserResponse``."""
    return None if user is None else {"id": str(user.pk), "name": user.name, "role": user.role, "email": user.email}


def entry(version: FunctionVersion, parent: FunctionVersion | None) -> Json:
    """Returns a version as an entry of the history, beside the version before it; without its source."""
    return {
        "id": str(version.pk),
        "function_id": version.function_id,
        "parent_id": str(parent.pk) if parent is not None else None,
        "user_id": str(version.author_id) if version.author_id is not None else None,
        "commit_message": version.note or None,
        "created_at": epoch(version.created_at),
        "user": {"name": version.author.name} if version.author is not None else None,
        "number": version.number,
        "state": version.state,
    }


def facts(version: FunctionVersion) -> Json:
    """Returns the function's name and ``meta`` as they were while a version served last, or are now."""
    kept = version.facts if version.state != version.State.LIVE and isinstance(version.facts, dict) else {}
    return {"name": version.function.name, "meta": version.function.meta, **kept}


def snapshot(version: FunctionVersion) -> Json:
    """Returns what a version holds, with the facts of its time."""
    told = facts(version)
    return {"name": told["name"], "content": version.source, "meta": meta(version.function, version, told["meta"])}


def metadata_difference(before: FunctionVersion, after: FunctionVersion) -> Json:
    """Returns which of a function's ``name`` and ``meta`` changed between two versions, beside what is computed."""
    old, new = facts(before), facts(after)
    told = {"name": (old["name"], new["name"]), "meta": (own_meta(old["meta"] or {}), own_meta(new["meta"] or {}))}
    return {name: {"before": was, "after": now} for name, (was, now) in told.items() if was != now}
