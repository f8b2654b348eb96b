"""A check of code that needs packages: with those that are installed, and patient about those that are not."""

from __future__ import annotations

from typing import Any

import pytest

from functions_app.models import Environment, Function, FunctionVersion
from functions_app.runtime import get_runtime
from tests.builders import make_function
from tests.pipeline_app.management.test_install_requirements import needing
from tests.wheels import make_wheel

pytestmark = pytest.mark.django_db


def check(source: str) -> dict[str, Any]:
    version = FunctionVersion(function=Function(id="lens"), number=0, source=source)
    version.seal()
    return get_runtime().check(version)


def codes(told: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in told["findings"]]


SOURCE = needing("checklens", module="checklens")


def test_what_is_not_installed_yet_is_no_error_and_nobody_is_asked_for_it(wheels):
    told = check(SOURCE)
    assert (told["ok"], told["kind"], told["manifest"]) == (True, "pipe", None)
    assert codes(told) == ["awaited-requirement"]
    assert told["findings"][0]["message"] == (
        "Not installed here yet: checklens. That is done when the function is published. "
        "What loading would find is not known until then."
    )
    assert told["findings"][0]["line"] == 5
    assert not Environment.objects.exists()


def test_a_package_that_nobody_asks_for_is_still_an_error(wheels):
    told = check(SOURCE.replace("import checklens", "import checklens, tomlkit_nobody"))
    assert not told["ok"]
    assert "undeclared-import" in codes(told)


def test_what_is_installed_is_checked_with(wheels):
    make_wheel(wheels, "checklens", "1.0")
    make_function("other", SOURCE)
    told = check(SOURCE.replace("title: Lens", "title: Other"))
    assert told["ok"]
    assert told["manifest"]["kind"] == "pipe"
    assert codes(told) == []


def test_what_could_not_be_had_is_said(wheels):
    make_function("other", SOURCE)
    told = check(SOURCE)
    assert not told["ok"]
    assert codes(told) == ["unavailable-requirement"]
    message = told["findings"][0]["message"]
    assert message.startswith("When this was last tried, it could not be installed. checklens is not in the folder ")


def test_what_fails_for_want_of_another_version_is_a_warning(wheels):
    source = needing("pydantic==1.0", module="pydantic") + "pydantic.something_old()\n"
    told = check(source)
    assert told["ok"]
    (finding,) = [finding for finding in told["findings"] if finding["code"] == "load-error"]
    assert (finding["severity"], finding["message"].endswith("It may load then.")) == ("warning", True)
