from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from functions_app.exchange import import_file, import_functions, read_export, slug
from functions_app.models import Function, Valves
from tests.builders import make_function
from tests.functions_app.sources import NO_CLASS, NO_CLASS_ERROR, PIPE, with_valves

pytestmark = pytest.mark.django_db

ENTRY = {"id": "hello", "name": "Hello", "content": PIPE, "meta": {"description": "Says it.", "manifest": {"a": "b"}}}


@pytest.mark.parametrize("data", [ENTRY, [ENTRY], {"function": ENTRY}, [{"function": ENTRY, "downloads": 3}]])
def test_every_shape_of_open_webuis_export_is_read(data, alice):
    (result,) = import_functions(data, alice)
    assert (result.id, result.created, result.error) == ("hello", True, None)
    function = Function.objects.get()
    assert (function.name, function.owner, function.is_active) == ("Hello", alice, False)
    assert function.meta == {"description": "Says it."}
    assert function.live is not None


def test_switches_arrive_only_when_asked_for(alice):
    on = {**ENTRY, "is_active": True, "is_global": True, "type": "pipe", "user_id": "x", "created_at": 1}
    import_functions(on, alice)
    assert not Function.objects.get().is_active
    import_functions({**on, "id": "other"}, alice, flags=True)
    assert Function.objects.filter(is_active=True, is_global=True).get().id == "other"


def test_valves_come_along(alice):
    source = with_valves("size: int = 1")
    (result,) = import_functions({**ENTRY, "content": source, "valves": {"size": 4}}, alice)
    assert result.error is None
    assert Valves.objects.get().values == {"size": 4}
    (result,) = import_functions({**ENTRY, "id": "b", "content": source, "valves": {"size": "x"}}, alice)
    assert result.error is not None and result.error.startswith(
        "The valves of b were not taken over: size: Input should"
    )
    (result,) = import_functions({**ENTRY, "id": "c", "content": source, "valves": "gAAAAA"}, alice)
    assert result.error == "The valves of c are encrypted; export them again in clear, or set them here."
    assert Function.objects.count() == 3


def test_what_exists_is_left_alone(alice):
    function = make_function("hello", with_valves("size: int = 1"))
    (result,) = import_functions(ENTRY, alice)
    assert (result.function, result.created, result.error) == (function, False, None)
    assert function.versions.count() == 1


def test_a_bad_entry_stops_none_of_the_others(alice):
    results = import_functions([3, {}, {"id": "a-b"}, {**ENTRY, "content": 5}, {**ENTRY, "content": ""}, ENTRY], alice)
    assert [result.error for result in results] == [
        "Entry 1 is no function: an object is needed, not int.",
        "entry 2: The id '' is not usable: only letters, digits and underscores are allowed, no digit first.",
        "a-b: The id 'a-b' is not usable: only letters, digits and underscores are allowed, no digit first.",
        "hello: content is of the wrong type.",
        "hello: The source is empty; paste the code of a function.",
        None,
    ]


def test_a_source_that_does_not_load_is_stored_and_said(alice):
    (result,) = import_functions({**ENTRY, "content": NO_CLASS}, alice)
    assert result.created
    assert result.error == f"hello was stored but does not load: {NO_CLASS_ERROR}"


def test_an_export_that_is_no_json_gets_a_sentence():
    with pytest.raises(ValidationError) as caught:
        read_export(b"{")
    assert caught.value.messages[0].startswith("This is not an export file: it is not JSON (")
    with pytest.raises(ValidationError):
        read_export(b"\xff\xfe\xfa")


def test_a_file_arrives_inactive_under_its_own_name(tmp_path, alice):
    path = tmp_path / "My-Pipe.py"
    path.write_text(PIPE)
    result = import_file(path, alice)
    assert (result.id, result.created, result.error) == ("my_pipe", True, None)
    assert not Function.objects.get().is_active


def test_a_sidecar_configures_the_function(tmp_path, alice):
    path = tmp_path / "size.py"
    path.write_text(with_valves("size: int = 1"))
    path.with_suffix(".toml").write_text(
        'id = "sized"\nname = "Sized"\nis_active = true\nis_global = true\ndescription = "Has a size."\n'
        "[valves]\nsize = 3\n[policy]\nmemory_mb = 256\n"
    )
    assert import_file(path, alice).error is None
    function = Function.objects.get()
    assert (function.id, function.name, function.is_active, function.is_global) == ("sized", "Sized", True, True)
    assert (function.meta, function.policy) == ({"description": "Has a size."}, {"memory_mb": 256})
    assert function.valves.values == {"size": 3}


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("colour = 1", "x.toml has unknown keys (colour); it may have "),
        ("id = ", "x.py cannot be read: "),
    ],
)
def test_a_wrong_sidecar_is_said(tmp_path, alice, toml, message):
    path = tmp_path / "x.py"
    path.write_text(PIPE)
    path.with_suffix(".toml").write_text(toml)
    result = import_file(path, alice)
    assert result.error.startswith(message)
    assert not Function.objects.exists()


def test_a_file_that_is_no_text_is_said(tmp_path, alice):
    path = tmp_path / "x.py"
    path.write_bytes(b"\xff\xfe")
    assert import_file(path, alice).error.startswith("x.py cannot be read: 'utf-8' codec can't decode byte")


@pytest.mark.parametrize(
    ("title", "id"), [("Hello, World!", "hello_world"), ("Café", "cafe"), ("3 times", "_3_times"), ("--", "")]
)
def test_slugs(title, id):
    assert slug(title) == id
