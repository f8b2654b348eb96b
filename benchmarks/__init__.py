"""How fast the server is, beside a bare ASGI app and stock Django on the same machine: ``python -m benchmarks``."""

from __future__ import annotations
