"""Requests per key in a span of time, counted in memory, per process; off unless configured."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
KEYS_KEPT = 10_000

_history: OrderedDict[Any, deque[float]] = OrderedDict()


@lru_cache(maxsize=16)
def parse_rate(rate: str) -> tuple[int, int] | None:
    """Returns requests and seconds of a rate such as ``120/min``; None for the empty one."""
    if not rate:
        return None
    number, slash, period = rate.partition("/")
    if not slash or not number.strip().isdigit() or int(number) < 1 or period.strip()[:1].lower() not in _SECONDS:
        raise ImproperlyConfigured(f"FUNCTIONS_THROTTLE is {rate!r}; it reads like '120/min' (s, min, hour or day).")
    return int(number), _SECONDS[period.strip()[0].lower()]


class KeyThrottle(BaseThrottle):
    """At most so many requests of one key in any span of the configured length."""

    def allow_request(self, request: Request, view: Any) -> bool:
        rate = parse_rate(settings.FUNCTIONS_THROTTLE)
        if rate is None:
            return True
        most, span = rate
        now = time.monotonic()
        times = _history.setdefault(request.auth, deque())
        _history.move_to_end(request.auth)
        if len(_history) > KEYS_KEPT:
            _history.popitem(last=False)
        while times and times[0] <= now - span:
            times.popleft()
        if len(times) >= most:
            self._wait = times[0] + span - now
            return False
        times.append(now)
        return True

    def wait(self) -> float:
        return self._wait
