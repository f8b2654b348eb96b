"""What functions run with, installed on this machine by the command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.db import DatabaseError

from functions_app.models import Environment, Function, FunctionVersion
from functions_app.runtime import RequirementError
from pipeline_app.runners import environments
from tests.builders import make_function, make_version
from tests.functions_app.management.test_exchange_commands import command
from tests.wheels import make_wheel

pytestmark = pytest.mark.django_db

COMMAND = "install_requirements"


def needing(*requirements: str, module: str = "installlens") -> str:
    header = f'"""\ntitle: Lens\nrequirements: {", ".join(requirements)}\n"""\n'
    return f"{header}import {module}\n\n\nclass Pipe:\n    def pipe(self, body):\n        return {module}.VERSION\n"


@pytest.fixture
def lens(wheels) -> Function:
    """A function that serves with a package of its own."""
    make_wheel(wheels, "installlens", "1.0")
    return make_function("lens", needing("installlens"))


def folder_of(function: Function) -> Path:
    version = FunctionVersion.objects.select_related("environment").get(function=function, state="live")
    return environments.path_of(version.environment.digest)


# --- The base packages ------------------------------------------------------------------------------------


def test_installing_what_is_there_says_where(base_packages):
    code, said = command(COMMAND)
    first, last = said.splitlines()
    assert first == "Base packages ..."
    count = len(list(base_packages.glob("*.dist-info")))
    assert 40 < count <= len(environments.base_packages().pins)
    assert last == f"Base packages: {count} packages in {base_packages}"
    assert code == 0


def test_check_is_content_when_they_are_there(base_packages):
    assert command(COMMAND, "--check") == (0, f"The base packages are installed in {base_packages}.\n")


def test_check_fails_and_says_what_to_do_when_they_are_missing(settings, tmp_path):
    settings.FUNCTIONS_ENVIRONMENTS = tmp_path
    assert command(COMMAND, "--check") == (
        1,
        (
            "The base packages of requirements-functions.txt are not installed for this Python. "
            "Run manage.py install_requirements.\n"
        ),
    )


def test_without_a_database_the_base_packages_are_installed(base_packages, monkeypatch):
    def gone(*_, **__):
        raise DatabaseError("no such table: functions_app_function")

    monkeypatch.setattr(Function.objects, "select_related", gone)
    code, said = command(COMMAND)
    assert code == 0
    assert said.endswith("There is no database yet, so there are no functions to look after.\n")
    assert command(COMMAND, "--all") == (
        1,
        said.rpartition("There")[0]
        + "The functions cannot be read (no such table: functions_app_function). Run manage.py migrate first.\n",
    )


# --- What functions ask for -------------------------------------------------------------------------------


def test_what_lacks_is_built_again_from_its_lock(lens, wheels):
    folder = folder_of(lens)
    shutil.rmtree(folder)
    make_wheel(wheels, "installlens", "2.0")
    assert command(COMMAND, "--check")[1].endswith(
        "Not installed for this Python: the packages of lens v1. Run manage.py install_requirements.\n"
    )
    code, said = command(COMMAND)
    assert (code, said.splitlines()[-1]) == (0, "installed  lens v1  installlens 1.0")
    assert folder_of(lens) == folder
    assert folder.is_dir()
    assert command(COMMAND, "--check") == (
        0,
        f"The base packages are installed in {environments.base_path()}.\nWhat 1 function ask for is installed.\n",
    )


def test_base_looks_after_no_functions(lens):
    shutil.rmtree(folder_of(lens))
    assert command(COMMAND, "--base")[0] == 0
    assert not folder_of(lens).exists()


def test_only_functions_that_are_named_are_looked_after(lens):
    make_function("other")
    shutil.rmtree(folder_of(lens))
    assert "installed" not in command(COMMAND, "other")[1].split("\n", 2)[2]
    assert command(COMMAND, "nobody") == (2, command(COMMAND, "--base")[1] + "There is no function nobody.\n")
    assert "installed  lens v1" in command(COMMAND, "LENS")[1]


def test_for_another_python_they_are_found_anew_and_the_version_stays(lens, wheels):
    version = lens.live
    Environment.objects.update(python="cpython-27-linux", digest="f" * 32, key="")
    assert "the packages of lens v1" in command(COMMAND, "--check")[1]
    make_wheel(wheels, "installlens", "2.0")
    assert command(COMMAND)[1].splitlines()[-1] == "installed  lens v1  installlens 2.0"
    version.refresh_from_db()
    assert (version.state, version.number) == ("live", 1)
    assert version.environment.python == environments.python_tag()
    assert Environment.objects.count() == 2


def test_upgrade_finds_newer_versions_and_lets_functions_serve_with_those(lens, wheels):
    before = folder_of(lens)
    assert "unchanged  lens v1  installlens 1.0" in command(COMMAND, "--upgrade")[1]
    make_wheel(wheels, "installlens", "2.0")
    assert command(COMMAND)[1].count("\n") == 2  # nothing is upgraded unasked
    code, said = command(COMMAND, "lens", "--upgrade")
    assert (code, said.splitlines()[-1]) == (0, "upgraded   lens v1  installlens 2.0")
    assert folder_of(lens) != before
    assert before.is_dir()


def test_an_upgrade_that_does_not_load_changes_nothing(lens, wheels):
    make_version(lens, needing("installlens") + "assert installlens.VERSION == '1.0', 'no more'\n")
    before = folder_of(lens)
    make_wheel(wheels, "installlens", "2.0")
    code, said = command(COMMAND, "--upgrade")
    assert code == 1
    assert "failed     lens v2  " in said
    assert "no more" in said
    assert said.endswith("The packages of 1 function could not be had; what served before serves.\n")
    assert folder_of(lens) == before


def test_functions_that_wait_for_packages_are_published_when_asked_for(wheels):
    function = make_function("lens", needing("installlens"))
    assert function.newest.state == "broken"
    make_wheel(wheels, "installlens", "1.0")
    assert "published" not in command(COMMAND)[1]
    assert command(COMMAND, "--all")[1].splitlines()[-1] == "published  lens v1  installlens 1.0"
    function.refresh_from_db()
    assert function.live.number == 1


def test_what_serves_and_what_waits_are_both_looked_after(lens, wheels):
    make_version(lens, needing("installlens", "installglass"))
    shutil.rmtree(folder_of(lens))
    make_wheel(wheels, "installglass", "1.0")
    assert command(COMMAND, "lens")[1].splitlines()[-2:] == [
        "installed  lens v1  installlens 1.0",
        "published  lens v2  installglass 1.0, installlens 1.0",
    ]


def test_what_cannot_be_had_is_said_and_the_others_are_done(lens, wheels):
    make_wheel(wheels, "installglass", "1.0")
    glass = make_function("glass", needing("installglass", module="installglass"))
    shutil.rmtree(folder_of(lens))
    shutil.rmtree(folder_of(glass))
    (wheels / "installglass-1.0-py3-none-any.whl").unlink()
    shutil.rmtree(wheels.parent / "uv-cache")
    code, said = command(COMMAND)
    assert code == 1
    lines = said.splitlines()
    assert "installed  lens v1  installlens 1.0" in lines
    assert any(line.startswith("failed     glass v1  ") for line in lines)
    assert FunctionVersion.objects.get(function="glass").state == "live"


def test_offline_takes_wheels_from_a_folder(lens, wheels, settings):
    shutil.rmtree(folder_of(lens))
    shutil.rmtree(wheels.parent / "uv-cache")
    settings.FUNCTIONS_WHEELS = None
    settings.FUNCTIONS_INDEX_URL = "http://127.0.0.1:9/simple"
    assert command(COMMAND, "--offline", wheels)[1].splitlines()[-1] == "installed  lens v1  installlens 1.0"
    assert settings.FUNCTIONS_WHEELS is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["lens", "--all"],
        ["--base", "--all"],
        ["--upgrade", "--base"],
        ["--upgrade", "--check"],
        ["--offline", "/nowhere"],
    ],
)
def test_what_does_not_go_together_is_wrong_usage(arguments):
    assert command(COMMAND, *arguments)[0] == 2


def test_a_missing_list_of_base_packages_is_said(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    code, said = command(COMMAND, "--check")
    assert code == 1
    assert said.startswith("The list of base packages cannot be read")
    with pytest.raises(RequirementError):
        environments.base_packages()
