"""The endpoints of Open WebUI that functions call as plain functions."""

from __future__ import annotations
