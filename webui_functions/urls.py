"""The map of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from pipeline_app.admin.isolation import isolation_page
from webui_functions import health

urlpatterns = [
    path("", include("pipeline_app.api.urls")),
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("health", health.healthz, name="health"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.MetricsView.as_view(), name="metrics"),
    path("admin/isolation/", admin.site.admin_view(isolation_page), name="admin-isolation"),
    path("admin/", admin.site.urls),
]
