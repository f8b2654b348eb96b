from __future__ import annotations

import io

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.core.exceptions import FieldError, ImproperlyConfigured, ValidationError
from django.core.management import CommandError, call_command
from django.db import connection

from functions_app.fields import Sealed, UndecryptableValves, keyring, storable
from functions_app.models import User, UserValves, Valves
from tests.builders import make_function, make_user

pytestmark = pytest.mark.django_db

VALUES = {"key": "sk-very-secret", "number": 1, "yes": True, "nothing": None, "list": [1.5, "\0\ud800"]}


@pytest.fixture
def row():
    return Valves.objects.create(function=make_function("hello"), values=VALUES)


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute('SELECT "values" FROM functions_app_valves')
        return cursor.fetchone()[0]


def test_values_come_back_as_they_were(row):
    assert Valves.objects.get().values == VALUES


def test_the_database_holds_only_ciphertext(row):
    assert "secret" not in stored()


def test_a_wrong_key_is_an_error_and_never_an_empty_value(row, settings):
    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    loaded = Valves.objects.get()
    with pytest.raises(UndecryptableValves) as caught:
        loaded.values  # noqa: B018
    assert str(caught.value) == (
        "Valves.values cannot be decrypted: none of the 1 keys in VALVE_KEYS fits. "
        "Add the key that it was saved with to the end of VALVE_KEYS, or save the values anew."
    )


def test_a_row_under_a_lost_key_can_be_listed_saved_and_set_anew(row, settings):
    before = stored()
    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    loaded = Valves.objects.get()
    loaded.rules = {"number": {"maximum": 3}}
    loaded.save()
    assert stored() == before
    loaded.values = {"number": 2}
    loaded.save()
    assert Valves.objects.get().values == {"number": 2}


def test_secrets_are_in_no_text_of_a_row_or_query(row):
    loaded = Valves.objects.get()
    sealed = Valves.objects.values_list("values", flat=True).get()
    assert isinstance(sealed, Sealed)
    text = f"{loaded} {loaded!r} {Valves.objects.values()} {sealed!r} {serializers.serialize('json', [loaded])}"
    assert "secret" not in text


def test_a_dump_can_be_loaded_again(row):
    text = serializers.serialize("json", [row])
    Valves.objects.all().delete()
    for item in serializers.deserialize("json", text):
        item.save()
    assert Valves.objects.get().values == VALUES


def test_encrypted_values_cannot_be_searched(row):
    with pytest.raises(FieldError):
        Valves.objects.filter(values={"number": 1})
    assert Valves.objects.filter(values__isnull=False).count() == 1


@pytest.mark.parametrize("values", [{"a": object()}, {"a": float("nan")}])
def test_what_is_no_json_is_refused(row, values):
    row.values = values
    with pytest.raises(ValidationError):
        row.save()


def test_rotation_moves_everything_to_the_first_key(row, settings):
    UserValves.objects.create(function=row.function, user=make_user(), values={"a": 1})
    old, new = settings.VALVE_KEYS, Fernet.generate_key().decode()
    settings.VALVE_KEYS = [new, *old]
    out = io.StringIO()
    call_command("rotate_valve_keys", stdout=out)
    assert out.getvalue() == "2 rows encrypted under the first key.\n"
    settings.VALVE_KEYS = [new]
    assert Valves.objects.get().values == VALUES
    assert UserValves.objects.get().values == {"a": 1}


def test_rotation_names_what_it_cannot_decrypt_and_leaves_it(row, settings):
    before = stored()
    settings.VALVE_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError) as caught:
        call_command("rotate_valve_keys", stdout=io.StringIO())
    assert str(caught.value).startswith("No key in VALVE_KEYS decrypts the valves of hello. They were left as they are")
    assert stored() == before


@pytest.mark.parametrize("keys", [[], ["short"], [None]])
def test_bad_keys_are_a_configuration_error_that_does_not_repeat_them(settings, keys):
    settings.VALVE_KEYS = keys
    with pytest.raises(ImproperlyConfigured) as caught:
        keyring()
    assert str(caught.value) == (
        "VALVE_KEYS must hold at least one key, each of 32 random bytes in URL-safe base64 (44 characters)."
    )


def test_json_columns_store_what_postgresql_refuses():
    user = make_user(info={"a\0": ["b\ud800c", float("nan"), "😀"]})
    assert User.objects.get(pk=user.pk).info == {"a\ufffd": ["b\ufffdc", None, "😀"]}


def test_storable_data_is_left_as_it_is():
    data = {"a": [1, 2.5, True, None, "😀é"], "b": {}}
    assert storable(data) == data
