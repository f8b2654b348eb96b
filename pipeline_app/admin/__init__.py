"""The admin pages of what serving leaves behind: one module per page."""

from __future__ import annotations

from functions_app.admin import pages
from pipeline_app.admin.activity import PAGE
from pipeline_app.admin.destination import DestinationAdmin
from pipeline_app.admin.key import ApiKeyAdmin
from pipeline_app.admin.run import RunAdmin
from pipeline_app.admin.trip import TripAdmin

__all__ = ["ApiKeyAdmin", "DestinationAdmin", "RunAdmin", "TripAdmin"]

pages.add(PAGE)
