"""The tools of Open WebUI."""

from __future__ import annotations
