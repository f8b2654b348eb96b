"""Columns of our own: JSON that is encrypted at rest, and JSON that every database accepts."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured, ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute

if TYPE_CHECKING:
    AnyField = models.Field[Any, Any]
else:
    AnyField = models.Field


class UndecryptableValves(Exception):
    """A stored value was encrypted with a key that ``VALVE_KEYS`` no longer has, or was damaged."""


def keyring() -> MultiFernet:
    """Returns the keys of the settings: the first encrypts, all decrypt. Bad keys raise ``ImproperlyConfigured``."""
    try:
        return MultiFernet([Fernet(key) for key in settings.VALVE_KEYS])
    except (ValueError, TypeError):
        # The message must not repeat the key.
        raise ImproperlyConfigured(
            "VALVE_KEYS must hold at least one key, each of 32 random bytes in URL-safe base64 (44 characters)."
        ) from None


class Sealed:
    """An encrypted value as it lies in the database. It is opened when somebody reads it, not when its row is loaded,
    so that a list of rows survives a lost key."""

    __slots__ = ("column", "token")

    def __init__(self, token: str, column: str) -> None:
        self.token = token
        self.column = column

    def __repr__(self) -> str:
        return f"<{self.column}: encrypted>"

    def open(self) -> Any:
        """Returns the value. Raises ``UndecryptableValves``."""
        try:
            return json.loads(keyring().decrypt(self.token.encode()))
        except InvalidToken:
            raise UndecryptableValves(
                f"{self.column} cannot be decrypted: none of the {len(settings.VALVE_KEYS)} keys in VALVE_KEYS fits. "
                "Add the key that it was saved with to the end of VALVE_KEYS, or save the values anew."
            ) from None

    def rotated(self) -> str:
        """Returns the same value under the first key. Raises ``UndecryptableValves``."""
        self.open()
        return keyring().rotate(self.token.encode()).decode()


class SealedAttribute(DeferredAttribute):
    """Opens the value on first access and keeps it."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed):
            value = instance.__dict__[self.field.attname] = value.open()
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        # Makes this a data descriptor; without it Python would not ask __get__ for a loaded value.
        instance.__dict__[self.field.attname] = value


class EncryptedJSONField(AnyField):
    """JSON kept as one Fernet token around its text.

    Types survive (a number stays a number). Reading with a wrong key raises ``UndecryptableValves``;
    it never yields an empty value. It can't be searched.
    """

    description = "Encrypted JSON"
    descriptor_class = SealedAttribute
    empty_strings_allowed = False

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str | None, *_: Any) -> Sealed | None:
        return None if value is None else Sealed(value, f"{self.model._meta.object_name}.{self.name}")

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = model_instance.__dict__.get(self.attname, self)
        return super().pre_save(model_instance, add) if value is self else value

    def get_prep_value(self, value: Any) -> Any:
        if value is None or hasattr(value, "resolve_expression"):
            return value
        if isinstance(value, Sealed):
            return value.token
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValidationError(f"{self.name} must be JSON: {error}") from None
        return keyring().encrypt(text.encode()).decode()

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError(f"{self.name} is encrypted, so it cannot be searched ({lookup_name}).")
        return super().get_lookup(lookup_name)

    def value_to_string(self, obj: models.Model) -> str:
        # Serializers write the ciphertext: a dump of the database must not be a dump of secrets.
        value = self.pre_save(obj, add=False)
        return str(self.get_prep_value(value))

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("gAAAA"):
            return Sealed(value, str(self.name))
        return value

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        return value


def storable(value: Any) -> Any:
    """Returns JSON data that SQLite and PostgreSQL both store: no NUL, no half surrogate pairs, no NaN, text keys."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class TolerantJSONField(models.JSONField):
    """JSON that may hold anything an author wrote: what PostgreSQL refuses is replaced when it is written."""

    def get_prep_value(self, value: Any) -> Any:
        if hasattr(value, "resolve_expression"):
            return value
        return storable(super().get_prep_value(value))
