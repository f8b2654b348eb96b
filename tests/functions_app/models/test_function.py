from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from functions_app.models import Function, FunctionVersion, Valves
from tests.builders import make_function, make_user, make_version
from tests.functions_app.sources import FILTER, OTHER_PIPE, PIPE, SYNTAX_ERROR, with_valves

pytestmark = pytest.mark.django_db


def test_a_new_function_is_live_but_not_switched_on(alice):
    function = Function.objects.create_function("hello", "Hello", PIPE, alice)

    assert (function.kind, function.is_active, function.is_global, function.owner) == ("pipe", False, False, alice)
    assert function.live == function.newest
    assert function.live.author == alice


def test_ids_are_kept_in_lower_case():
    assert Function.objects.create_function("My_Pipe", "", PIPE).id == "my_pipe"


@pytest.mark.parametrize("id", ["é", "ünïcode", "日本", "_x", "class", "a1"])
def test_any_identifier_is_an_id(id):
    assert Function.objects.create_function(id, "", PIPE, publish=False).id == id


@pytest.mark.parametrize("id", ["", "1a", "a-b", "a.b", "a b", "a\n", "a/b", "x" * 201, "²"])
def test_other_texts_are_no_ids(id):
    with pytest.raises(ValidationError):
        Function.objects.create_function(id if id != "a\n" else "a\nb", "", PIPE)
    assert not Function.objects.exists()


def test_a_bad_id_gets_a_sentence():
    with pytest.raises(ValidationError) as caught:
        Function.objects.create_function("a-b", "", PIPE)
    assert caught.value.messages == [
        "The id 'a-b' is not usable: only letters, digits and underscores are allowed, no digit first."
    ]


@pytest.mark.parametrize("id", ["Upper", "a-b", "1a", "", "a\n", "a.b"])
def test_the_database_refuses_ids_that_went_round_the_model(id):
    make_function("good")
    with pytest.raises(IntegrityError), transaction.atomic():
        Function.objects.filter(id="good").update(id=id)


def test_a_taken_id_is_an_error_and_changes_nothing():
    make_function("hello", PIPE)
    with pytest.raises(ValidationError) as caught:
        Function.objects.create_function("HELLO", "Other", OTHER_PIPE)
    assert caught.value.messages == ["The id 'hello' is already taken; choose another."]
    assert FunctionVersion.objects.count() == 1
    with pytest.raises(IntegrityError), transaction.atomic():
        Function(id="hello", name="Other").save()


def test_an_empty_name_comes_from_the_title_else_from_the_id():
    assert Function.objects.create_function("one", "", '"""\ntitle: One pipe\n"""\n' + PIPE).name == "One pipe"
    assert Function.objects.create_function("two", "  ", PIPE).name == "two"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "The source is empty; paste the code of a function."),
        (" \n\t", "The source is empty; paste the code of a function."),
        ("a = 1\nb = '\0'", "The source has a NUL character in line 2; remove it."),
        ("a = '\ud800'", "The source is not valid Unicode: half of a surrogate pair (U+D800) in line 1."),
        (b"a = 1", "The source must be text, not bytes."),
        (None, "The source must be text, not NoneType."),
    ],
)
def test_a_source_that_cannot_be_stored_is_refused_before_anything_is(source, message):
    with pytest.raises(ValidationError) as caught:
        Function.objects.create_function("hello", "", source)
    assert caught.value.messages == [message]
    assert not Function.objects.exists()


def test_a_source_that_does_not_load_leaves_a_broken_version_and_nothing_live():
    function = Function.objects.create_function("hello", "", SYNTAX_ERROR)
    assert (function.live, function.kind, function.newest.state) == (None, "", "broken")
    assert function.newest.error["type"] == "SyntaxError"
    assert function.newest.error["line"] == 2


def test_saving_the_same_source_makes_no_version(bob):
    function = make_function(source=PIPE)
    assert function.save_source(PIPE, bob) == function.live
    assert function.save_source(PIPE + "\n", bob).number == 2


def test_an_object_read_before_a_publication_cannot_undo_it():
    function = make_function(source=PIPE)
    stale = Function.objects.get(pk=function.pk)
    version = make_version(function, FILTER)
    function.change_policy({"memory_mb": 1024})
    stale.name = "New name"
    stale.save()
    function.refresh_from_db()
    assert (function.live, function.kind, function.name) == (version, "filter", "New name")
    assert function.policy == {"memory_mb": 1024}


def test_active_functions_are_switched_on_and_have_a_live_version():
    serving = make_function()
    make_function(is_active=False)
    make_function(source=SYNTAX_ERROR)
    assert list(Function.objects.active()) == [serving]


def test_functions_are_found_by_kind():
    make_function(source=PIPE)
    wanted = make_function(source=FILTER)
    assert list(Function.objects.of_kind("filter")) == [wanted]


def test_people_see_active_functions_and_their_own(alice, bob):
    serving, hidden = make_function("serving"), make_function("hidden", is_active=False)
    own = make_function("own", author=bob, is_active=False)
    assert set(Function.objects.visible_to(bob)) == {serving, own}
    assert set(Function.objects.visible_to(alice)) == {serving, hidden, own}
    viewer = make_user()
    viewer.user_permissions.add(Permission.objects.get(codename="view_function"))
    assert set(Function.objects.visible_to(viewer)) == {serving, hidden, own}
    assert set(Function.objects.visible_to(make_user(is_active=False))) == set()


def test_deleting_a_function_takes_history_and_valves_along(bob):
    function = make_function("hello", with_valves("size: int = 1"), valves={"size": 2})
    make_version(function, SYNTAX_ERROR)
    function.user_valves.create(user=bob, values={"a": 1})
    function.delete()
    assert not FunctionVersion.objects.exists()
    assert not Valves.objects.exists()
    assert bob.function_valves.count() == 0


def test_the_policy_is_changed_field_by_field():
    function = make_function()
    function.change_policy({"memory_mb": 1024, "network": "none"})
    function.change_policy({"memory_mb": None, "on_error": "skip"})
    function.refresh_from_db()
    assert function.policy == {"network": "none", "on_error": "skip"}
    assert function.effective_policy().memory_mb == 512
    with pytest.raises(ValidationError):
        function.change_policy({"network": "all"})


@pytest.mark.parametrize("change", [{"kind": "tool"}, {"name": ""}, {"kind": ""}])
def test_the_database_keeps_the_rules(change):
    make_function("hello")
    with pytest.raises(IntegrityError), transaction.atomic():
        Function.objects.filter(id="hello").update(**change)


def test_a_restart_begins_a_new_epoch_each_time_and_nothing_takes_it_back():
    function = make_function("fn")
    stale = Function.objects.get(pk="fn")
    function.restart()
    first = Function.objects.get(pk="fn").epoch
    assert first
    stale.name = "Renamed"
    stale.save()
    assert Function.objects.get(pk="fn").epoch == first
    function.restart()
    assert Function.objects.get(pk="fn").epoch != first
