"""Signing in and out, and the page that people without admin rights land on: it makes and revokes their API keys."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from functions_app import oidc
from functions_app.models import OAuthToken, User
from functions_app.roles import USE
from functions_app.signin import ProviderAdapter, refusal
from pipeline_app.models import ApiKey

logger = logging.getLogger(__name__)

MOST_KEYS = 20
LIFETIMES = (("30", "30 days"), ("90", "90 days"), ("365", "a year"), ("", "for ever"))


class KeyForm(forms.Form):
    """A new key."""

    label = forms.CharField(max_length=100, required=False, help_text="What the key is for.")
    days = forms.ChoiceField(choices=LIFETIMES, required=False, initial="90", label="Works for")


@never_cache
@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sends a browser to the provider: to sign in, or to join the account of who is signed in (``process=connect``)."""
    if request.POST.get("process", "login") not in ("login", "connect") or request.GET:
        return refusal(request, "The form was changed on its way. Go back and try again.", 400)
    if request.POST.get("process") == "connect" and not request.user.is_authenticated:
        return HttpResponseRedirect(reverse("admin:login"))
    try:
        response: HttpResponse = OAuth2LoginView.adapter_view(ProviderAdapter(request))(request)
    except oidc.Unreachable as error:
        return _unreachable(request, error)
    if not isinstance(response, HttpResponseRedirect):
        return response
    # A page, not a redirect: browsers hold a form's redirects to ``form-action``, which names no other site.
    context = _page(request, f"Going to {settings.OIDC_NAME}") | {"url": response.url}
    return TemplateResponse(request, "pipeline_app/account/leaving.html", context)


@never_cache
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    """Takes what the provider says of who signed in, and keeps the token that functions may ask for."""
    adapter = ProviderAdapter(request)
    try:
        response: HttpResponse = OAuth2CallbackView.adapter_view(adapter)(request)
        if _signed_in(request, adapter):
            OAuthToken.objects.keep(_user(request), oidc.PROVIDER_ID, adapter.answer)
    except oidc.Unreachable as error:
        return _unreachable(request, error)
    except (LookupError, TypeError, ValueError, AttributeError, DatabaseError) as error:
        # The provider's answer is not what the standard says, or two windows made the same new user at once.
        logger.warning("A sign-in through %s failed: %s", settings.OIDC_NAME, type(error).__name__)
        return refusal(
            request, f"Signing in through {settings.OIDC_NAME} failed; try again. The server's log has more.", 502
        )
    return response


def _signed_in(request: HttpRequest, adapter: ProviderAdapter) -> bool:
    """Whether the person that the provider named is the one who is signed in here now."""
    return (
        adapter.login is not None
        and request.user.is_authenticated
        and adapter.login.account.pk is not None
        and adapter.login.account.user_id == request.user.pk
    )


def _unreachable(request: HttpRequest, error: oidc.Unreachable) -> HttpResponse:
    logger.warning("The provider %s can't be used: %s", settings.OIDC_NAME, error)
    return refusal(request, f"{settings.OIDC_NAME} does not answer at the moment. Try again in a while.", 503)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session here; the provider keeps its own."""
    logout(request)
    return HttpResponseRedirect(reverse("admin:login"))


@never_cache
@login_required(login_url="admin:login")
def account(request: HttpRequest) -> HttpResponse:
    """Shows who is signed in, with their API keys; a POST makes one or revokes one."""
    user = _user(request)
    form, text = KeyForm(), ""
    may = user.has_perm(USE)
    keys = ApiKey.objects.filter(user=user, revoked_at=None)
    if request.method == "POST" and may:
        if "revoke" in request.POST:
            _revoke(keys, request.POST["revoke"])
            return HttpResponseRedirect(reverse("account"))
        form = KeyForm(request.POST)
        if keys.count() >= MOST_KEYS:
            form.add_error(None, f"You have {MOST_KEYS} keys; revoke one first.")
        if form.is_valid():
            days = form.cleaned_data["days"]
            ends = timezone.now() + timedelta(days=int(days)) if days else None
            text = ApiKey.objects.issue(user, form.cleaned_data["label"], expires_at=ends)[1]
            form = KeyForm()
    context = _page(request, "Your account") | {
        "form": form,
        "key": text,
        "keys": list(keys),
        "may_use": may,
        "joined": SocialAccount.objects.filter(user=user, provider=oidc.PROVIDER_ID).exists(),
    }
    return TemplateResponse(request, "pipeline_app/account/account.html", context)


def _page(request: HttpRequest, title: str) -> dict[str, Any]:
    """Returns what a page needs to look like the admin's."""
    frame = admin.site.each_context(request)
    return {**frame, "is_nav_sidebar_enabled": False, "title": title, "provider": settings.OIDC_NAME}


def _revoke(keys: Any, key_id: str) -> None:
    for key in keys:
        if str(key.pk) == key_id:
            key.revoke()


def _user(request: HttpRequest) -> User:
    user: User = request.user  # type: ignore[assignment]  # of somebody who is signed in
    return user
