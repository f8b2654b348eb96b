"""What create and update are sent: Open WebUI's ``FunctionForm``, read with care."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError

from functions_app import wire
from functions_app.models.base import check_text
from functions_app.models.function import clean_id, clean_name
from functions_app.models.version import clean_note, clean_source
from pipeline_app.api.functions.base import invalid
from pipeline_app.bodies import wrong_type
from pipeline_app.errors import RequestError

Json = dict[str, Any]

DEEPEST = 32
"""How deeply ``meta`` may be nested."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields, clean; None where one was not sent. Keys that it does not know, such as those of an export, are
    passed over."""

    id: str | None
    name: str | None
    content: str | None
    meta: Json | None
    note: str
    version_id: str | None

    @classmethod
    def read(cls, body: Json, *, needs: Collection[str] = (), ignores: Collection[str] = ()) -> Form:
        """Returns what a body says. Raises ``RequestError`` for a field of ``needs`` that is missing or any wrong one.

        Fields of ``ignores`` are not looked at.
        """
        given = {name: value for name, value in body.items() if value is not None and name not in ignores}
        for name in needs:
            if name not in given:
                raise RequestError(
                    f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
                )
        for name in ("id", "name", "content", "commit_message", "version_id"):
            if name in given and not isinstance(given[name], str):
                raise wrong_type(name, "a string", given[name])
        cleaned: Json = {}
        for name, clean in _CLEAN.items():
            if name in given:
                try:
                    cleaned[name] = clean(given[name])
                except ValidationError as error:
                    raise invalid(error, name) from None
        return cls(
            cleaned.get("id"),
            cleaned.get("name"),
            cleaned.get("content"),
            _meta(given["meta"]) if "meta" in given else None,
            cleaned.get("commit_message", ""),
            cleaned.get("version_id"),
        )


def version_id(value: object) -> str:
    """Returns an id of a version as it is written everywhere. Raises ``ValidationError`` for what can't be one."""
    try:
        return str(uuid.UUID(check_text(value, "The version_id")))
    except ValueError:
        raise ValidationError("The version_id must be the UUID of a version.", code="uuid") from None


_CLEAN = {
    "id": clean_id,
    "name": clean_name,
    "content": clean_source,
    "commit_message": clean_note,
    "version_id": version_id,
}


def _meta(value: object) -> Json:
    if not isinstance(value, dict):
        raise wrong_type("meta", "an object", value)
    if not isinstance(value.get("description"), str | None):
        raise wrong_type("meta.description", "a string or null", value["description"])
    own = wire.own_meta(value)
    _check(own, DEEPEST)
    return own


def _check(value: Any, deeper: int) -> None:
    """Raises ``RequestError`` unless every database can store the value as it is."""
    if isinstance(value, dict | list):
        if not deeper:
            raise RequestError(f"'meta' is nested more than {DEEPEST} levels deep.", param="meta", code="invalid_value")
        for item in value:
            _check(item, deeper - 1)
        if isinstance(value, dict):
            for item in value.values():
                _check(item, deeper - 1)
    elif isinstance(value, str):
        try:
            check_text(value, "A text in 'meta'")
        except ValidationError as error:
            raise invalid(error, "meta") from None
