from __future__ import annotations

import uuid

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from functions_app.acting import ADMIN, API, Acting, acting, acting_as
from functions_app.management.acting import ActingCommand
from functions_app.models import File, Function, Model, OutboxEvent, User, UserValves, Valves
from functions_app.system_events import NAMES, Told, listeners, publish, sanitised
from functions_app.telling import telling
from pipeline_app.models import ApiKey
from pipeline_app.worker.compat.open_webui.events import EVENT_DEFINITIONS_BY_NAME, EVENTS
from tests.builders import make_function, make_model, make_user, make_version
from tests.functions_app.sources import FILTER, OTHER_PIPE, PIPE, with_valves

EVENT = "class Event:\n    def event(self, event):\n        return None\n"

pytestmark = pytest.mark.django_db


@pytest.fixture
def diary():
    """An Event function that is active: what happens from now on is written into the outbox for it."""
    function = make_function("diary", EVENT)
    OutboxEvent.objects.all().delete()
    return function


def heard(function: str = "diary") -> list[str]:
    """The names of the events that wait for a function, which are forgotten."""
    rows = OutboxEvent.objects.filter(function=function).order_by("pk")
    names = [row.name for row in rows]
    rows.delete()
    return names


def last() -> dict:
    event = OutboxEvent.objects.order_by("pk").last()
    assert event is not None
    return event.payload


# --- Who listens ------------------------------------------------------------------------------------------


def test_nothing_is_written_while_no_event_function_is_active():
    make_function("diary", EVENT, is_active=False)
    make_function("pipe", PIPE)
    make_user("carol")
    assert OutboxEvent.objects.count() == 0


def test_a_change_costs_one_query_while_nobody_listens(django_assert_num_queries):
    user = make_user("carol")
    with django_assert_num_queries(1):
        assert listeners() == []
    with django_assert_num_queries(1), telling(User, None, User.objects.all(), lambda: [user.pk]):
        pass
    with django_assert_num_queries(0):
        publish([])


def test_what_is_no_change_to_tell_of_costs_nothing(django_assert_num_queries, alice):
    key = ApiKey.objects.issue(alice)[0]
    with django_assert_num_queries(3):  # the update between a savepoint and its release
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=None)


def test_every_listener_gets_an_event_of_its_own_under_one_id(diary):
    make_function("log", EVENT)
    OutboxEvent.objects.all().delete()
    make_user("carol")
    rows = list(OutboxEvent.objects.all())
    assert {row.function for row in rows} == {"diary", "log"}
    assert len({row.event_id for row in rows}) == 1
    assert rows[0].payload["id"] == str(rows[0].event_id)


def test_a_change_that_is_rolled_back_leaves_no_event(diary):
    with pytest.raises(RuntimeError), transaction.atomic():
        make_user("carol")
        assert OutboxEvent.objects.exists()
        raise RuntimeError
    assert heard() == []


# --- The payload ------------------------------------------------------------------------------------------


def test_the_payload_is_open_webuis(alice, diary):
    with acting_as(alice, API):
        diary.save()
        diary.name = "Diary"
        diary.save()
    event = last()
    assert uuid.UUID(event.pop("id")) and uuid.UUID(event.pop("instance_id"))
    assert abs(event.pop("created_at") - OutboxEvent.objects.get().created_at.timestamp()) < 5
    joined = int(alice.date_joined.timestamp())
    assert event.pop("actor") == {
        "id": str(alice.pk),
        "name": "alice",
        "email": "alice@example.org",
        "role": "admin",
        "created_at": joined,
        "updated_at": int(alice.updated_at.timestamp()),
        "type": "user",
    }
    assert event == {
        "schema": "0.12.4",
        "event": "function.updated",
        "resource": "function",
        "operation": "updated",
        "version": "0.12.4",
        "source": "api",
        "subject": {"type": "function", "id": "diary"},
        "data": {"name": "Diary", "type": "event"},
        "message": None,
    }


def test_nobody_and_the_system_act_where_nobody_else_does(diary):
    make_user("carol")
    assert (last()["actor"], last()["source"]) == (None, "system")


def test_the_resource_is_all_but_the_last_part(diary, alice):
    ApiKey.objects.issue(alice)
    assert (last()["resource"], last()["operation"]) == ("auth.api_key", "created")


def test_secrets_are_left_out_at_every_depth_and_long_texts_cut():
    data = {
        "password": "x",
        "Token": "x",
        "stripe_secret": "x",
        "openai_api_key": "x",
        "webhook_token": "x",
        "api_key_suffix": "kept",
        "keys": ["kept"],
        "deep": [{"authorization": "x", "fine": {"b"}}],
        "text": "y" * 1001,
        "short": "y" * 1000,
        "when": (1, 2.5, None, True),
    }
    assert sanitised(data) == {
        "api_key_suffix": "kept",
        "keys": ["kept"],
        "deep": [{"fine": ["b"]}],
        "text": "y" * 1000 + "...",
        "short": "y" * 1000,
        "when": [1, 2.5, None, True],
    }


def test_only_events_of_the_catalogue_can_be_published(diary):
    with pytest.raises(KeyError):
        publish([Told("function.exploded", "x")])
    assert set(EVENT_DEFINITIONS_BY_NAME) > set(NAMES)
    assert {name for name in NAMES if getattr(EVENTS, name.replace(".", "_").upper()) != name} == set()


# --- Functions --------------------------------------------------------------------------------------------


def test_a_function_is_created_when_it_first_goes_live(diary):
    function = make_function("pipe", PIPE, publish=False, is_active=False)
    assert heard() == []
    function.newest.publish()
    assert last()["data"] == {"name": "pipe", "type": "pipe"}
    assert heard() == ["function.created"]


def test_a_new_version_a_name_a_policy_and_the_global_switch_are_updates(diary):
    function = make_function("mask", FILTER, is_active=False)
    heard()
    make_version(function, FILTER + "# again\n")
    assert heard() == ["function.updated"]
    function.name = "Mask"
    function.save()
    assert heard() == ["function.updated"]
    function.change_policy({"on_error": "skip"})
    assert heard() == ["function.updated"]
    function.is_global = True
    function.save(update_fields=["is_global"])
    assert last()["data"] == {"name": "Mask", "type": "filter", "is_global": True}
    assert heard() == ["function.updated"]
    function.restart()
    function.save()
    assert heard() == []


def test_a_draft_is_not_told_of(diary):
    function = make_function("pipe", PIPE)
    heard()
    function.save_source(OTHER_PIPE)
    assert heard() == []


def test_the_switch_is_told_of_before_and_after(diary):
    function = make_function("pipe", PIPE, is_active=False)
    heard()
    Function.objects.filter(pk="pipe").update(is_active=True)
    assert heard() == ["function.enable_started", "function.enabled"]
    function.refresh_from_db()
    function.is_active = False
    function.save(update_fields=["is_active"])
    assert heard() == ["function.disable_started", "function.disabled"]


def test_enabling_the_first_event_function_reaches_it():
    function = make_function("diary", EVENT, is_active=False)
    function.is_active = True
    function.save(update_fields=["is_active"])
    assert heard() == ["function.enable_started", "function.enabled"]


def test_one_event_function_more_hears_of_itself_as_the_others_do(diary):
    Function.objects.filter(pk=make_function("log", EVENT, is_active=False).pk).update(is_active=True)
    assert heard("log") == ["function.enable_started", "function.enabled"]
    assert heard("diary") == ["function.created", "function.enable_started", "function.enabled"]


def test_an_event_function_that_is_switched_off_hears_that_it_will_be_and_not_that_it_was(diary):
    make_function("log", EVENT)
    OutboxEvent.objects.all().delete()
    diary.is_active = False
    diary.save()
    assert heard("diary") == ["function.disable_started"]
    assert heard("log") == ["function.disable_started", "function.disabled"]


def test_a_deleted_function_is_told_of_without_data(diary):
    function = make_function("pipe", with_valves("a: int = 1"), valves={"a": 2})
    heard()
    function.delete()
    event = last()
    assert (event["subject"], event["data"]) == ({"type": "function", "id": "pipe"}, {})
    assert heard() == ["function.deleted"]


def test_a_queryset_that_deletes_tells_of_each(diary):
    make_function("a", PIPE)
    make_function("b", PIPE)
    heard()
    Function.objects.filter(pk__in=["a", "b"]).delete()
    assert heard() == ["function.deleted"] * 2


def test_bulk_updates_tell_of_each_row_once(diary):
    rows = [make_function("a", PIPE, is_active=False), make_function("b", PIPE, is_active=False)]
    heard()
    for row in rows:
        row.name = f"New {row.pk}"
    Function.objects.bulk_update(rows, ["name"])
    assert heard() == ["function.updated"] * 2
    Function.objects.filter(pk__in=["a", "b"]).update(name="same")
    Function.objects.filter(pk__in=["a", "b"]).update(name="same")
    assert heard() == ["function.updated"] * 2


def test_valves_are_told_of_without_their_values(diary, bob):
    function = make_function("pipe", with_valves("token: str = ''", "mood: str = ''"), valves={"token": "s3cret"})
    event = last()
    assert (event["event"], event["data"]) == ("function.valves_updated", {})
    assert "s3cret" not in str(list(OutboxEvent.objects.values()))
    heard()
    UserValves.objects.set_values(function, bob, {"mood": "good"})
    assert last()["data"] == {"scope": "user"}
    assert heard() == ["function.valves_updated"]
    Valves.objects.filter(function=function).delete()
    assert heard() == ["function.valves_updated"]


# --- Models, people, keys, files --------------------------------------------------------------------------


def test_models_are_told_of(diary):
    model = make_model("helper", "pipe", name="Helper")
    assert last()["data"] == {"name": "Helper"}
    assert heard() == ["model.created"]
    model.params = {"temperature": 0}
    model.save()
    assert heard() == ["model.updated"]
    model.is_active = False
    model.save()
    assert heard() == ["model.disabled"]
    Model.objects.update(is_active=True)
    assert heard() == ["model.enabled"]
    model.filters.add(make_function("mask", FILTER, is_active=False))
    assert heard() == ["function.created", "model.updated"]
    model.delete()
    assert heard() == ["model.deleted"]


def test_who_may_use_a_model_is_told_of_from_both_sides(diary):
    model, group = make_model("helper", "pipe"), Group.objects.create(name="staff")
    heard()
    model.groups.add(group)
    assert last()["data"] == {}
    assert heard() == ["model.access_updated"]
    model.groups.add(group)
    assert heard() == []
    model.groups.clear()
    assert heard() == ["model.access_updated"]
    group.models.add(model)
    assert heard() == ["model.access_updated"]
    group.delete()
    assert heard() == ["model.access_updated"]


def test_people_are_told_of(diary):
    carol = make_user("carol", email="carol@example.org")
    assert last()["data"] == {"email": "carol@example.org", "role": "user"}
    assert heard() == ["user.created"]
    carol.first_name, carol.timezone = "Carol", "Europe/Paris"
    carol.save()
    assert last()["data"] == {"updated_fields": ["timezone", "name"]}
    assert heard() == ["user.updated"]
    carol.settings = {"ui": {}}
    carol.save()
    assert heard() == ["user.settings_updated"]
    User.objects.filter(pk=carol.pk).update(is_superuser=True)
    assert last()["data"] == {"role": "admin"}
    assert heard() == ["user.role_updated"]
    carol.refresh_from_db()
    carol.set_password("new")
    carol.save()
    assert heard() == []


def test_what_goes_with_a_deleted_person_is_not_told_of_on_its_own(diary):
    carol = make_user("carol", email="carol@example.org")
    ApiKey.objects.issue(carol)
    heard()
    carol.delete()
    assert last()["data"] == {"email": "carol@example.org"}
    assert heard() == ["user.deleted"]


def test_keys_are_told_of_by_their_owner(diary, bob):
    heard()
    key, text = ApiKey.objects.issue(bob)
    assert last()["subject"] == {"type": "user", "id": str(bob.pk)}
    assert text not in str(last()) and key.digest not in str(last())
    key.revoke()
    assert heard() == ["auth.api_key.created", "auth.api_key.deleted"]
    key.delete()
    assert heard() == []


def test_files_are_told_of_once_their_content_is_there(diary, bob, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "MEDIA_ROOT", tmp_path)
    heard()
    file = File.objects.create(user=bob, name="notes.txt", content_type="text/plain", size=2)
    assert heard() == []
    file.content.save("notes.txt", ContentFile(b"hi"))
    assert last()["data"] == {"filename": "notes.txt", "content_type": "text/plain"}
    assert heard() == ["file.uploaded"]
    file.delete()
    assert last()["data"] == {"filename": "notes.txt"}
    assert heard() == ["file.deleted"]


# --- Who did it -------------------------------------------------------------------------------------------


def test_admin_pages_act_for_who_is_logged_in(diary, alice):
    browser = Client()
    browser.login(username="alice", password="alice")
    assert last()["event"] == "auth.login"
    assert last()["data"] == {"auth_method": "password"}
    assert last()["actor"]["id"] == str(alice.pk)
    page = {"action": "deactivate", "_selected_action": ["diary"]}
    make_function("log", EVENT)
    OutboxEvent.objects.all().delete()
    browser.post("/admin/functions_app/function/", page)
    event = last()
    assert (event["event"], event["source"]) == ("function.disabled", "admin")
    assert event["actor"]["name"] == "alice"
    assert acting() == Acting(None, "system")
    browser.post("/admin/logout/")
    assert (last()["event"], last()["subject"]["id"]) == ("auth.logout", str(alice.pk))


def test_commands_act_for_who_is_named(diary, alice):
    class Command(ActingCommand):
        def handle(self, *args, **options):
            make_user()

    call_command(Command(), user="alice")
    assert (last()["actor"]["name"], last()["source"]) == ("alice", "system")
    call_command(Command())
    assert (last()["actor"], last()["source"]) == (None, "system")


def test_nobody_logged_in_is_nobody(diary):
    Client().get("/admin/login/")
    with acting_as(None, ADMIN):
        make_user("carol")
    assert (last()["actor"], last()["source"]) == (None, "admin")


# --- In words ---------------------------------------------------------------------------------------------


def test_every_event_is_in_the_docs():
    page = (settings.BASE_DIR / "docs" / "events.md").read_text().partition("## System events")[2]
    assert {name for name in NAMES if f"`{name}`" not in page} == set()
