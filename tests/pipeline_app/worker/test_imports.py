"""The import rule, where a function's own module imports."""

from __future__ import annotations

import pytest

from pipeline_app.worker.errors import HookError, LoadError
from pipeline_app.worker.imports import refuses
from pipeline_app.worker.loader import load
from tests.pipeline_app.worker.helpers import value

PIPES = "class Pipe:\n    def pipes(self):\n        {line}\n"


def ruled(source, **rule):
    return load("sample", 1, "0" * 64, source, rule)


def test_a_denied_module_is_refused_with_the_line():
    with pytest.raises(LoadError) as refused:
        ruled("import json\nimport ctypes.util\n", deny=["ctypes"])
    assert refused.value.data["type"] == "ImportError"
    assert refused.value.data["line"] == 2
    assert refused.value.data["message"] == (
        "The policy of this function does not allow it to import ctypes. Do without, or have the rule changed (imports)."
    )


def test_an_import_inside_a_hook_is_refused_when_it_is_made():
    function = ruled(PIPES.format(line="from subprocess import run"), deny=["subprocess"])
    with pytest.raises(HookError) as refused:
        value(function, "pipes", None)
    assert refused.value.data["type"] == "ImportError"
    assert refused.value.data["line"] == 3


def test_only_allowed_modules_may_be_imported():
    source = "from __future__ import annotations\nimport json\n" + PIPES.format(line="return [json.dumps(1)]")
    assert value(ruled(source, allow=["json"]), "pipes", None) == ["1"]
    with pytest.raises(LoadError):
        ruled(source, allow=["re"])


def test_what_it_imports_may_import_anything():
    assert value(ruled("import json\n" + PIPES.format(line="return []"), allow=["json"]), "pipes", None) == []


def test_an_exception_for_it_can_be_caught():
    source = "try:\n    import ctypes\nexcept ImportError:\n    ctypes = None\n" + PIPES.format(line="return [ctypes]")
    assert value(ruled(source, deny=["ctypes"]), "pipes", None) == [None]


def test_no_rule_leaves_the_module_as_it_is():
    function = ruled(PIPES.format(line="return []"))
    assert function.module.__builtins__ is not None
    assert function.module.__builtins__["__import__"].__module__ != "pipeline_app.worker.imports"


def test_rules_are_about_top_level_modules():
    assert refuses({"deny": ["os"]}, "os.path")
    assert not refuses({"deny": ["os"]}, "osmosis")
    assert not refuses({}, "os")
    assert refuses({"allow": []}, "os")
    assert not refuses({"allow": []}, "__future__")
