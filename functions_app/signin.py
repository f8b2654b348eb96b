"""Signing in through an OpenID provider, by allauth: who may come in, as whom, and that the answer was meant for us."""

from __future__ import annotations

import logging
import re
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.client import OAuth2Client, OAuth2Error
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.crypto import salted_hmac

from functions_app import oidc
from functions_app.fields import storable
from functions_app.models import User

logger = logging.getLogger(__name__)

LONGEST = {"username": 150, "first_name": 150, "last_name": 150, "email": 254}


def refusal(request: HttpRequest, message: str, status: int = 403) -> HttpResponse:
    """Returns the page that says why somebody can't come in, and what to do."""
    context = {
        **admin.site.each_context(request),
        "is_nav_sidebar_enabled": False,
        "title": "You are not signed in",
        "message": message,
    }
    return TemplateResponse(request, "functions_app/refusal.html", context, status=status).render()


def refuse(request: HttpRequest, message: str) -> None:
    """Ends the sign-in with that page."""
    raise ImmediateHttpResponse(refusal(request, message))


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """What follows a sign-in: no further stages, then the page that somebody may see."""

    def get_login_stages(self) -> list[str]:
        return []

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.OIDC_NEW_USERS in ("active", "pending")

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return reverse("admin:index" if request.user.is_staff else "account")

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")

    def respond_user_inactive(self, request: HttpRequest, user: Any) -> HttpResponse:
        return refusal(request, "Your account waits for an administrator, or was switched off. Ask one of them.")

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Says nothing: the page that follows shows who is signed in."""


class SocialAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    """Who may come in, and as whom.

    A person is told by the provider's own id for them (``sub``), never by address or name. A local user is
    joined to it by that user itself, while signed in. By address (``OIDC_LINK_BY_EMAIL``) only where the provider says
    it verified it, and never where more could be taken over than an ordinary user: not with staff.
    """

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        if sociallogin.state.get("process") == "connect":
            self._check_connection(request, sociallogin)
        elif not sociallogin.is_existing:
            self._check_new(request, sociallogin)

    @staticmethod
    def _check_connection(request: HttpRequest, sociallogin: Any) -> None:
        account = sociallogin.account
        others = SocialAccount.objects.filter(provider=account.provider)
        if others.filter(uid=account.uid).exclude(user_id=request.user.pk).exists():
            refuse(request, f"That account at {settings.OIDC_NAME} belongs to another user here.")
        if others.filter(user_id=request.user.pk).exclude(uid=account.uid).exists():
            refuse(request, f"You are connected with another account at {settings.OIDC_NAME} already.")

    @staticmethod
    def _check_new(request: HttpRequest, sociallogin: Any) -> None:
        if settings.OIDC_NEW_USERS not in ("active", "pending"):
            refuse(request, "There is no account here for you. Ask an administrator to make one.")
        email = sociallogin.user.email
        if email and User.objects.filter(email__iexact=email).exists():
            refuse(
                request,
                f"An account with the address {email} exists here already, and is not joined to {settings.OIDC_NAME}. "
                "Sign in to it and join it on the page of your account, or ask an administrator.",
            )

    def authenticate_by_email(self, sociallogin: Any) -> tuple[User, str] | None:
        if not settings.OIDC_LINK_BY_EMAIL or sociallogin.state.get("process") == "connect":
            return None
        for address in sociallogin.email_addresses:
            if address.verified is True:
                found = list(User.objects.filter(email__iexact=address.email)[:2])
                if len(found) == 1 and not found[0].is_staff and not found[0].is_superuser:
                    return found[0], address.email
        return None

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: dict[str, Any]) -> User:
        fields = {name: _text(value) for name, value in data.items()}
        user: User = super().populate_user(request, sociallogin, fields)
        for name, most in LONGEST.items():
            setattr(user, name, getattr(user, name)[:most])
        # What the provider says of people is not kept beyond that.
        sociallogin.account.extra_data = {}
        return user

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        user: User = sociallogin.user
        user.is_active = settings.OIDC_NEW_USERS == "active"
        user.is_staff = user.is_superuser = False
        # Both rows or none: a user without the other would stand in the way of the same person for ever.
        with transaction.atomic():
            return super().save_user(request, sociallogin, form)  # type: ignore[no-any-return]

    def is_auto_signup_allowed(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def get_connect_redirect_url(self, request: HttpRequest, socialaccount: Any) -> str:
        return reverse("account")

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        if str(error) == "cancelled":
            refuse(request, f"You left {settings.OIDC_NAME} before you had signed in.")
        logger.warning("A sign-in through %s failed: %s", settings.OIDC_NAME, _reason(error, exception))
        refuse(
            request,
            f"Signing in through {settings.OIDC_NAME} failed; the server's log has the reason. "
            "If you took long, or used another window meanwhile, just try again.",
        )


class NonceClient(OAuth2Client):  # type: ignore[misc]
    """Sends a nonce along that follows from the state, so that nothing more has to be remembered."""

    def get_redirect_url(self, authorization_url: str, scope: Any, extra_params: dict[str, Any]) -> str:
        url: str = super().get_redirect_url(authorization_url, scope, {**extra_params, "nonce": nonce_of(self.state)})
        return url


def nonce_of(state: Any) -> str:
    """Returns the nonce that an answer to a request with this state has in its id token."""
    return salted_hmac("functions_app.signin.nonce", str(state), algorithm="sha256").hexdigest()


class ProviderAdapter(OpenIDConnectOAuth2Adapter):  # type: ignore[misc]
    """The provider of the settings. After a sign-in, ``login`` and ``answer`` are what it gave."""

    client_class = NonceClient

    def __init__(self, request: HttpRequest) -> None:
        super().__init__(request, oidc.PROVIDER_ID)
        self.login: Any = None
        self._userinfo: dict[str, Any] | None = None
        self.answer: dict[str, Any] = {}

    @property
    def openid_config(self) -> dict[str, Any]:
        return oidc.metadata()

    def get_provider(self) -> Any:
        provider = super().get_provider()
        provider.get_oauth2_adapter = lambda request: self
        return provider

    def get_callback_url(self, request: HttpRequest, app: Any) -> str:
        return request.build_absolute_uri(reverse("account-callback"))

    def parse_token(self, data: dict[str, Any]) -> Any:
        self.answer = data
        return super().parse_token({**data, "expires_in": None})  # kept elsewhere, and more tolerantly

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        if not kwargs["response"].get("id_token"):
            raise OAuth2Error("the answer has no id token")
        self.login = super().complete_login(request, app, token, **kwargs)
        return self.login

    def _fetch_user_info(self, access_token: str) -> dict[str, Any]:
        if not self.openid_config.get("userinfo_endpoint"):
            return {}  # what the id token says of the person has to do
        found: dict[str, Any] = super()._fetch_user_info(access_token)
        self._userinfo = found
        return found

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        """Returns the claims; the answer must be to this request, and the user's data, if any, of the same person."""
        claims: dict[str, Any] = super()._decode_id_token(app, id_token)
        if claims.get("nonce") != nonce_of(self.request.GET.get("state")):
            raise OAuth2Error("the id token answers another request (nonce)")
        if not claims.get("sub"):
            raise OAuth2Error("the id token is about nobody (sub)")
        if self._userinfo is not None and claims["sub"] != self._userinfo.get("sub"):
            raise OAuth2Error("id token and userinfo are about different people (sub)")
        return claims


def _text(value: Any) -> str:
    return str(storable(value)) if isinstance(value, str) else ""


def _reason(error: Any, exception: Exception | None) -> str:
    """Returns why a sign-in failed, without what the provider sent: it could hold a token."""
    if exception is None:
        return f"{error}, or an answer to a request that this browser did not make"
    word = re.search(r'"error"\s*:\s*"([a-z_]{1,60})"', str(exception))
    ours = str(exception) if str(exception).startswith(("the ", "id token ")) else type(exception).__name__
    return word[1] if word else ours
