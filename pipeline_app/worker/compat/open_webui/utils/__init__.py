"""What functions use of Open WebUI's own tools."""

from __future__ import annotations
