"""Who is changing data now, and by which way they came: what system events say of a change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

API = "api"
ADMIN = "admin"
OAUTH = "oauth"
SYSTEM = "system"


class Acting(NamedTuple):
    """A person - a user, perhaps a lazy one, or the dict that functions see of one; None is nobody - and a source."""

    person: Any
    source: str

    def actor(self) -> dict[str, Any] | None:
        """Returns the person as system events name them; None for nobody and for somebody who is not logged in."""
        return actor_of(self.person)


NOBODY = Acting(None, SYSTEM)
_now: ContextVar[Acting] = ContextVar("acting", default=NOBODY)


@contextmanager
def acting_as(person: Any, source: str) -> Iterator[None]:
    """Lets a person be the actor of every change in its block, also in threads that carry the context on."""
    token = _now.set(Acting(person, source))
    try:
        yield
    finally:
        _now.reset(token)


def acting() -> Acting:
    """Returns who acts now; without any word of that it is nobody, and the system itself."""
    return _now.get()


def actor_of(person: Any) -> dict[str, Any] | None:
    """Returns a person as system events name them."""
    if person is None or not (isinstance(person, dict) or person.is_authenticated):
        return None
    wire = person if isinstance(person, dict) else person.to_wire()
    return {name: wire[name] for name in ("id", "name", "email", "role", "created_at", "updated_at")} | {"type": "user"}
