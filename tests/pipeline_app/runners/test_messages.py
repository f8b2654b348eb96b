"""What a worker may tell, and what it may not."""

from __future__ import annotations

import pytest

from pipeline_app.runners.messages import Done, answer, check_end, done
from pipeline_app.worker.inspection import manifest as inspected
from pipeline_app.worker.protocol import ProtocolError
from tests.pipeline_app.worker.helpers import FUNCTIONS, loaded, sample

PIPE = "class Pipe:\n    pipes = [{'id': 'a', 'name': 'A'}]\n    def pipe(self, body): pass"


@pytest.mark.parametrize("name", sorted(path.stem for path in FUNCTIONS.glob("*.py")))
def test_the_manifest_of_every_sample_is_one(name):
    try:
        told = inspected(sample(name))
    except Exception as error:
        pytest.skip(f"{name} does not load: {error}")
    assert answer("manifest", told) == told


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "tool"),
        ("kind", ["pipe"]),
        ("imports", [1]),
        ("hooks", {"pipe": {}}),
        ("hooks", {"pipe": {"async": 1, "generator": False, "parameters": [], "required": [], "kwargs": False}}),
        ("valves", []),
        ("priority", "1"),
        ("priority", True),
        ("pipes", "static"),
        ("pipes", [{"id": "a"}]),
        ("name", {}),
        ("toggle", None),
        ("actions", [{}]),
        ("warnings", "none"),
    ],
)
def test_a_manifest_with_a_field_of_another_type_is_none(field, value):
    told = inspected(loaded(PIPE))
    with pytest.raises(ProtocolError, match=f"a manifest whose {field} is none"):
        answer("manifest", {**told, field: value})


@pytest.mark.parametrize("told", [None, [], {}, {"kind": "pipe"}])
def test_a_manifest_without_its_fields_is_none(told):
    with pytest.raises(ProtocolError, match="a manifest that is none"):
        answer("manifest", told)


def test_answers_about_valves_are_objects():
    assert answer("validate", {"a": 1}) == {"a": 1}
    assert answer("options", None) is None
    for question, told in (("validate", None), ("options", [])):
        with pytest.raises(ProtocolError, match=f"an answer to {question} that is no object"):
            answer(question, told)


def test_a_call_fails_as_calls_do():
    with pytest.raises(ProtocolError, match="a call of pipe failed as no call can"):
        check_end("pipe", {}, Done(error=("valves", [])))
    with pytest.raises(ProtocolError, match="stream answered no list as long as its batch"):
        check_end("stream", [{}, {}], Done([None]))
    check_end("stream", ["a", {}, {}], Done([None, {}, "b"]))
    for odd in (5, True, [], [{}]):
        with pytest.raises(ProtocolError, match="stream answered what is neither chunk nor text nor nothing"):
            check_end("stream", [{}, {}], Done([{}, odd]))
    check_end("action", {}, Done("anything"))


def test_an_error_is_cut_to_what_is_kept_of_it():
    data = {"type": "T" * 1000, "message": "m" * 100_000, "line": 3, "traceback": "t" * 100_000, "status": None}
    kind, kept = done({"error": {"kind": "hook", "data": data}}).error
    assert kind == "hook"
    assert (len(kept["type"]), len(kept["message"]), len(kept["traceback"])) == (200, 65536, 65536)
