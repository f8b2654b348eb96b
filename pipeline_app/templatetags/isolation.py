"""The isolation level, for pages that are not about it."""

from __future__ import annotations

from django import template

from pipeline_app.admin.isolation import LEVELS, below_standard
from pipeline_app.runtime import engine

register = template.Library()


@register.inclusion_tag("admin/pipeline_app/level.html")
def isolation_level() -> dict[str, object]:
    """Shows the level of this server process in a few words, with a link to the whole story."""
    level = engine.runner.isolation
    return {"level": level, "meaning": LEVELS[level], "below": below_standard(level)}
