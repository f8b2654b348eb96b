"""OAuth tokens: kept encrypted, renewed by one at a time, never over a newer sign-in."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from functions_app.models import OAuthToken

ANSWER = {
    "access_token": "access-1",
    "refresh_token": "refresh-1",
    "id_token": "id-1",
    "token_type": "Bearer",
    "scope": "openid",
    "expires_in": 3600,
    "further": "not kept",
}


@pytest.fixture
def token(bob) -> OAuthToken:
    return OAuthToken.objects.keep(bob, "oidc", ANSWER)


def read(token: OAuthToken) -> OAuthToken:
    return OAuthToken.objects.get(pk=token.pk)


def test_what_functions_see_has_no_refresh_token(token):
    told = read(token).to_argument()
    assert told == {
        "access_token": "access-1",
        "id_token": "id-1",
        "token_type": "Bearer",
        "scope": "openid",
        "expires_at": told["expires_at"],
    }
    assert 3500 < told["expires_at"] - timezone.now().timestamp() <= 3600


def test_nothing_of_it_lies_open_in_the_database(token):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM functions_app_oauthtoken")
        assert "access-1" not in str(cursor.fetchall())
    assert "access-1" not in repr(token) + str(token)


def test_new_keys_encrypt_tokens_too(token, settings, capsys):
    settings.VALVE_KEYS = [Fernet.generate_key().decode(), *settings.VALVE_KEYS]
    call_command("rotate_valve_keys")
    assert "1 row encrypted under the first key." in capsys.readouterr().out
    settings.VALVE_KEYS = settings.VALVE_KEYS[:1]
    assert read(token).values["access_token"] == "access-1"


@pytest.mark.parametrize(
    ("seconds", "known"),
    [
        (3600, True),
        ("90", True),
        (1e300, True),
        (0, False),
        (-5, False),
        ("soon", False),
        (None, False),
        ([], False),
        ("nan", False),
    ],
)
def test_an_expiry_that_says_nothing_is_none(bob, seconds, known):
    token = OAuthToken.objects.keep(bob, "oidc", {**ANSWER, "expires_in": seconds})
    assert (token.expires_at is not None) == known
    assert token.usable and not token.due


def test_a_token_is_due_a_minute_before_it_expires(token):
    for seconds, usable, due in ((90, True, False), (30, True, True), (-1, False, True)):
        token.expires_at = timezone.now() + timedelta(seconds=seconds)
        assert (token.usable, token.due) == (usable, due)


def test_one_of_two_processes_renews(token):
    other = read(token)
    assert token.claim() and not other.claim()
    assert token.renew({"access_token": "access-2", "expires_in": 60})
    assert read(token).values == {
        **{n: ANSWER[n] for n in ("refresh_token", "id_token", "token_type", "scope")},
        "access_token": "access-2",
    }
    # The other has read what is no longer there, so that it looks again instead of renewing what is new.
    assert not other.claim()
    assert read(token).claim()


def test_the_claim_of_a_process_that_died_ends(token):
    OAuthToken.objects.filter(pk=token.pk).update(renewing_until=timezone.now() - timedelta(seconds=1))
    assert token.claim()


def test_a_new_sign_in_is_not_written_over(token, bob):
    assert token.claim()
    OAuthToken.objects.keep(bob, "oidc", {**ANSWER, "access_token": "signed-in-anew"})
    assert not token.renew({"access_token": "renewed"}) and not token.give_up() and not token.release()
    assert read(token).values["access_token"] == "signed-in-anew"


def test_a_refused_refresh_token_is_forgotten(token):
    assert token.claim() and token.give_up()
    assert read(token).refresh_token == "" and read(token).values["access_token"] == "access-1"


def test_a_token_goes_with_what_joined_its_user_to_the_provider(token, bob):
    from allauth.socialaccount.models import SocialAccount

    SocialAccount.objects.create(user=bob, provider="oidc", uid="bob").delete()
    assert not OAuthToken.objects.exists()
