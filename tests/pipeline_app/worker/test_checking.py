"""What is said of a source, from its text and from the function once it is loaded."""

from __future__ import annotations

import textwrap

import pytest

from pipeline_app.runners.messages import answer
from pipeline_app.worker import checking
from pipeline_app.worker.checking.findings import CODES, LONGEST, MOST, SEVERITIES
from pipeline_app.worker.protocol import ProtocolError

from .helpers import FUNCTIONS, loaded

PIPE = "class Pipe:\n    def pipe(self, body):\n        return 'hi'\n"
HEAD = "from pydantic import BaseModel, Field\n\n\n"


def read(source):
    """Returns what is said of a text as ``{"code line:column": message}``, in its order."""
    return said(checking.read(textwrap.dedent(source).lstrip("\n")))


def look(source):
    """The same of the function that the text makes."""
    text = textwrap.dedent(source).lstrip("\n")
    return said(checking.look_at(loaded(text), text))


def said(told):
    return {f"{one['code']} {one['line']}:{one['column']}": one["message"] for one in told["findings"]}


def severity(source, code):
    found = [one["severity"] for one in checking.read(textwrap.dedent(source).lstrip("\n"))["findings"]]
    codes = [one["code"] for one in checking.read(textwrap.dedent(source).lstrip("\n"))["findings"]]
    return dict(zip(codes, found, strict=True))[code]


# --- Syntax and class ---------------------------------------------------------------------------------


def test_a_syntax_error_has_both_ends_of_its_place():
    told = checking.read("class Pipe:\n    def pipe(self, body):\n        return (1, 2\n")
    assert told["findings"] == [
        {
            "severity": "error",
            "code": "syntax-error",
            "message": "'(' was never closed.",
            "line": 3,
            "column": 16,
            "end_line": 3,
            "end_column": 17,
        }
    ]
    assert (told["kind"], told["parsed"], told["imports"]) == (None, False, [])


def test_what_only_the_compiler_refuses_is_a_syntax_error_too():
    assert read(PIPE + "return 1\n") == {"syntax-error 4:1": "'return' outside function."}


@pytest.mark.parametrize("source", ["x = '\0'", "-" * 100_000 + "1", "(" * 5_000 + ")" * 5_000, "a" + ".b" * 100_000])
def test_a_text_that_breaks_the_parser_is_a_finding(source):
    told = checking.read(source)
    assert [one["code"] for one in told["findings"]] == ["syntax-error"]
    assert not told["parsed"]


def test_a_byte_order_mark_and_wide_characters_do_not_shift_columns():
    assert list(read("\ufeffé = ü\n" + PIPE)) == ["undefined-name 1:6"]
    assert list(read("𝒳 = '🙂' + y\n" + PIPE)) == ["undefined-name 1:11"]


def test_a_source_without_a_class_says_what_it_is():
    none = "There is no class Pipe, Filter, Action or Event at the top level of the source."
    assert read("x = 1\n") == {"no-class None:None": f"{none} Define one of them."}
    assert read("class Tools:\n    pass\n") == {
        "no-class 1:1": f"This is a tool kit (class Tools), not a function. {none}"
    }
    assert read("class Pipes:\n    pass\n") == {"no-class 1:1": f"{none} Did you mean to call this one Pipe?"}


def test_a_class_may_be_bound_in_any_way():
    assert read("if True:\n    class Filter:\n        def inlet(self, body):\n            return body\n") == {}
    assert read("from somewhere import Pipe\n") == {"unused-import 1:1": "'somewhere.Pipe' imported but unused."}


def test_the_second_of_two_functions_is_never_used():
    source = PIPE + "\n\nclass Filter:\n    def inlet(self, body):\n        return body\n"
    assert read(source) == {
        "several-classes 6:1": "There is a class Pipe too, so the source is a pipe and Filter is never used."
    }
    assert read(PIPE + "\n\nclass Event:\n    pass\n") == {}  # anybody may call a class so


def test_a_class_without_hooks_is_useless():
    assert read("class Pipe:\n    def pipes(self):\n        return []\n") == {
        "no-hooks 1:1": "The class has none of the methods that are called: pipe."
    }
    assert read("class Filter:\n    def inlets(self, body):\n        return body\n") == {
        "no-hooks 1:1": "The class has none of the methods that are called: inlet, request, stream, outlet. "
        "Did you mean to call inlets inlet?"
    }


# --- Signatures ---------------------------------------------------------------------------------------


def pipe(signature):
    return f"class Pipe:\n    def pipe({signature}):\n        return 'hi'\n"


@pytest.mark.parametrize(
    ("signature", "place", "message"),
    [
        ("", "missing-self 2:5", "pipe takes no self, so every call of it fails. Write def pipe(self, ...)."),
        (
            "body, __user__",
            "missing-self 2:5",
            "The first parameter of pipe is body, where self belongs: def pipe(self, ...).",
        ),
        ("self", "missing-body 2:5", "pipe takes no body, so it does not see what it is called with."),
        (
            "self, payload",
            "payload-name 2:20",
            "pipe takes what it is called with as payload; Open WebUI passes it as body and nothing else.",
        ),
        (
            "self, *args",
            "payload-name 2:5",
            "pipe takes what it is called with as *args; Open WebUI passes it as body and nothing else.",
        ),
        (
            "self, body, __event_emiter__",
            "unknown-argument 2:26",
            (
                "pipe asks for __event_emiter__, which is neither its payload nor a special argument. Did you mean "
                "__event_emitter__? It has no default, so every call fails."
            ),
        ),
        (
            "self, body, *, __event__=None",
            "unknown-argument 2:29",
            "__event__ is given to event only, not to pipe. It always has its default.",
        ),
    ],
)
def test_what_a_call_of_a_hook_would_fail_with(signature, place, message):
    assert read(pipe(signature)) == {place: message}


@pytest.mark.parametrize(
    "signature",
    ["self, body", "self, body, __user__, __tools__=None", "self, **kwargs", "this, body, extra=1", "self, __body__"],
)
def test_what_a_hook_may_well_ask_for(signature):
    assert read(pipe(signature)) == {}


def test_a_default_makes_an_unknown_argument_a_warning():
    assert severity(pipe("self, body, token"), "unknown-argument") == "error"
    assert severity(pipe("self, body, __token__=None"), "unknown-argument") == "warning"


def test_stream_and_event_take_an_event():
    source = """
        class Filter:
            def stream(self, chunk):
                return chunk

        """
    assert read(source) == {
        "payload-name 2:22": "stream takes what it is called with as chunk; Open WebUI passes it as event and nothing else."
    }
    assert read("class Event:\n    def event(self):\n        pass\n") == {}


def test_a_hook_that_returns_a_body_is_no_generator():
    assert read("class Filter:\n    def inlet(self, body):\n        yield body\n") == {
        "generator-hook 2:5": "inlet contains yield, so it returns a generator; it has to return the body."
    }
    inner = "class Filter:\n    def inlet(self, body):\n        def items():\n            yield 1\n        return items and body\n"
    assert read(inner) == {}


def test_a_hook_is_a_method():
    assert read("class Pipe:\n    pipe = 'text'\n") == {
        "hook-not-callable 2:5": "pipe is no method, so it is never called."
    }


def test_inherited_and_decorated_hooks_are_looked_at_when_loaded():
    source = """
        import functools


        def traced(method):
            @functools.wraps(method)
            def inner(self, body, token):
                return method(self, body)

            del inner.__wrapped__
            return inner


        class Filter:
            @traced
            def inlet(self, body):
                return body
        """
    assert read(source) == {}
    assert look(source) == {
        "unknown-argument 15:5": "inlet asks for token, which is neither its payload nor a special argument. "
        "It has no default, so every call fails."
    }


# --- Valves -------------------------------------------------------------------------------------------


def test_what_is_wrong_with_valves_has_the_place_of_the_field():
    source = HEAD + textwrap.dedent(
        """
        from typing import Any, Callable


        class Filter:
            class Valves(BaseModel):
                priority: str = "high"
                key: str
                model: str = Field(default="", json_schema_extra={"input": {"options": "models"}})
                size: str = Field(default="", json_schema_extra={"input": {"options": "sizes"}})

                def sizes(self):
                    return []

            class UserValves(BaseModel):
                hook: Callable[[], Any] = print

            def __init__(self):
                self.valves = self.Valves(key="")

            def inlet(self, body):
                return body
        """
    )
    found = look(source)
    assert found == {
        "valves-priority 10:9": "priority is 'high' by default, which is no number: it counts as 0. Write priority: int = 0.",
        "valves-required 11:9": "key of Valves has no default: every call fails until somebody sets it.",
        "valves-options 12:9": "The options of model come from models of Valves, which does not exist.",
        "valves-options 13:9": "The options of size come from sizes of Valves, which asks for self and is given __user__ "
        "at most; make it a @classmethod.",
        "valves-no-schema 19:9": found["valves-no-schema 19:9"],
    }
    assert found["valves-no-schema 19:9"].startswith("hook of UserValves has no JSON schema, so there is no form for ")


def test_valves_that_are_no_model_or_never_set_or_elsewhere():
    plain = "class Pipe:\n    class Valves:\n        key = 'x'\n\n    def pipe(self, body):\n        return 'hi'\n"
    expected = {
        "valves-no-model 2:5": "Valves is no pydantic model, so it has no form and nothing checks it: class Valves(BaseModel).",
        "valves-not-set 2:5": "There is a class Valves, but self.valves is never set, so no valves are given to the "
        "function: write self.valves = self.Valves() in __init__.",
    }
    assert read(plain) == look(plain) == expected
    outside = HEAD + "class Valves(BaseModel):\n    pass\n\n\n" + PIPE + "\n\nprint(Field)\n"
    message = "Valves stands outside of Pipe, so it is not seen: put it in there, or write Valves = Valves in Pipe."
    assert read(outside) == look(outside) == {"valves-misplaced 4:1": message}


def test_good_valves_are_not_mentioned():
    source = (FUNCTIONS / "greeter.py").read_text()
    told = checking.look_at(loaded(source, "greeter"), source)
    assert told["findings"] == []
    assert told["manifest"]["kind"] == "pipe"
    assert answer("check", told) == told


# --- Async code ---------------------------------------------------------------------------------------


def in_async(body, imports="import time\n"):
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return f"{imports}\n\nclass Pipe:\n    async def pipe(self, body, __event_emitter__=None):\n{lines}        return 'hi'\n"


@pytest.mark.parametrize(
    ("body", "imports", "what"),
    [
        ("time.sleep(1)", "import time\n", "time.sleep"),
        ("nap(1)", "from time import sleep as nap\n", "time.sleep"),
        ("r.get('https://example.org')", "import requests as r\n", "requests.get"),
        (
            "with requests.Session() as session:\n    session.post('https://example.org')",
            "import requests\n",
            "requests.Session.post",
        ),
        ("httpx.Client().get('https://example.org')", "import httpx\n", "httpx.Client.get"),
        ("urllib.request.urlopen('https://example.org')", "import urllib.request\n", "urllib.request.urlopen"),
        ("input()", "", "input"),
        (
            "work = asyncio.run_coroutine_threadsafe(body, None)\nwork.result()",
            "import asyncio\n",
            "asyncio.run_coroutine_threadsafe.result",
        ),
    ],
)
def test_a_call_that_blocks_the_loop(body, imports, what):
    found = read(in_async(body, imports))
    assert [key.split()[0] for key in found] == ["blocking-call"]
    assert next(iter(found.values())).startswith(f"{what} holds up every other call of this function while it waits: ")


@pytest.mark.parametrize(
    "body",
    [
        "await asyncio.to_thread(time.sleep, 1)",
        "await asyncio.to_thread(lambda: time.sleep(1))",
        "await asyncio.sleep(time.time() - time.time())",
        "def work():\n    time.sleep(1)\nawait asyncio.to_thread(work)",
        "time.sleep  # a name is no call",
        "time.sleep(1)  # noqa: the loop may wait",
    ],
)
def test_what_does_not_block(body):
    assert read(in_async(body, "import asyncio\nimport time\n\nprint(asyncio, time)\n")) == {}


def test_plain_code_may_block_and_who_calls_it_from_async_code_hears_of_it():
    source = """
        import time


        class Action:
            def fetch(self):
                return self.wait()

            def wait(self):
                time.sleep(1)

            async def action(self, body):
                self.fetch()
                self.fetch()
        """
    assert read(source) == {
        "blocking-call 12:9": "fetch calls time.sleep (line 9), which holds up every other call of this function while "
        "it waits: use await asyncio.to_thread(self.fetch, ...)."
    }


def test_a_loop_inside_the_loop_and_a_coroutine_that_nobody_awaits():
    found = read(in_async("asyncio.run(body)\n__event_emitter__({})", "import asyncio\n"))
    assert found == {
        "nested-loop 6:9": "asyncio.run fails where a loop runs already, as in every async function: await the coroutine.",
        "not-awaited 7:9": "__event_emitter__(...) makes a coroutine that nobody awaits: it does nothing. "
        "Write await in front of it.",
    }


# --- Lint ---------------------------------------------------------------------------------------------


def test_lint_has_codes_and_severities():
    source = """
        import json
        from os.path import *


        class Pipe:
            def pipe(self, body):
                unused = 1
                if body is "x":
                    return missing
                return f"nothing"

            def pipe(self, body):
                return "hi"
        """
    told = checking.read(textwrap.dedent(source).lstrip("\n"))["findings"]
    assert [(one["severity"], one["code"], one["line"]) for one in told] == [
        ("info", "unused-import", 1),
        ("info", "star-import", 2),
        ("info", "unused-variable", 7),
        ("warning", "lint", 8),
        ("info", "lint", 10),
        ("warning", "redefinition", 12),
    ]


def test_an_undefined_name_in_an_annotation_that_nobody_evaluates_is_no_error():
    source = (
        "from __future__ import annotations\n\n\nclass Pipe:\n    def pipe(self, body: Body):\n        return 'hi'\n"
    )
    assert severity(source, "undefined-name") == "warning"
    assert severity(PIPE + "print(nothing)\n", "undefined-name") == "error"


def test_a_comment_silences_all_but_errors():
    assert read("import json  # noqa\n" + PIPE) == {}
    assert list(read("print(nothing)  # noqa\n" + PIPE)) == ["undefined-name 1:7"]


# --- Imports ------------------------------------------------------------------------------------------


def test_imports_are_told_with_when_they_happen_and_whether_they_are_there():
    source = """
        import json
        from typing import TYPE_CHECKING

        import nobody_has.part
        from google import nothing_of_the_kind
        from utils.misc import anything

        try:
            import maybe_there
        except ImportError:
            maybe_there = None

        if TYPE_CHECKING:
            import only_types


        class Pipe:
            def pipe(self, body):
                import later
        """
    found = checking.read(textwrap.dedent(source).lstrip("\n"))["imports"]
    assert [(one["module"], one["when"], one["there"]) for one in found if one["line"] > 2] == [
        ("nobody_has.part", "load", False),
        ("google.nothing_of_the_kind", "load", False),
        ("open_webui", "load", True),
        ("maybe_there", "maybe", False),
        ("only_types", "maybe", False),
        ("later", "call", False),
    ]


# --- How much is told, and what is believed -------------------------------------------------------------


def test_no_more_findings_are_told_than_anybody_reads_and_errors_go_first():
    told = checking.read("import json\n" * 5 + "\n".join(f"missing_{n}" for n in range(MOST * 2)) + "\n" + PIPE)
    assert len(told["findings"]) == MOST
    assert {one["severity"] for one in told["findings"]} == {"error"}
    assert answer("read", told) == told


@pytest.mark.parametrize(
    "change",
    [
        {"severity": "fatal"},
        {"code": "made-up"},
        {"message": 1},
        {"line": 0},
        {"line": "1"},
        {"column": True},
        {"end_line": 2**40},
    ],
)
def test_a_finding_with_a_field_of_another_kind_is_none(change):
    finding = {"severity": "info", "code": "lint", "message": "x" * 2000, "line": 1, "column": 1}
    finding |= {"end_line": None, "end_column": None}
    told = {"kind": None, "parsed": True, "imports": [], "findings": [finding]}
    assert len(answer("read", told)["findings"][0]["message"]) == LONGEST
    with pytest.raises(ProtocolError, match="findings that are none"):
        answer("read", {**told, "findings": [{**finding, **change}]})
    with pytest.raises(ProtocolError, match="findings that are none"):
        answer("read", {**told, "findings": [finding] * (MOST + 1)})


@pytest.mark.parametrize("change", [{"kind": "tool"}, {"parsed": 1}, {"imports": {}}, {"imports": [{"module": 1}]}])
def test_a_reading_with_a_field_of_another_kind_is_none(change):
    told = checking.read(PIPE)
    with pytest.raises(ProtocolError, match="a reading"):
        answer("read", {**told, **change})


def test_every_code_has_a_severity():
    assert {kind.severity for kind in CODES.values()} <= set(SEVERITIES)
