"""Searching in stored text, of which nothing is indexed here."""

from __future__ import annotations
