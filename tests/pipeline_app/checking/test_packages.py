"""Imports of packages that are not there, and of modules that a policy refuses."""

from __future__ import annotations

import pytest

from functions_app.policy import Policy
from pipeline_app.checking.packages import distribution_of, of_imports


def imported(module, when="load", there=False, line=1):
    place = {"line": line, "column": 1, "end_line": line, "end_column": 10}
    return {"module": module, "when": when, "there": there, **place}


def said(*imports, declared=(), policy=None):
    found = of_imports(list(imports), frozenset(declared), policy or Policy())
    return [(one.severity, one.code, one.line, one.message) for one in found]


@pytest.mark.parametrize(
    ("module", "package", "known"),
    [
        ("PIL.Image", "pillow", True),
        ("bs4", "beautifulsoup4", True),
        ("google.genai.types", "google-genai", True),
        ("sklearn.linear_model", "scikit-learn", True),
        ("some_thing.part", "some-thing", False),
    ],
)
def test_which_package_brings_a_module(module, package, known):
    assert distribution_of(module) == (package, known)


def test_what_is_there_or_declared_is_fine():
    assert said(imported("json", there=True), imported("sklearn.svm"), declared=["scikit-learn"]) == []
    assert said(imported("cv2"), declared=["opencv-python"]) == []
    assert said(imported("google.genai"), declared=["google-genai"]) == []


def test_what_is_missing_is_said_once_with_the_package_to_add():
    assert said(imported("cv2"), imported("cv2", line=9)) == [
        (
            "error",
            "undeclared-import",
            1,
            (
                "cv2 is not there, so the source does not load. Add a line requirements: opencv-python-headless to the "
                "frontmatter."
            ),
        )
    ]
    assert said(imported("strange_thing", "call")) == [
        (
            "warning",
            "undeclared-import",
            1,
            (
                "strange_thing is not there, so the function fails where it imports it. Add a line requirements: "
                "strange-thing to the frontmatter (or whichever package brings it)."
            ),
        )
    ]
    assert said(imported("google.genai", "maybe")) == [
        (
            "info",
            "undeclared-import",
            1,
            "google.genai is not there, and the source does without it then. To have it, add requirements: google-genai.",
        )
    ]


def test_a_requirement_that_brings_nothing_known_may_bring_it():
    assert said(imported("strange_thing"), declared=["stranger-sdk"]) == [
        (
            "info",
            "undeclared-import",
            1,
            "strange_thing is not there yet. If no requirement (stranger-sdk) brings it, add requirements: strange-thing.",
        )
    ]


def test_a_refused_import_is_no_undeclared_one():
    policy = Policy(imports={"deny": ("subprocess", "cv2")})
    sentence = (
        "The policy of this function does not allow it to import {}. Do without, or have the rule changed (imports)."
    )
    assert said(
        imported("subprocess", there=True), imported("cv2", line=2), imported("cv2", line=3), policy=policy
    ) == [
        ("error", "refused-import", 1, sentence.format("subprocess")),
        ("error", "refused-import", 2, sentence.format("cv2")),
    ]
