"""What ``manage.py check`` says about isolation."""

from __future__ import annotations

import pytest
from django.core import checks as django_checks

from pipeline_app import checks
from pipeline_app.runners import bubblewrap
from tests.pipeline_app.worker.confined import linux
from tests.servers import manage


def ids(messages):
    return [message.id for message in messages]


@pytest.mark.parametrize("level", ["inline", "process", "basic", "standard", "strict"])
def test_levels_that_exist_are_fine(settings, level):
    settings.FUNCTIONS_MIN_ISOLATION = level
    assert checks.check_isolation_settings(None) == []


def test_a_level_that_does_not_exist_is_an_error(settings):
    settings.FUNCTIONS_MIN_ISOLATION = "high"
    (message,) = checks.check_isolation_settings(None)
    assert (message.id, message.level) == ("pipeline.E001", django_checks.ERROR)
    assert message.msg == "FUNCTIONS_MIN_ISOLATION must be one of inline, process, basic, standard, strict."
    assert checks.check_isolation(None) == []


def test_a_layer_that_does_not_exist_is_an_error(settings):
    settings.FUNCTIONS_SANDBOX_LAYERS = ["apparmor"]
    (message,) = checks.check_isolation_settings(None)
    assert message.id == "pipeline.E002"
    assert "there is no layer 'apparmor'" in message.msg


def test_settings_on_packages_that_are_fine(settings, tmp_path):
    (tmp_path / "constraints.txt").touch()
    settings.FUNCTIONS_PACKAGES = {"allow": ["pandas", "google-*"], "deny": ["evil"]}
    settings.FUNCTIONS_INDEX_URL = "https://packages.example.org/simple"
    settings.FUNCTIONS_CONSTRAINTS = str(tmp_path / "constraints.txt")
    settings.FUNCTIONS_WHEELS = tmp_path
    assert checks.check_packages(None) == []


def test_settings_on_packages_that_could_not_work_are_errors(settings, tmp_path):
    settings.FUNCTIONS_PACKAGES = {"allow": "pandas"}
    settings.FUNCTIONS_EXTRA_INDEX_URLS = ["user:secret@packages.example.org"]
    settings.FUNCTIONS_CONSTRAINTS = str(tmp_path / "constraints.txt")
    settings.FUNCTIONS_WHEELS = tmp_path / "wheels"
    settings.FUNCTIONS_BUILD_SECONDS = 0.0
    assert [(message.id, message.msg.replace(str(tmp_path), "")) for message in checks.check_packages(None)] == [
        ("pipeline.E005", 'FUNCTIONS_PACKAGES must be {"allow": [...]} or {"deny": [...]}, with names of packages.'),
        (
            "pipeline.E005",
            "FUNCTIONS_INDEX_URL and FUNCTIONS_EXTRA_INDEX_URLS must be addresses such as https://host/simple.",
        ),
        ("pipeline.E005", "FUNCTIONS_CONSTRAINTS names /constraints.txt, which is no file."),
        ("pipeline.E005", "FUNCTIONS_WHEELS names /wheels, which is no folder."),
        ("pipeline.E005", "FUNCTIONS_BUILD_SECONDS and FUNCTIONS_BUILD_MB must be numbers above 0."),
    ]


def test_the_inline_runner_warns(inline, settings):
    found = checks.check_isolation(None)
    assert ids(found) == ["pipeline.I001", "pipeline.W001"]
    assert found[0].msg == "Functions are isolated at the level 'inline'."
    settings.FUNCTIONS_MIN_ISOLATION = "process"
    assert ids(checks.check_isolation(None)) == ["pipeline.I001", "pipeline.W001", "pipeline.E003"]


@linux
def test_deployment_is_told_layer_by_layer(tmp_path):
    done = manage(tmp_path, "check", "--deploy", FUNCTIONS_RUNNER="process", FUNCTIONS_MIN_ISOLATION="standard")
    level = "standard" if bubblewrap.why_not() else "strict"
    assert f"(pipeline.I001) Functions are isolated at the level '{level}'." in done.stderr
    for layer in ("own process", "resource limits", "system calls (seccomp)", "files (Landlock)", "network"):
        assert f"(pipeline.I002) {layer}: holds." in done.stderr


@linux
def test_deployment_fails_below_the_least_level(tmp_path):
    done = manage(
        tmp_path, "check", "--deploy", check=False,
        FUNCTIONS_RUNNER="process", FUNCTIONS_MIN_ISOLATION="standard", FUNCTIONS_SANDBOX_LAYERS="bubblewrap,landlock",
    )  # fmt: skip
    assert done.returncode == 1
    assert "(pipeline.W002) Layers are left out of the sandbox: bubblewrap, landlock." in done.stderr
    assert "(pipeline.W001) files (Landlock): does not hold. Possible: reading the server's files" in done.stderr
    assert "(pipeline.I003) mount view (bubblewrap): does not hold." in done.stderr
    assert "(pipeline.E003) The isolation level is 'basic', below FUNCTIONS_MIN_ISOLATION='standard'." in done.stderr
