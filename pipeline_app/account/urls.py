"""The doors of those pages; there are none while no provider is configured."""

from __future__ import annotations

from django.urls import URLPattern, path

from functions_app import oidc

urlpatterns: list[URLPattern] = []

if oidc.is_on():
    from pipeline_app.account import views  # and with them allauth's, which nobody else pays for

    urlpatterns += [
        path("account/", views.account, name="account"),
        path("account/oidc/", views.sign_in, name="account-sign-in"),
        path("account/oidc/callback/", views.callback, name="account-callback"),
        path("account/sign-out/", views.sign_out, name="account-sign-out"),
    ]
