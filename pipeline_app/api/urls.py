"""The doors of the API: each path in full, so that what is listed here is what there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import URLPattern, path

from pipeline_app.api.about import ConfigView, VersionView
from pipeline_app.api.actions import ActionsView, ActionView
from pipeline_app.api.chat import ChatCompletionsView
from pipeline_app.api.completed import CompletedView
from pipeline_app.api.docs import DocsView, SchemaView
from pipeline_app.api.environments import EnvironmentsView, EnvironmentView, RetryView
from pipeline_app.api.files import FileContentView, FilesView, FileView
from pipeline_app.api.functions.editing import CreateView, DeleteView, UpdateView
from pipeline_app.api.functions.exchange import ExportView, ImportView, SyncView
from pipeline_app.api.functions.listing import FunctionListView, FunctionsView, FunctionView
from pipeline_app.api.functions.loading import LoadFromURLView
from pipeline_app.api.functions.policy import PolicyView
from pipeline_app.api.functions.stats import StatsView
from pipeline_app.api.functions.switches import ToggleGlobalView, ToggleView
from pipeline_app.api.functions.trial import TrialView
from pipeline_app.api.functions.validate import ValidateView
from pipeline_app.api.functions.valves import (
    RulesView,
    UserValvesSpecView,
    UserValvesUpdateView,
    UserValvesView,
    ValvesSpecView,
    ValvesUpdateView,
    ValvesView,
)
from pipeline_app.api.functions.versions import DiffView, HistoryEntryView, HistoryView, SetVersionView
from pipeline_app.api.models import BaseModelsView, ModelsView, ModelView, WebuiModelsView, WebuiModelView
from pipeline_app.api.runs import QuestionView, RunEventsView, RunView
from pipeline_app.api.users import FiltersView


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
    *webui("models/base", BaseModelsView.as_view(), "webui-base-models"),
    *webui("models/<path:model_id>", WebuiModelView.as_view(), "webui-model"),
    *webui("chat/completed", CompletedView.as_view(), "completed"),
    *webui("chat/actions", ActionsView.as_view(), "actions"),
    *webui("chat/actions/<str:action_id>", ActionView.as_view(), "action"),
    path("api/config", ConfigView.as_view(), name="config"),
    path("api/version", VersionView.as_view(), name="version"),
    # Functions
    path("api/v1/functions/", FunctionsView.as_view(), name="functions"),
    path("api/v1/functions/list", FunctionListView.as_view(), name="function-list"),
    path("api/v1/functions/load/url", LoadFromURLView.as_view(), name="function-load-url"),
    path("api/v1/functions/create", CreateView.as_view(), name="function-create"),
    path("api/v1/functions/validate", ValidateView.as_view(), name="function-validate"),
    function("", FunctionView.as_view(), "function"),
    function("/update", UpdateView.as_view(), "function-update"),
    function("/update/version", SetVersionView.as_view(), "function-set-version"),
    function("/toggle", ToggleView.as_view(), "function-toggle"),
    function("/toggle/global", ToggleGlobalView.as_view(), "function-toggle-global"),
    function("/delete", DeleteView.as_view(), "function-delete"),
    function("/history", HistoryView.as_view(), "function-history"),
    function("/history/diff", DiffView.as_view(), "function-diff"),
    function("/history/<str:history_id>", HistoryEntryView.as_view(), "function-version"),
    function("/policy", PolicyView.as_view(), "function-policy"),
    function("/run", TrialView.as_view(), "function-run"),
    function("/stats", StatsView.as_view(), "function-stats"),
    # Their valves
    function("/valves", ValvesView.as_view(), "function-valves"),
    function("/valves/spec", ValvesSpecView.as_view(), "function-valves-spec"),
    function("/valves/update", ValvesUpdateView.as_view(), "function-valves-update"),
    function("/valves/user", UserValvesView.as_view(), "function-user-valves"),
    function("/valves/user/spec", UserValvesSpecView.as_view(), "function-user-valves-spec"),
    function("/valves/user/update", UserValvesUpdateView.as_view(), "function-user-valves-update"),
    function("/valves/rules", RulesView.as_view(), "function-valves-rules"),
    # Functions, all at once
    path("api/v1/functions/export", ExportView.as_view(), name="functions-export"),
    path("api/v1/functions/import", ImportView.as_view(), name="functions-import"),
    path("api/v1/functions/sync", SyncView.as_view(), name="functions-sync"),
    # Their packages
    path("api/v1/environments/", EnvironmentsView.as_view(), name="environments"),
    path("api/v1/environments/<str:environment_id>", EnvironmentView.as_view(), name="environment"),
    path("api/v1/environments/<str:environment_id>/retry", RetryView.as_view(), name="environment-retry"),
    # The schema, and the page that shows it
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/docs/", DocsView.as_view(), name="docs"),
    # Files; functions link to them by the names that Open WebUI has for these routes
    path("api/v1/files/", FilesView.as_view(), name="files"),
    path("api/v1/files/<str:file_id>", FileView.as_view(), name="get_file_by_id"),
    path("api/v1/files/<str:file_id>/content", FileContentView.as_view(), name="get_file_content_by_id"),
    path("api/v1/files/<str:file_id>/content/<str:name>", FileContentView.as_view(), name="file-content-named"),
    # Users' own
    path("api/v1/users/me/filters", FiltersView.as_view(), name="user-filters"),
    # Runs
    path("api/v1/runs/<str:run_id>", RunView.as_view(), name="run"),
    path("api/v1/runs/<str:run_id>/events", RunEventsView.as_view(), name="run-events"),
    path("api/v1/runs/<str:run_id>/events/<str:event_id>", QuestionView.as_view(), name="run-question"),
]
