"""Filters of a Pipelines server, of which there is none: what passes them is unchanged."""

from __future__ import annotations

from typing import Any

from .._either import either


@either
def process_pipeline_inlet_filter(request: Any, payload: Any, user: Any = None, models: Any = None) -> Any:
    """Returns the payload."""
    return payload


@either
def process_pipeline_outlet_filter(request: Any, payload: Any, user: Any = None, models: Any = None) -> Any:
    """Returns the payload."""
    return payload
