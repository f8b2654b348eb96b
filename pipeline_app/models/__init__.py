"""What serving leaves in the database: keys, runs, totals, and what the sandbox saw."""

from __future__ import annotations

from pipeline_app.models.destination import Destination
from pipeline_app.models.key import ApiKey, Scope
from pipeline_app.models.presence import Presence
from pipeline_app.models.run import Run
from pipeline_app.models.story import Letter, RunEvent
from pipeline_app.models.trip import Trip
from pipeline_app.models.usage import Usage

__all__ = ["ApiKey", "Destination", "Letter", "Presence", "Run", "RunEvent", "Scope", "Trip", "Usage"]
