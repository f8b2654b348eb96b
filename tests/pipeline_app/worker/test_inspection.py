"""What a source says unrun, and the manifest of a loaded function."""

from __future__ import annotations

import json

from pipeline_app.worker.inspection import facts, manifest

from .helpers import FUNCTIONS, loaded, sample


def test_facts_come_from_the_text_alone():
    found = facts((FUNCTIONS / "greeter.py").read_text())
    assert found == {"classes": ["Pipe"], "imports": ["pydantic", "typing"], "kind": "pipe", "error": None}
    assert facts((FUNCTIONS / "broken_import.py").read_text())["imports"] == ["a_package_that_nobody_has"]


def test_facts_of_a_source_that_cannot_be_parsed_are_its_error():
    found = facts((FUNCTIONS / "broken_syntax.py").read_text())
    assert (found["kind"], found["error"]["type"], found["error"]["line"]) == (None, "SyntaxError", 2)
    assert facts("x = '\0'")["error"]["message"]
    assert facts("-" * 100_000 + "1")["error"]["type"] in ("RecursionError", "MemoryError", "SyntaxError")


def test_the_manifest_of_a_pipe():
    found = manifest(sample("greeter"))
    assert json.loads(json.dumps(found)) == found
    assert found["kind"] == "pipe"
    assert found["hooks"] == {
        "pipe": {
            "async": True,
            "generator": False,
            "parameters": ["body", "__user__"],
            "required": ["body"],
            "kwargs": False,
        },
        "pipes": {"async": False, "generator": False, "parameters": [], "required": [], "kwargs": False},
    }
    assert found["valves"]["properties"]["greeting"] == {
        "default": "Hello",
        "description": "How to greet",
        "title": "Greeting",
        "type": "string",
    }
    assert list(found["user_valves"]["properties"]) == ["tone"]
    assert {
        key: found[key]
        for key in ("priority", "pipes", "name", "toggle", "icon", "file_handler", "actions", "warnings")
    } == {
        "priority": 7,
        "pipes": "dynamic",
        "name": "Greeter: ",
        "toggle": False,
        "icon": "icon.svg",
        "file_handler": False,
        "actions": [],
        "warnings": [],
    }


def test_the_manifest_says_what_will_not_work():
    found = manifest(
        loaded("""
        from pydantic import BaseModel
        from typing import Any, Callable
        class Action:
            class Valves(BaseModel):
                call: Callable[[], int] = None
                priority: Any = "high"
            pipes = 3
            actions = [{"id": 1, "name": "One", "icon_url": "i"}, {"name": "none"}]
            @property
            def toggle(self): raise ValueError("no toggle")
            def __init__(self): self.valves = None
    """)
    )
    assert found["actions"] == [{"id": "1", "name": "One", "icon_url": "i"}]
    assert (found["valves"], found["priority"], found["toggle"], found["pipes"]) == (None, 0, False, None)
    warnings = found["warnings"]
    assert warnings[0].startswith("There is no form for valves, because their schema cannot be made: ")
    assert warnings[1:] == [
        "The attribute toggle cannot be read: no toggle",
        "An item of actions has no id: {'name': 'none'}",
        "The class has none of the methods that are called: action.",
    ]
    assert manifest(loaded("class Filter:\n    class Valves: pass\n    def inlet(self, body): pass"))["warnings"] == [
        "There is a class Valves, but __init__ sets no self.valves, so valves are not given to the function."
    ]


def test_static_pipes_are_listed():
    found = manifest(
        loaded("class Pipe:\n    pipes = [{'id': 1, 'name': 'One'}, 'x']\n    def pipe(self, body): yield 'a'")
    )
    assert found["pipes"] == [{"id": "1", "name": "One"}]
    assert found["hooks"]["pipe"]["generator"] is True
    assert found["warnings"] == ["An item of pipes has no id and name: x"]
