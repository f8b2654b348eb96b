"""Source text becomes a module and an instance, or a sentence with the author's line."""

from __future__ import annotations

import inspect
import sys

import pytest

from pipeline_app.worker.errors import LoadError
from pipeline_app.worker.legacy import resolves
from pipeline_app.worker.loader import load, unload

from .helpers import items, loaded, sample, value


def failure(source):
    with pytest.raises(LoadError) as caught:
        loaded(source)
    return caught.value.data


def test_a_function_is_loaded_with_its_kind_its_instance_and_its_source():
    function = sample("greeter")
    assert (function.kind, function.function_id, function.number) == ("pipe", "greeter", 1)
    assert function.module.__doc__.strip().startswith("title: Greeter")
    assert function.module.__file__ == "/functions/greeter/v1.py"
    assert sys.modules[function.module.__name__] is function.module
    assert "class Pipe:" in inspect.getsource(function.module)
    assert inspect.getsource(type(function.instance).__mro__[1].pipes).strip().startswith("def pipes(self):")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("Filter Pipe Event Action", "pipe"),
        ("Event Action Filter", "filter"),
        ("Event Action", "action"),
        ("Event", "event"),
    ],
)
def test_the_first_class_in_the_order_pipe_filter_action_event_counts(names, kind):
    assert loaded("".join(f"class {name}: pass\n" for name in names.split())).kind == kind


def test_an_imported_class_counts():
    assert loaded("from threading import Event").kind == "event"


def test_a_source_without_a_class_says_what_is_missing():
    assert failure("x = 1") == {
        "type": "LoadError",
        "message": "No Pipe, Filter, Action or Event class was found. Define one of them at the top level of the source.",
        "line": None,
        "traceback": None,
    }
    assert failure("class Tools: pass")["message"].startswith("The source is a tool kit (class Tools), not a function")


def test_a_syntax_error_names_its_line():
    with pytest.raises(LoadError) as caught:
        sample("broken_syntax")
    data = caught.value.data
    assert (data["type"], data["line"]) == ("SyntaxError", 2)
    assert data["message"] == "expected ':'"
    assert 'File "/functions/broken_syntax/v1.py", line 2' in data["traceback"]
    assert "pipeline_app" not in data["traceback"]


def test_a_missing_package_names_the_line_of_its_import_and_leaves_nothing_behind():
    with pytest.raises(LoadError) as caught:
        sample("broken_import")
    data = caught.value.data
    assert (data["type"], data["message"], data["line"]) == (
        "ModuleNotFoundError",
        "No module named 'a_package_that_nobody_has'",
        5,
    )
    assert data["traceback"] == (
        "Traceback (most recent call last):\n"
        '  File "/functions/broken_import/v1.py", line 5, in <module>\n'
        "    import a_package_that_nobody_has\n"
        "ModuleNotFoundError: No module named 'a_package_that_nobody_has'\n"
    )
    assert not [name for name in sys.modules if name.startswith("function_broken_import")]


@pytest.mark.parametrize(
    ("source", "type_", "line"),
    [
        ("import sys\nsys.exit(3)", "SystemExit", 2),
        ("class Pipe:\n    def __init__(self):\n        raise KeyError('x')", "KeyError", 3),
        ("class Pipe:\n    def __init__(self, needed): pass", "TypeError", None),
        ("x = 1\n\0", "ValueError", None),
        ("x = " + "(" * 300 + ")" * 300, "SyntaxError", 1),
    ],
)
def test_whatever_goes_wrong_is_a_load_error(source, type_, line):
    data = failure(source)
    assert data["type"] in (type_, "SyntaxError")
    assert data["line"] == line or data["type"] == "SyntaxError"
    assert data["message"]


def test_a_failed_load_keeps_the_module_that_was_there():
    text = "import counting\nclass Pipe: pass"
    sys.modules["counting"] = type(sys)("counting")
    function = load("twice", 1, "0" * 64, text)
    del sys.modules["counting"]
    with pytest.raises(LoadError):
        load("twice", 1, "0" * 64, text)
    assert sys.modules[function.module.__name__] is function.module
    unload(function)
    assert function.module.__name__ not in sys.modules


def test_models_with_postponed_annotations_and_dataclasses_work():
    function = loaded("""
        from __future__ import annotations
        from dataclasses import dataclass
        from typing import Optional
        from pydantic import BaseModel
        class Inner(BaseModel):
            x: int = 1
        @dataclass
        class D:
            y: Optional[Inner] = None
        class Pipe:
            class Valves(BaseModel):
                inner: Inner = Inner()
            def __init__(self):
                self.valves = self.Valves(inner={"x": 2})
            def pipe(self, body):
                return str(self.valves.inner.x) + str(D())
    """)
    assert items(function) == ["1D(y=None)"]


def test_coding_lines_byte_order_marks_and_odd_line_ends_do_no_harm():
    function = load(
        "odd",
        1,
        "1" * 64,
        "\ufeff# -*- coding: latin-1 -*-\r\nX = 'é'\r\n\x0c\r\nclass Pipe:\r\n    def pipe(self, body):\r\n        raise ValueError(X)\r\n",
    )
    from pipeline_app.worker.errors import HookError

    with pytest.raises(HookError) as caught:
        items(function)
    assert caught.value.data["message"] == "é"
    assert caught.value.data["line"] == 6
    assert "    raise ValueError(X)\n" in caught.value.data["traceback"]


def test_legacy_imports_are_rewritten_and_nothing_else(tmp_path, monkeypatch):
    package = tmp_path / "open_webui" / "utils"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()  # else the one that comes with the worker is found
    (package / "misc.py").write_text("def found(): return 'in open_webui'")
    monkeypatch.syspath_prepend(str(tmp_path))
    function = loaded("""
        from configparser import ConfigParser
        class Pipe:
            def pipe(self, body):
                from utils.misc import found
                return f"{found()}, text from utils stays, {ConfigParser.__name__}"
    """)
    assert items(function) == ["in open_webui, text from utils stays, ConfigParser"]
    assert "from utils.misc import found" in inspect.getsource(function.module)
    for name in [name for name in sys.modules if name.startswith("open_webui")]:
        del sys.modules[name]


def test_a_legacy_name_that_resolves_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "utils").mkdir()
    (tmp_path / "utils" / "mine.py").write_text("X = 'mine'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert resolves("utils.mine")
    assert not resolves("utils")
    assert not resolves("utils.other")
    assert not resolves("utils.mine.deeper")
    assert items(loaded("from utils.mine import X\nclass Pipe:\n    def pipe(self, body): return X")) == ["mine"]
    sys.modules.pop("utils.mine")
    sys.modules.pop("utils")


def test_odd_instances_load():
    assert value(
        loaded("""
        class Real:
            def inlet(self, body):
                body["x"] = 1
        def Filter():
            return Real()
    """),
        "inlet",
        {},
    ) == {"x": 1}
    assert value(
        loaded("""
        from pydantic import BaseModel
        class Filter(BaseModel):
            class Valves(BaseModel):
                a: int = 1
            valves: Valves = Valves()
            def inlet(self, body):
                return {"a": self.valves.a}
    """),
        "inlet",
        {},
        valves={"a": 5},
    ) == {"a": 5}
    slots = loaded("""
        class V:
            def __init__(self, **k): self.k = k
        class Filter:
            __slots__ = ("valves",)
            Valves = V
            def __init__(self): self.valves = V()
            def inlet(self, body): return self.valves.k
    """)
    assert not slots.valves_are_per_call
    assert value(slots, "inlet", {}, valves={"a": 5}) == {"a": 5}
