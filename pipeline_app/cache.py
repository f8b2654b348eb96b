"""A Django cache backend that keeps live objects, for modules and instances of the inline runner.

Other backends pickle what they store, and a module can't be pickled. Here the same object comes
back, so keys must name content that never changes: an entry is then never wrong, only unused.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

_stores: dict[str, tuple[OrderedDict[str, tuple[Any, float | None]], threading.RLock]] = {}


class ModuleCache(BaseCache):
    """Least recently used references, shared by all threads of the process. ``MAX_ENTRIES`` bounds them."""

    def __init__(self, name: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._entries, self._lock = _stores.setdefault(name or "modules", (OrderedDict(), threading.RLock()))

    def validate_key(self, key: str) -> None:
        """Accepts every key: none leaves the process."""

    def _expiry(self, timeout: Any) -> float | None:
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return None if seconds is None else time.monotonic() + seconds

    def _live(self, key: str) -> tuple[bool, Any]:
        entry = self._entries.get(key)
        if entry is None:
            return False, None
        value, expiry = entry
        if expiry is not None and expiry <= time.monotonic():
            del self._entries[key]
            return False, None
        return True, value

    def _put(self, key: str, value: Any, timeout: Any) -> None:
        self._entries[key] = (value, self._expiry(timeout))
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        with self._lock:
            if self._live(key)[0]:
                return False
            self._put(key, value, timeout)
            return True

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        key = self.make_and_validate_key(key, version=version)
        with self._lock:
            found, value = self._live(key)
            if not found:
                return default
            self._entries.move_to_end(key)
            return value

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        key = self.make_and_validate_key(key, version=version)
        with self._lock:
            self._put(key, value, timeout)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        with self._lock:
            found, value = self._live(key)
            if found:
                self._put(key, value, timeout)
            return found

    def delete(self, key: str, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        with self._lock:
            return self._entries.pop(key, None) is not None

    def has_key(self, key: str, version: int | None = None) -> bool:
        key = self.make_and_validate_key(key, version=version)
        with self._lock:
            return self._live(key)[0]

    def delete_prefix(self, prefix: str, version: int | None = None) -> int:
        """Drops every entry whose key begins with ``prefix``; returns how many."""
        start = self.make_key(prefix, version=version)
        with self._lock:
            doomed = [key for key in self._entries if key.startswith(start)]
            for key in doomed:
                del self._entries[key]
            return len(doomed)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
