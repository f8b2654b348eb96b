from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from functions_app import checks
from functions_app.models import Valves
from tests.builders import make_function


def test_the_defaults_are_fine():
    assert checks.check_valve_keys(None) == checks.check_policy(None) == checks.check_runtime(None) == []


def test_bad_valve_keys_are_an_error(settings):
    settings.VALVE_KEYS = ["short"]
    (message,) = checks.check_valve_keys(None)
    assert (message.id, "short" in str(message)) == ("functions.E001", False)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([], 'FUNCTIONS_POLICY must be {"defaults": {...}, "ceilings": {...}}.'),
        ({"default": {}}, 'FUNCTIONS_POLICY must be {"defaults": {...}, "ceilings": {...}}.'),
        ({"defaults": 3}, "FUNCTIONS_POLICY, defaults: A policy is an object of fields, not int."),
        ({"ceilings": {"network": "x"}}, "FUNCTIONS_POLICY, ceilings: network: Must be one of none, public, open."),
    ],
)
def test_a_wrong_policy_of_the_installation_is_an_error(settings, policy, message):
    settings.FUNCTIONS_POLICY = policy
    assert [(found.id, found.msg) for found in checks.check_policy(None)] == [("functions.E002", message)]


@pytest.mark.parametrize("everybody", [[], ["none"], ["functions_app.use_function", "functions_app.view_function"]])
def test_what_everybody_may_is_roles_or_nothing(settings, everybody):
    settings.FUNCTIONS_EVERYBODY = everybody
    assert checks.check_everybody(None) == []


@pytest.mark.parametrize("everybody", [["use_function"], ["none", "functions_app.use_function"]])
def test_a_permission_for_everybody_that_does_not_exist_is_an_error(settings, everybody):
    settings.FUNCTIONS_EVERYBODY = everybody
    (message,) = checks.check_everybody(None)
    assert message.id == "functions.E007"
    assert message.msg == f"FUNCTIONS_EVERYBODY names {everybody[0]!r}, which is no permission of functions."


def test_a_wrong_import_rule_is_an_error(settings):
    settings.FUNCTIONS_IMPORTS = {"forbid": []}
    (message,) = checks.check_policy(None)
    assert message.id == "functions.E003"


def test_a_wrong_host_to_load_from_is_an_error(settings):
    settings.FUNCTIONS_LOAD_FROM = ["git.example", "127.0.0.1:8000", "10.0.0.0/8", "git.example:port"]
    (message,) = checks.check_policy(None)
    assert (message.id, message.msg.startswith("FUNCTIONS_LOAD_FROM: allow: 'git.example:port' is not")) == (
        "functions.E006",
        True,
    )


def test_a_runtime_that_does_not_exist_is_an_error(settings):
    settings.FUNCTIONS_RUNTIME = "nowhere.Runtime"
    (message,) = checks.check_runtime(None)
    assert message.msg == "FUNCTIONS_RUNTIME cannot be imported: No module named 'nowhere'."


@pytest.mark.django_db
def test_valves_that_no_key_decrypts_are_an_error(settings):
    Valves.objects.create(function=make_function(), values={"a": 1})
    assert checks.check_stored_valves(None, databases=["default"]) == []
    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    assert checks.check_stored_valves(None) == []
    (message,) = checks.check_stored_valves(None, databases=["default"])
    assert message.id == "functions.E005"
    assert message.msg == "1 stored set of valves or tokens cannot be decrypted with any key in VALVE_KEYS."


def test_a_generated_key_beside_a_shared_database_is_a_warning(settings, tmp_path, monkeypatch):
    settings.DATA_DIR = tmp_path
    (tmp_path / "valve_key").write_text(settings.VALVE_KEYS[0])
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    assert checks.check_generated_key(None) == []
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    (message,) = checks.check_generated_key(None)
    assert message.id == "functions.W001"
