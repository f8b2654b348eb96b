"""Who may come in through the OpenID provider, and whose tokens are kept: looked at and ended, never read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from django.contrib import admin
from django.http import HttpRequest

from functions_app import oidc
from functions_app.models import OAuthToken

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class LookedAt(_Admin):
    """Rows that are seen and deleted, not made and not changed."""

    list_select_related = ("user",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class SignInAdmin(LookedAt):
    """The person at the provider that a user is; deleting it ends that, and the user's token goes along."""

    list_display = ("user", "uid", "last_login", "date_joined")
    search_fields = ("uid", "user__username")
    fields = ("user", "provider", "uid", "last_login", "date_joined")


class OAuthTokenAdmin(LookedAt):
    """That there is a token, and until when."""

    list_display = ("user", "provider", "expires_at", "updated_at")
    search_fields = ("user__username",)
    fields = ("user", "provider", "expires_at", "updated_at")


def register() -> None:
    """Shows these pages while a provider is configured; allauth's own are closed, some of them show secrets."""
    for module in ("allauth.account.admin", "allauth.socialaccount.admin"):
        import_module(module)  # registered once, they can be taken away
    for model in (EmailAddress, SocialAccount, SocialApp, SocialToken):
        if admin.site.is_registered(model):
            admin.site.unregister(model)
    if oidc.is_on():
        admin.site.register(SocialAccount, SignInAdmin)
        admin.site.register(OAuthToken, OAuthTokenAdmin)
