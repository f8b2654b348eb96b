"""Valves as data: what a schema says, secrets kept out of sight, administrators' rules."""

from __future__ import annotations

from functions_app.valves.rules import (
    Rules,
    broken_rules,
    clean_rules,
    effective,
    given_by,
    holding,
    incompatibilities,
    narrowed,
    same,
)
from functions_app.valves.schema import Schema, defaults, has_dynamic_options, properties, too_deep
from functions_app.valves.secrets import (
    MASK,
    is_secret,
    masked,
    public,
    redacted,
    restored,
    secret_fields,
    texts_of_secrets,
    unmasked,
    without_secrets,
)

__all__ = [
    "MASK",
    "Rules",
    "Schema",
    "broken_rules",
    "clean_rules",
    "defaults",
    "effective",
    "given_by",
    "has_dynamic_options",
    "holding",
    "incompatibilities",
    "is_secret",
    "masked",
    "narrowed",
    "properties",
    "public",
    "redacted",
    "restored",
    "same",
    "secret_fields",
    "texts_of_secrets",
    "too_deep",
    "unmasked",
    "without_secrets",
]
