from __future__ import annotations

import re

import pytest
from django.contrib.admin.utils import quote
from django.urls import reverse

from functions_app.models import Function
from tests.builders import make_function, make_version
from tests.functions_app.sources import (
    FILTER,
    NO_CLASS,
    NO_CLASS_ERROR,
    OTHER_PIPE,
    PIPE,
    RAISES,
    SYNTAX_ERROR,
    with_valves,
)

pytestmark = pytest.mark.django_db

ADD = "/admin/functions_app/function/add/"
LIST = "/admin/functions_app/function/"


def change(function: Function) -> str:
    return reverse("admin:functions_app_function_change", args=[quote(function.pk)])


def form_data(response, **changes):
    """What a browser sends back for the form on a page."""
    data = {}
    for bound in response.context["adminform"].form:
        value = bound.value()
        if isinstance(value, bool):
            if value:
                data[bound.html_name] = "on"
        else:
            data[bound.html_name] = "" if value is None else str(value)
    data |= {"_continue": "Save and publish"}
    data |= changes
    return {name: re.sub(r"\r\n?|\n", "\r\n", value) for name, value in data.items() if value is not None}


def save(client, url, /, **changes):
    return client.post(url, form_data(client.get(url), **changes), follow=True)


def test_a_pasted_function_is_saved_and_published(admin, alice, told):
    response = save(admin, ADD, source='"""\ntitle: My Pipe\n"""\n' + PIPE)
    function = Function.objects.get()
    assert (function.id, function.name, function.owner, function.is_active) == ("my_pipe", "My Pipe", alice, False)
    assert function.live.source == '"""\ntitle: My Pipe\n"""\n' + PIPE
    assert (function.live.author, function.live.number) == (alice, 1)
    assert "Version 1 of “My Pipe” is live. The function is switched off, so nobody can call it yet." in told(response)
    assert response.redirect_chain[-1][0] == change(function)


def test_given_id_and_name_win_over_the_title(admin):
    save(admin, ADD, source='"""\ntitle: My Pipe\n"""\n' + PIPE, id="Other", name="Another")
    assert Function.objects.values_list("id", "name").get() == ("other", "Another")


def test_without_id_and_title_the_form_asks(admin):
    response = save(admin, ADD, source=PIPE)
    assert response.context["adminform"].form.errors == {
        "id": ["Give an id, or a title in the frontmatter to make one of."]
    }
    assert not Function.objects.exists()


@pytest.mark.parametrize(
    ("id", "message"),
    [
        ("a-b", "The id 'a-b' is not usable: only letters, digits and underscores are allowed, no digit first."),
        ("taken", "Function with this Id already exists."),
        ("TAKEN", "Function with this Id already exists."),
        ("x" * 201, "Ensure this value has at most 200 characters (it has 201)."),
    ],
)
def test_a_bad_id_keeps_what_was_typed(admin, id, message):
    make_function("taken")
    response = save(admin, ADD, source=PIPE, id=id, name="X")
    assert response.context["adminform"].form.errors == {"id": [message]}
    assert "return &#x27;hello&#x27;" in response.content.decode()
    assert Function.objects.count() == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "The source is empty; paste the code of a function."),
        ("  \n ", "The source is empty; paste the code of a function."),
        ("a = 1\nb = '\0'", "The source has a NUL character in line 2; remove it."),
    ],
)
@pytest.mark.parametrize("where", ["add", "change"])
def test_a_source_that_cannot_be_stored_keeps_what_was_typed(admin, where, source, message):
    url = ADD if where == "add" else change(make_function("hello"))
    response = save(admin, url, source=source, name="Typed name", note="Typed note")
    assert response.status_code == 200
    assert response.context["adminform"].form.errors["source"] == [message]
    assert "Typed name" in response.content.decode() and "Typed note" in response.content.decode()
    if "b =" in source:
        assert "b = &#x27;" in response.content.decode()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (NO_CLASS, NO_CLASS_ERROR),
        (RAISES, "no configuration"),
    ],
)
def test_a_broken_edit_is_kept_said_and_leaves_the_last_good_version(admin, told, source, message):
    function = make_function("hello", PIPE, name="Hello")
    response = save(admin, change(function), source=source)
    function.refresh_from_db()
    assert (function.live.number, function.newest.state, function.newest.source) == (1, "broken", source)
    (text,) = [text for text in told(response) if "can't go live" in text]
    assert text.startswith(f"Version 2 was kept but can't go live: {message.rstrip('.')}")
    assert text.endswith("Version 1 goes on serving.")
    page = response.content.decode()
    assert "version 2 broken, 1 live" in page
    assert message in page


def test_a_syntax_error_is_shown_with_its_line(admin, told):
    response = save(admin, ADD, source=SYNTAX_ERROR, id="hello", name="Hello")
    function = Function.objects.get()
    assert function.live is None
    (text,) = [text for text in told(response) if "can't go live" in text]
    assert text.endswith("(line 2). No version serves yet.")
    assert "<strong>SyntaxError</strong> in line 2" in response.content.decode()


def test_the_traceback_of_the_last_error_is_readable(admin):
    function = make_function("hello", RAISES)
    page = admin.get(change(function)).content.decode()
    shown = re.search(r'<pre class="functions-traceback">(.*?)</pre>', page, re.DOTALL)
    assert shown is not None and "RuntimeError: no configuration" in shown.group(1)


def test_a_repaired_function_serves_again(admin):
    function = make_function("hello", PIPE)
    make_version(function, NO_CLASS)
    save(admin, change(function), source=OTHER_PIPE)
    function.refresh_from_db()
    assert (function.live.number, function.live.source) == (3, OTHER_PIPE)
    assert "functions-traceback" not in admin.get(change(function)).content.decode()


def test_saving_unchanged_code_makes_no_version(admin):
    function = make_function("hello", "\n" + PIPE + "\n  \n")
    save(admin, change(function), name="New name")
    function.refresh_from_db()
    assert (function.name, function.versions.count()) == ("New name", 1)


def test_line_ends_of_an_imported_source_stay_as_they_are(admin):
    source = PIPE.replace("\n", "\r\n")
    function = make_function("hello", source)
    save(admin, change(function), name="New name")
    assert function.versions.count() == 1
    save(admin, change(function), source=OTHER_PIPE)
    assert function.newest.source == OTHER_PIPE.replace("\n", "\r\n")


def test_a_draft_does_not_serve(admin, told):
    function = make_function("hello", PIPE)
    response = save(admin, change(function), source=OTHER_PIPE, _draft="Save as draft", _continue=None)
    assert function.newest.state == "draft"
    assert "Version 2 was saved as a draft; it does not serve." in told(response)


def test_an_edit_over_somebody_elses_is_refused_once_and_loses_nothing(admin, bob):
    function = make_function("hello", PIPE)
    url = change(function)
    data = form_data(admin.get(url), source=OTHER_PIPE)
    make_version(function, FILTER, author=bob)
    response = admin.post(url, data)
    (message,) = response.context["adminform"].form.errors["source"]
    assert message == (
        "Version 2 was saved by bob while you were editing. Your text is kept here: "
        "compare it with that version, then save again to put yours on top."
    )
    assert "good bye" in response.content.decode()
    assert function.versions.count() == 2
    admin.post(url, form_data(response))
    assert function.newest.source == OTHER_PIPE


def test_switches_are_turned_in_the_form_and_in_the_list(admin, told):
    function = make_function("hello", is_active=False, name="Hello")
    save(admin, change(function), is_active="on", is_global="on")
    function.refresh_from_db()
    assert (function.is_active, function.is_global) == (True, True)
    for action, field, value in (("deactivate", "is_active", False), ("make_not_global", "is_global", False)):
        response = admin.post(LIST, {"action": action, "_selected_action": ["hello"]}, follow=True)
        function.refresh_from_db()
        assert getattr(function, field) is value
        assert len(told(response)) == 1


def test_the_list_publishes_the_newest_version(admin, told):
    function = make_function("hello", PIPE, name="Hello")
    make_version(function, OTHER_PIPE, publish=False)
    response = admin.post(LIST, {"action": "publish_newest", "_selected_action": ["hello"]}, follow=True)
    function.refresh_from_db()
    assert function.live.number == 2
    assert told(response) == ["Version 2 of “Hello” is live."]


def test_the_list_shows_states_without_a_query_per_row(admin, django_assert_max_num_queries):
    for number in range(10):
        make_version(make_function(f"f{number}"), NO_CLASS)
    with django_assert_max_num_queries(12):
        page = admin.get(LIST).content.decode()
    assert page.count("version 2 broken, 1 live") == 10


def test_a_function_with_history_and_valves_is_deleted(admin):
    function = make_function("hello", with_valves("size: int = 1"), valves={"size": 2})
    make_version(function, NO_CLASS)
    url = reverse("admin:functions_app_function_delete", args=[function.pk])
    assert admin.get(url).status_code == 200
    assert admin.post(url, {"post": "yes"}, follow=True).status_code == 200
    assert not Function.objects.exists()


@pytest.mark.parametrize("id", ["é", "a_24", "a_5f", "日本"])
def test_any_id_has_pages_and_links_to_them(admin, id):
    function = make_function(id, with_valves("size: int = 1"))
    page = admin.get(change(function)).content.decode()
    for name in ("versions", "valves", "policy", "history"):
        url = reverse(f"admin:functions_app_function_{name}", args=[quote(function.pk)])
        assert url in page
        response = admin.get(url)
        assert response.status_code == 200
        assert change(function) in response.content.decode()
    assert admin.get(reverse("admin:functions_app_function_version", args=[quote(id), 1])).status_code == 200
    assert "live" in admin.post(f"{LIST}{quote(id)}/versions/", {"number": "1"}, follow=True).content.decode()


def test_pages_have_no_inline_script_or_style(admin):
    function = make_function("hello", with_valves("size: int = 1"))
    make_version(function, RAISES)
    urls = [LIST, ADD, change(function)]
    urls += [
        reverse(f"admin:functions_app_function_{name}", args=["hello"]) for name in ("versions", "valves", "policy")
    ]
    urls.append(reverse("admin:functions_app_function_version", args=["hello", 2]))
    for url in urls:
        page = admin.get(url).content.decode()
        assert (
            re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>|<style|\sstyle=|\son\w+=", page) == []
        ), url


def test_all_caches_are_cleared_from_the_list(admin, told):
    from functions_app import generation

    make_function("greeter")
    before = generation.epoch()
    data = {"action": "load_again", "_selected_action": ["greeter"]}
    answer = admin.post("/admin/functions_app/function/", data, follow=True)
    assert told(answer) == ["Every process reads and loads all functions again with its next request."]
    assert generation.epoch() != before


def test_restarting_is_an_action_of_the_list_for_who_may_publish(staff):
    make_function("one"), make_function("two")
    url = reverse("admin:functions_app_function_changelist")
    chosen = {"action": "restart", "_selected_action": ["one", "two"]}
    staff("view_function", "change_function").post(url, chosen)
    assert set(Function.objects.values_list("epoch", flat=True)) == {""}
    staff("view_function", "publish_function").post(url, chosen)
    assert "" not in Function.objects.values_list("epoch", flat=True)
