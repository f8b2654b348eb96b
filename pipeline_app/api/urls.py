"""The doors of the API: each path in full, so that what is listed here is what there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from pipeline_app.api.actions import ActionView
from pipeline_app.api.chat import ChatCompletionsView
from pipeline_app.api.functions import PolicyView, StatsView, TrialView
from pipeline_app.api.models import ModelsView, ModelView, WebuiModelsView, WebuiModelView
from pipeline_app.api.runs import RunView


def webui(route: str, view: Callable[..., Any], name: str) -> list[URLPattern]:
    """Returns the two paths of a route of Open WebUI's that it has with and without the version."""
    return [path(f"api/{route}", view, name=name), path(f"api/v1/{route}", view, name=f"{name}-v1")]


def function(route: str, view: Callable[..., Any], name: str) -> URLPattern:
    """Returns the path of something about one function."""
    return path(f"api/v1/functions/id/<str:function_id>{route}", view, name=name)


chat = ChatCompletionsView.as_view()
models = WebuiModelsView.as_view()

urlpatterns = [
    # OpenAI's
    path("v1/chat/completions", chat, name="chat"),
    path("v1/models", ModelsView.as_view(), name="models"),
    path("v1/models/<path:model_id>", ModelView.as_view(), name="model"),
    # Chats and actions, as Open WebUI has them
    *webui("chat/completions", chat, "webui-chat"),
    *webui("models", models, "webui-models"),
    *webui("models/", models, "webui-models-slash"),
    *webui("models/<path:model_id>", WebuiModelView.as_view(), "webui-model"),
    *webui("chat/actions/<str:action_id>", ActionView.as_view(), "action"),
    # Functions
    function("/policy", PolicyView.as_view(), "function-policy"),
    function("/run", TrialView.as_view(), "function-run"),
    function("/stats", StatsView.as_view(), "function-stats"),
    # Runs
    path("api/v1/runs/<str:run_id>", RunView.as_view(), name="run"),
]
