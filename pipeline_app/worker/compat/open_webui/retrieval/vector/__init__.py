"""Stores of vectors, of which there is none here."""

from __future__ import annotations
