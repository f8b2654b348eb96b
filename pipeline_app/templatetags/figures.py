"""Figures as people read them; a dash where nothing is known."""

from __future__ import annotations

from django import template

register = template.Library()

NOTHING = "\N{EN DASH}"


@register.filter
def ms(value: float | None) -> str:
    """Returns milliseconds with the digits that matter, seconds from one second on."""
    if value is None:
        return NOTHING
    if value >= 1000:
        return f"{value / 1000:,.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


@register.filter
def mb(value: float | None) -> str:
    """Returns megabytes."""
    return NOTHING if value is None else f"{value:,.0f} MB"


@register.filter
def count(value: int) -> str:
    """Returns a whole number with its thousands apart."""
    return f"{value:,}"
