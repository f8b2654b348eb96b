"""What Open WebUI keeps to itself, as far as functions use it."""

from __future__ import annotations
