"""Models, people, files and environments in the admin."""

from __future__ import annotations

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from functions_app.models import Environment, File, Memory, Model, User
from tests.builders import make_function, make_model, make_user
from tests.functions_app.admin.test_function import form_data
from tests.functions_app.sources import FILTER

pytestmark = pytest.mark.django_db


def test_a_model_is_made_and_changed(admin, alice):
    make_function("pipe"), make_function("words", FILTER)
    url = reverse("admin:functions_app_model_add")
    data = form_data(admin.get(url), id="my-model:latest", name="Mine", base_model_id="pipe")
    data |= {"filters": ["words"], "default_filters": [], "actions": [], "groups": []}
    response = admin.post(url, data, follow=True)
    assert response.status_code == 200
    model = Model.objects.get()
    assert (model.owner, [function.id for function in model.filters.all()]) == (alice, ["words"])
    change = reverse("admin:functions_app_model_change", args=[model.pk])
    data = form_data(admin.get(change), name="Other")
    data |= {"filters": [], "default_filters": [], "actions": [], "groups": []}
    admin.post(change, data)
    model.refresh_from_db()
    assert (model.name, model.filters.count()) == ("Other", 0)


@pytest.mark.parametrize(("field", "value"), [("id", ""), ("id", "a\0b"), ("params", "{"), ("base_model_id", "same")])
def test_a_wrong_model_keeps_what_was_typed(admin, field, value):
    url = reverse("admin:functions_app_model_add")
    data = {"id": "same", "name": "Typed", "params": "{}", "meta": "{}"} | {field: value}
    response = admin.post(url, data)
    assert response.status_code == 200
    assert response.context["errors"]
    assert "Typed" in response.content.decode()


def test_a_model_offers_filters_as_filters(admin):
    make_function("pipe"), make_function("words", FILTER)
    form = admin.get(reverse("admin:functions_app_model_add")).context["adminform"].form
    assert [function.id for function in form.fields["filters"].queryset] == ["words"]


def test_staff_cannot_make_themselves_superusers(staff, alice):
    client = staff("change_user", "view_user", "delete_user")
    me = User.objects.get(pk=client.session["_auth_user_id"])
    url = reverse("admin:functions_app_user_change", args=[me.pk])
    data = form_data(client.get(url), is_superuser="on", is_staff="on")
    data = {name: value for name, value in data.items() if "date" not in name and "last_login" not in name}
    client.post(url, data | {"date_joined_0": "2026-01-01", "date_joined_1": "00:00"})
    me.refresh_from_db()
    assert not me.is_superuser
    url = reverse("admin:functions_app_user_change", args=[alice.pk])
    assert client.post(url, {"username": "mallory"}).status_code == 403
    assert client.post(reverse("admin:functions_app_user_delete", args=[alice.pk]), {"post": "yes"}).status_code == 403
    selection = {"action": "delete_selected", "_selected_action": [str(alice.pk)], "post": "yes"}
    client.post(reverse("admin:functions_app_user_changelist"), selection)
    assert User.objects.filter(pk=alice.pk).exists()


def test_a_user_is_added_and_seen(admin):
    make_user("bob")
    page = admin.get(reverse("admin:functions_app_user_changelist")).content.decode()
    assert "bob" in page and "pending" not in page
    url = reverse("admin:functions_app_user_add")
    data = form_data(admin.get(url), username="carol", password1="long-enough-9", password2="long-enough-9")
    admin.post(url, data | {"usable_password": "true"})
    assert User.objects.filter(username="carol").exists()


def test_a_deleted_file_takes_its_content_along(admin, alice, django_capture_on_commit_callbacks, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    file = File.objects.create(user=alice, name="../x.txt", content=ContentFile(b"x", name="../../x.txt"))
    stored = tmp_path / "uploads" / str(file.pk)
    assert stored.is_file()
    assert admin.get(reverse("admin:functions_app_file_change", args=[file.pk])).status_code == 200
    with django_capture_on_commit_callbacks(execute=True):
        admin.post(reverse("admin:functions_app_file_delete", args=[file.pk]), {"post": "yes"})
    assert not stored.exists()


def test_environments_are_shown_and_not_edited(admin):
    environment = Environment.objects.create(requirements=["a"], log="built")
    url = reverse("admin:functions_app_environment_change", args=[environment.pk])
    assert "built" in admin.get(url).content.decode()
    assert admin.post(url, {"log": "x"}).status_code == 403
    assert admin.get(reverse("admin:functions_app_environment_add")).status_code == 403


def test_models_are_listed(admin):
    make_model("preset", "pipe")
    assert "preset" in admin.get(reverse("admin:functions_app_model_changelist")).content.decode()


def test_memories_are_shown_and_deleted_and_never_written(admin, bob):
    memory = Memory.objects.remember(bob.pk, "Likes tea")
    assert "Likes tea" in admin.get(reverse("admin:functions_app_memory_changelist")).text
    page = admin.get(reverse("admin:functions_app_memory_change", args=[memory.pk])).text
    assert "Likes tea" in page and "<textarea" not in page
    assert admin.get(reverse("admin:functions_app_memory_add")).status_code == 403
    admin.post(reverse("admin:functions_app_memory_delete", args=[memory.pk]), {"post": "yes"})
    assert not Memory.objects.exists()
