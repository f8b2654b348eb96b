"""A secret that was set is on no page, in no answer, in no event and in no log: over all routes that there are."""

from __future__ import annotations

import json
import logging

import pytest
from django.contrib import admin as django_admin
from django.contrib.admin.models import LogEntry
from django.urls import NoReverseMatch, reverse

from functions_app.models import Function, OAuthToken, OutboxEvent, User, UserValves, Valves
from pipeline_app.models import ApiKey, Run
from pipeline_app.runs import log
from tests.builders import make_function
from tests.routes import doors

pytestmark = pytest.mark.django_db

SOURCE = '''
"""
title: Keeper
"""
from pydantic import BaseModel, Field, SecretStr, field_validator


class Login(BaseModel):
    host: str
    password: str = ""


class Pipe:
    class Valves(BaseModel):
        API_KEY: str = ""
        pin: str = Field("", json_schema_extra={"input": {"type": "password"}})
        hidden: SecretStr = SecretStr("")
        logins: list[Login] = []
        headers: dict[str, str] = {}
        url: str = "http://x"

        @field_validator("API_KEY", "pin")
        @classmethod
        def check(cls, value):
            if "wrong" in value:
                raise ValueError(f"{value} is no key")
            return value

    class UserValves(BaseModel):
        own_token: str = ""

    def __init__(self):
        self.valves = self.Valves()

    def pipe(self, body, __user__, __oauth_token__=None):
        assert self.valves.hidden.get_secret_value() and __user__["valves"].own_token
        return "kept"
'''
LISTENER = """
class Event:
    def event(self, event):
        pass
"""
SECRET = "hush-"
VALVES = {
    "API_KEY": "hush-1",
    "pin": "hush-2",
    "hidden": "hush-3",
    "logins": [{"host": "h", "password": "hush-4"}],
    "headers": {"Authorization-Token": "hush-5"},
}
TOKEN = {"access_token": "hush-6", "refresh_token": "hush-7", "id_token": "hush-8", "expires_in": 3600}
KEEPER = "/api/v1/functions/id/keeper"


@pytest.fixture
def kept(api, alice, changed, caplog):
    """A function whose valves hold secrets, used, tried and misused once; returns how each answer read."""
    caplog.set_level(logging.DEBUG)
    make_function("listener", LISTENER)
    keeper = make_function("keeper", SOURCE)
    OAuthToken.objects.keep(alice, "oidc", TOKEN)
    said = [
        api.post(f"{KEEPER}/valves/update", VALVES),
        api.post(f"{KEEPER}/valves/user/update", {"own_token": "hush-9"}),
        api.post(f"{KEEPER}/valves/update", {"API_KEY": "wrong hush-10"}),
        api.post(f"{KEEPER}/run", {"hook": "pipe", "valves": {"pin": "wrong hush-11"}}),
        api.post(f"{KEEPER}/valves/rules", {"valves": {"API_KEY": {"fixed": "hush-12"}}}),
        api.post(f"{KEEPER}/run", {"hook": "pipe"}),
    ]
    changed()
    said += [
        api.chat("keeper"),
        api.chat("keeper", stream=True),
        api.post("/api/v1/functions/validate", {"id": "keeper", "content": keeper.live.source}),
        api.post(f"{KEEPER}/update", {"content": SOURCE.replace('url: str = "http://x"', "API_KEY: int = 0")}),
    ]
    with_valves = api.get("/api/v1/functions/export?include_valves=true")
    entries = [{**entry, "valves": {**entry["valves"], "pin": "wrong hush-13"}} for entry in with_valves.json]
    said += [
        with_valves,
        api.post("/api/v1/functions/import", {"functions": entries, "overwrite": True}),
        api.post("/api/v1/functions/sync", {"functions": entries}),
        api.post("/api/v1/functions/sync", {"functions": with_valves.json}),
    ]
    statuses = [answer.status for answer in said]
    assert statuses == [200, 200, 400, 200, 400, 200, 200, 200, 200, 400, 200, 400, 400, 200]
    log.write()
    return said


def test_no_answer_of_the_api_tells_a_secret(api, bobs_api, kept):
    values = Valves.objects.get().values | UserValves.objects.get().values
    assert values == VALVES | {"own_token": "hush-9"}
    keeper, run = Function.objects.get(pk="keeper"), Run.objects.filter(kind="chat").first()
    ids = {"function_id": "keeper", "history_id": str(keeper.live_id), "run_id": str(run.pk), "model_id": "keeper"}
    seen = 0
    for door in doors():
        if door.method != "GET":
            continue
        path = door.template
        for name in ("function_id", "history_id", "run_id", "model_id", "file_id", "action_id", "event_id", "name"):
            path = path.replace(f"{{{name}}}", ids.get(name, "nothing"))
        for client in (api, bobs_api):
            answer = client.get(path)
            assert SECRET not in answer.text, f"{path}: {answer.text}"
            assert client.key not in answer.text, path
            seen += answer.status == 200
    assert seen > 20
    for answer in kept:
        assert SECRET not in answer.text, answer.text


def test_no_page_of_the_admin_shows_a_secret(admin, api, kept):
    pages = [reverse(f"admin:functions_app_function_{name}", args=["keeper"]) for name in ("valves", "rules", "policy")]
    for model in django_admin.site._registry:
        label = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        try:
            pages.append(reverse(f"{label}_changelist"))
            pages += [reverse(f"{label}_change", args=[row.pk]) for row in model._default_manager.all()[:5]]
        except NoReverseMatch:
            continue
    assert len(pages) > 15
    for page in pages:
        text = admin.get(page, follow=True).content.decode()
        assert SECRET not in text, page
        assert api.key not in text, page


def test_no_event_run_or_log_tells_a_secret(api, alice, kept, caplog):
    assert {"function.valves_updated", "chat.finished"} <= set(OutboxEvent.objects.values_list("name", flat=True))
    ApiKey.objects.issue(alice, "more")
    told = [
        *(json.dumps(event.payload) + event.error for event in OutboxEvent.objects.all()),
        *(json.dumps(run.steps) + run.error + json.dumps(run.answer) for run in Run.objects.all()),
        *(f"{entry} {entry.change_message}" for entry in LogEntry.objects.all()),
        *(json.dumps(user.to_wire()) for user in User.objects.all()),
        caplog.text,
    ]
    for text in told:
        assert SECRET not in text, text
        assert api.key not in text, text
