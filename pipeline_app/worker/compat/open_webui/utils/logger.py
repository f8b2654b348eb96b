"""The shape of log lines."""

from __future__ import annotations

import logging
from typing import Any

logger = logging.getLogger("open_webui")


def stdout_format(record: Any) -> str:
    """Returns the format of a line, as loguru wants it; what is bound to the record follows the message."""
    extra = record.get("extra") if isinstance(record, dict) else None
    told = " - {extra}" if extra else ""
    return (
        "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> | <level>{level: <8}</level> | "
        "<cyan>{name}</cyan>:<cyan>{function}</cyan>:<cyan>{line}</cyan> - <level>{message}</level>"
        f"{told}\n{{exception}}"
    )


def start_logger(*args: Any, **kwargs: Any) -> None:
    """Changes nothing: what functions log is kept by the server."""
