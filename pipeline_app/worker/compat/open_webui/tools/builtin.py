"""The built-in tools that need nothing; the others say what they need when they are called."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any


async def get_current_timestamp(__request__: Any = None, __user__: Any = None, **_: Any) -> str:
    """Returns the time as JSON: in epoch seconds, and in words of ISO 8601."""
    now = datetime.now(UTC)
    return json.dumps({"current_timestamp": int(now.timestamp()), "current_iso": now.isoformat()})


async def calculate_timestamp(
    days_ago: int = 0,
    weeks_ago: int = 0,
    months_ago: int = 0,
    years_ago: int = 0,
    __request__: Any = None,
    __user__: Any = None,
    **_: Any,
) -> str:
    """Returns a time in the past as JSON; months and years are those of the calendar."""
    now = datetime.now(UTC)
    then = now - timedelta(days=int(days_ago), weeks=int(weeks_ago))
    month = then.year * 12 + then.month - 1 - int(months_ago) - 12 * int(years_ago)
    year, month = divmod(month, 12)
    first_after = datetime(year + (month == 11), (month + 1) % 12 + 1, 1, tzinfo=UTC)
    last_day = (first_after - timedelta(days=1)).day
    then = then.replace(year=year, month=month + 1, day=min(then.day, last_day))
    return json.dumps(
        {
            "current_timestamp": int(now.timestamp()),
            "current_iso": now.isoformat(),
            "calculated_timestamp": int(then.timestamp()),
            "calculated_iso": then.isoformat(),
        }
    )
