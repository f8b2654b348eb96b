from __future__ import annotations

import uuid

import pytest

from functions_app.models import OutboxEvent

URL = "/admin/functions_app/outboxevent/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def given_up():
    return OutboxEvent.objects.create(
        event_id=uuid.uuid4(),
        name="user.created",
        function="diary",
        payload={"data": {"email": "<script>"}},
        due_at=None,
        attempts=7,
        error="<b>no such channel</b>",
    )


def test_what_waits_and_what_was_given_up_is_listed(admin, given_up):
    OutboxEvent.objects.create(event_id=uuid.uuid4(), name="user.deleted", function="diary")
    page = admin.get(URL).text
    assert "given up" in page and "waiting" in page
    assert "&lt;b&gt;no such channel" in page and "<b>no such" not in page
    page = admin.get(URL, {"state": "given-up"}).text
    assert "user.created" in page and f"/{given_up.pk}/change/" in page
    assert admin.get(URL, {"state": "failed"}).context["cl"].result_count == 0


def test_an_event_is_shown_and_can_not_be_edited(admin, given_up):
    page = admin.get(f"{URL}{given_up.pk}/change/").text
    assert "&lt;script&gt;" in page and 'name="_save"' not in page
    assert admin.get(f"{URL}add/").status_code == 403


def test_it_can_be_tried_again(admin, given_up):
    answer = admin.post(URL, {"action": "try_again", "_selected_action": [given_up.pk]}, follow=True)
    assert "1 event will be delivered again" in answer.text
    given_up.refresh_from_db()
    assert (given_up.state, given_up.attempts) == ("waiting", 0)


def test_who_may_only_look_may_not_try_again(staff, given_up):
    reader = staff("pipeline_app.view_run")
    page = reader.get(URL)
    assert page.status_code == 200 and "Try again now" not in page.text
    reader.post(URL, {"action": "try_again", "_selected_action": [given_up.pk]})
    given_up.refresh_from_db()
    assert given_up.state == "given up"
    assert "Try again now" in staff("pipeline_app.view_run", "publish_function").get(URL).text
    assert staff("view_file").get(URL).status_code == 403
