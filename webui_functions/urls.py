"""The map of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from pipeline_app.admin.isolation import isolation_page
from webui_functions import health

urlpatterns = [
    path("", include("pipeline_app.api.urls")),
    path("", include("pipeline_app.account.urls")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("healthz", health.LivesView.as_view(), name="healthz"),
    path("health", health.LivesView.as_view(), name="health"),
    path("readyz", health.ReadyView.as_view(), name="readyz"),
    path("metrics", health.MetricsView.as_view(), name="metrics"),
    path("admin/isolation/", admin.site.admin_view(isolation_page), name="admin-isolation"),
    path("admin/", admin.site.urls),
]
