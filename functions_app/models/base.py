"""What all our rows share: changes that every process and Event functions hear of, and text that every database can
store."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError
from django.db import models, transaction

from functions_app import generation
from functions_app.telling import telling

M_co = TypeVar("M_co", bound=models.Model, covariant=True)


class WatchedQuerySet(models.QuerySet[M_co]):
    """A queryset whose bulk changes, which send no signals, are told of in the same transaction as single ones are."""

    def _changed(self, names: Collection[str] = ()) -> None:
        model: Any = self.model
        if not names or not set(names) <= model.generation_ignores:
            generation.changed(model.generation_half, using=self.db)

    def update(self, **kwargs: Any) -> int:
        self._for_write = True
        with transaction.atomic(using=self.db), telling(self.model, self.db, self.all(), columns=kwargs):
            rows = super().update(**kwargs)
            self._changed(kwargs)
        return rows

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        self._for_write = True
        objs = list(objs)
        there = self.model._base_manager.using(self.db).filter(pk__in=[row.pk for row in objs if row.pk is not None])
        with (
            transaction.atomic(using=self.db),
            telling(self.model, self.db, there, lambda: [row.pk for row in objs if row.pk is not None]),
        ):
            made = super().bulk_create(objs, *args, **kwargs)
            self._changed()
        return made

    def bulk_update(self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None) -> int:
        self._for_write = True
        fields = list(fields)
        with transaction.atomic(using=self.db):
            rows = super().bulk_update(objs, fields, batch_size)
            self._changed(fields)
        return rows

    def delete(self) -> tuple[int, dict[str, int]]:
        self._for_write = True
        with transaction.atomic(using=self.db):
            deleted = super().delete()
            self._changed()
        return deleted

    # Django marks these so that managers don't offer them or templates don't call them.
    delete.alters_data = True  # type: ignore[attr-defined]  # attributes of functions are Django's own convention
    delete.queryset_only = True  # type: ignore[attr-defined]
    update.alters_data = True  # type: ignore[attr-defined]


class ToldModel(models.Model):
    """A row whose changes Event functions may be told of (``functions_app.stories``)."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        # In the transaction of the change; post_save, which is sent after Django's own, is in it too.
        using = kwargs.get("using") or self._state.db
        with transaction.atomic(using=using, savepoint=False):
            there = None if self._state.adding else type(self)._base_manager.using(using).filter(pk=self.pk)
            with telling(type(self), using, there, lambda: [self.pk], kwargs.get("update_fields")):
                super().save(*args, **kwargs)


class WatchedModel(ToldModel):
    """A row whose changes matter to processes that serve requests.

    ``generation_half`` names the half of ``functions_app.generation`` it belongs to; a change of
    nothing but the fields in ``generation_ignores`` is not told.
    """

    generation_half: ClassVar[str]
    generation_ignores: ClassVar[frozenset[str]] = frozenset()

    class Meta:
        abstract = True


def check_text(text: object, what: str) -> str:
    """Returns ``text``; raises ``ValidationError`` with a sentence when no database could store it."""
    if not isinstance(text, str):
        raise ValidationError(f"{what} must be text, not {type(text).__name__}.", code="text")
    if (at := text.find("\0")) >= 0:
        raise ValidationError(f"{what} has a NUL character in line {_line(text, at)}; remove it.", code="nul")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = _line(text, error.start)
        raise ValidationError(
            f"{what} is not valid Unicode: half of a surrogate pair (U+{ord(text[error.start]):04X}) in line {line}.",
            code="unicode",
        ) from None
    return text


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
