"""A stock Django project: the handler and the middleware that ``startproject`` gives, and one plain async view."""

from __future__ import annotations

import json

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for a benchmark only",
    ROOT_URLCONF="benchmarks.stock",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)

from collections.abc import AsyncIterator  # noqa: E402  # settings first

from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse  # noqa: E402
from django.http.response import HttpResponseBase  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

from benchmarks.peers import FRAMES, PLAIN  # noqa: E402


@csrf_exempt
async def chat(request: HttpRequest) -> HttpResponseBase:
    if json.loads(request.body).get("stream"):
        return StreamingHttpResponse(_frames(), content_type="text/event-stream; charset=utf-8")
    return HttpResponse(PLAIN, content_type="application/json")


async def _frames() -> AsyncIterator[bytes]:
    for frame in FRAMES:
        yield frame


async def healthz(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"{}", content_type="application/json")


urlpatterns = [path("v1/chat/completions", chat), path("healthz", healthz)]
application = get_asgi_application()
