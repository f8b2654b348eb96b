"""The doors of the API."""

from __future__ import annotations

from django.urls import path, re_path

from pipeline_app.api.actions import ActionView
from pipeline_app.api.chat import ChatCompletionsView
from pipeline_app.api.functions import PolicyView, StatsView, TrialView
from pipeline_app.api.models import ModelsView, ModelView, WebuiModelsView, WebuiModelView
from pipeline_app.api.runs import RunView

chat = ChatCompletionsView.as_view()

urlpatterns = [
    # OpenAI's
    path("v1/chat/completions", chat, name="chat"),
    path("v1/models", ModelsView.as_view(), name="models"),
    path("v1/models/<path:model_id>", ModelView.as_view(), name="model"),
    # Open WebUI's
    re_path(r"^api/(?:v1/)?chat/completions$", chat, name="webui-chat"),
    re_path(r"^api/(?:v1/)?models/?$", WebuiModelsView.as_view(), name="webui-models"),
    re_path(r"^api/(?:v1/)?models/(?P<model_id>.+)$", WebuiModelView.as_view(), name="webui-model"),
    re_path(r"^api/(?:v1/)?chat/actions/(?P<action_id>[^/]+)$", ActionView.as_view(), name="action"),
    path("api/v1/functions/id/<str:function_id>/policy", PolicyView.as_view(), name="function-policy"),
    path("api/v1/functions/id/<str:function_id>/run", TrialView.as_view(), name="function-run"),
    path("api/v1/functions/id/<str:function_id>/stats", StatsView.as_view(), name="function-stats"),
    path("api/v1/runs/<str:run_id>", RunView.as_view(), name="run"),
]
