from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from pipeline_app.runners import environments


def test_installing_what_is_there_says_where(base_packages):
    out = StringIO()
    call_command("install_requirements", stdout=out)
    first, last = out.getvalue().splitlines()
    assert first == "Base packages ..."
    count = len(list(base_packages.glob("*.dist-info")))
    assert 40 < count <= len(environments.base_packages().pins)
    assert last == f"Base packages: {count} packages in {base_packages}"


def test_check_is_content_when_they_are_there(base_packages):
    out = StringIO()
    call_command("install_requirements", "--check", stdout=out)
    assert out.getvalue() == f"The base packages are installed in {base_packages}.\n"


def test_check_fails_and_says_what_to_do_when_they_are_missing(settings, tmp_path):
    settings.FUNCTIONS_ENVIRONMENTS = tmp_path
    with pytest.raises(CommandError) as caught:
        call_command("install_requirements", "--check")
    assert str(caught.value) == (
        "The base packages of requirements-functions.txt are not installed for this Python. "
        "Run manage.py install_requirements."
    )
    assert caught.value.returncode == 1
