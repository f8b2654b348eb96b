"""The way to browsers."""

from __future__ import annotations
