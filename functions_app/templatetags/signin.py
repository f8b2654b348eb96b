"""The button that signs people in through the OpenID provider."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings

from functions_app import oidc

register = template.Library()


@register.inclusion_tag("functions_app/provider_button.html", takes_context=True)
def provider_button(context: Any) -> dict[str, Any]:
    """Shows the button; nothing while no provider is configured."""
    return {"csrf_token": context.get("csrf_token"), "on": oidc.is_on(), "provider": settings.OIDC_NAME}
