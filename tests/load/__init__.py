"""Many at once: what must hold when requests overlap, clients leave and processes share an installation."""

from __future__ import annotations
