"""Tells Event functions of changes of rows: what a change is called is found by looking before it and after it.

So it does not matter who makes a change, or how: a save, ``QuerySet.update`` and the bulk methods come by through
``models.base``, deletions and many-to-many changes as signals (``stories``). While nobody listens, a change costs one
query more. What goes along with something else that is deleted is not told of on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import models

from functions_app.system_events import Told, listeners, publish, write

Row = Mapping[str, Any]
Tell = Callable[[Row | None, Row | None], Iterable[Told]]
"""Names the events of a change, of the row before it and after it; None where there is no row."""


class Story(NamedTuple):
    """What is told of a table: the columns that are looked at, and what their change is called."""

    columns: tuple[str, ...]
    tell: Tell


stories: dict[type[models.Model], Story] = {}


def story_of(model: type[models.Model], *columns: str) -> Callable[[Tell], Tell]:
    """Makes a function the story of a table."""

    def keep(tell: Tell) -> Tell:
        stories[model] = Story(("pk", *columns), tell)
        return tell

    return keep


@contextmanager
def telling(
    model: type[models.Model],
    using: str | None,
    rows: models.QuerySet[Any] | None,
    made: Callable[[], Iterable[Any]] = tuple,
    columns: Iterable[str] | None = None,
) -> Iterator[None]:
    """Publishes what its block changes. To be used inside the transaction of the change.

    ``rows`` are those that are there before, ``made`` returns the keys of those that may be new after it, and
    ``columns`` are those that change where that is known.
    """
    story = stories.get(model)
    if story is None or (columns is not None and not _concerns(model, story, set(columns))):
        yield
        return
    # Who may begin to listen with this very change is a row of this table: it has to be looked at in any case.
    switches = model._meta.label == "functions_app.Function"
    early = listeners(using)
    if not early and not switches:
        yield
        return
    before = {} if rows is None else _read(rows, story)
    yield
    late = listeners(using) if switches else early
    if not early and not late:
        return
    keys = dict.fromkeys([*before, *made()])
    after = _read(model._base_manager.using(using).filter(pk__in=list(keys)), story)
    told: list[Told] = []
    for key in keys:
        if key in before or key in after:
            told += story.tell(before.get(key), after.get(key))
    write(told, early, late, using)


def _concerns(model: type[models.Model], story: Story, names: set[str]) -> bool:
    """Whether a change of these fields may be one of what the story looks at."""
    fields = (field for field in model._meta.concrete_fields if {field.name, field.attname} & names)
    return any(field.attname in story.columns for field in fields)


def _read(rows: models.QuerySet[Any], story: Story) -> dict[Any, Row]:
    return {row["pk"]: row for row in rows.order_by().values(*story.columns)}


def on_delete(sender: type[models.Model], instance: models.Model, using: str, origin: Any, **_: Any) -> None:
    """Receives ``post_delete``."""
    began = origin.model if isinstance(origin, models.QuerySet) else type(origin)
    story = stories.get(sender)
    if story is not None and began is sender:
        # The key of the instance is there until all receivers have been told.
        publish(story.tell({name: getattr(instance, name) for name in story.columns}, None), using)


def on_m2m(name: str, *, instance: models.Model, action: str, reverse: bool, pk_set: Any, using: str, **_: Any) -> None:
    """Receives ``m2m_changed`` of a field of ``Model``; ``name`` is the event."""
    if action == "post_clear" and not reverse:
        keys = {instance.pk}
    elif action in ("post_add", "post_remove") and pk_set:
        keys = pk_set if reverse else {instance.pk}
    else:
        return
    if listeners(using):
        from functions_app.models import Model

        rows = Model._base_manager.using(using).filter(pk__in=keys).order_by("pk").values_list("pk", "name")
        access = name == "model.access_updated"
        publish([Told(name, str(key), {} if access else {"name": label}) for key, label in rows], using)
