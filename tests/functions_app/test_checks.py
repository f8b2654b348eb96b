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


def test_a_wrong_import_rule_is_an_error(settings):
    settings.FUNCTIONS_IMPORTS = {"forbid": []}
    (message,) = checks.check_policy(None)
    assert message.id == "functions.E003"


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
    assert message.msg == "1 stored set of valves cannot be decrypted with any key in VALVE_KEYS."


def test_a_generated_key_beside_a_shared_database_is_a_warning(settings, tmp_path, monkeypatch):
    settings.DATA_DIR = tmp_path
    (tmp_path / "valve_key").write_text(settings.VALVE_KEYS[0])
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.sqlite3")
    assert checks.check_generated_key(None) == []
    monkeypatch.setitem(settings.DATABASES["default"], "ENGINE", "django.db.backends.postgresql")
    (message,) = checks.check_generated_key(None)
    assert message.id == "functions.W001"
