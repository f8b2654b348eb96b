"""Reading from the web."""

from __future__ import annotations
