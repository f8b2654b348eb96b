"""What is asked of the provider beside signing in, and what the settings about it must say."""

from __future__ import annotations

import pytest

from functions_app import oidc
from functions_app.checks import check_provider, check_uploads
from tests.provider import CLIENT_ID, CLIENT_SECRET


@pytest.fixture
def configured(settings, provider, monkeypatch):
    monkeypatch.setattr(oidc, "_metadata", {})
    settings.OIDC_ISSUER, settings.OIDC_CLIENT_ID = provider.url, CLIENT_ID
    settings.OIDC_CLIENT_SECRET = CLIENT_SECRET
    return provider


def test_a_token_that_the_provider_does_not_know_is_refused(configured):
    with pytest.raises(oidc.Refused, match="invalid_grant"):
        oidc.renewed("refresh-unknown")


def test_a_wrong_secret_of_ours_is_not_the_tokens_end(configured, settings):
    settings.OIDC_CLIENT_SECRET = "wrong-secret-0815"
    with pytest.raises(oidc.Unreachable, match="status 401 and no token \\(invalid_client\\)") as caught:
        oidc.renewed("refresh-unknown")
    assert "0815" not in str(caught.value) and "refresh-unknown" not in str(caught.value)


def test_a_provider_that_is_down_is_said(configured):
    configured.rule(down=True)
    with pytest.raises(oidc.Unreachable, match="does not answer with metadata"):
        oidc.metadata()
    configured.rule()
    assert oidc.metadata()["issuer"] == configured.url
    configured.stop()
    assert oidc.metadata()["issuer"] == configured.url  # remembered for an hour
    with pytest.raises(oidc.Unreachable, match="the token endpoint does not answer"):
        oidc.renewed("refresh")


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"issuer": 7},
        dict.fromkeys(("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"), "http://x"),
    ],
)
def test_metadata_that_leads_nowhere_or_away_from_tls_is_not_used(data):
    with pytest.raises(oidc.Unreachable):
        oidc._check("https://login.example.org/.well-known/openid-configuration", data)


def test_the_metadata_of_an_issuer_are_where_they_belong():
    expected = "https://login.example.org/realms/a/.well-known/openid-configuration"
    for issuer in (expected, "https://login.example.org/realms/a", "https://login.example.org/realms/a/"):
        assert oidc.metadata_url(issuer) == expected


# --- Checks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, []),
        ({"OIDC_ISSUER": "https://a.example", "OIDC_CLIENT_ID": "f"}, []),
        ({"OIDC_ISSUER": "http://127.0.0.1:8080", "OIDC_CLIENT_ID": "f"}, []),
        ({"OIDC_ISSUER": "https://a.example"}, ["OIDC_CLIENT_ID is missing"]),
        ({"OIDC_CLIENT_SECRET": "s"}, ["OIDC_ISSUER is missing"]),
        ({"OIDC_ISSUER": "http://a.example", "OIDC_CLIENT_ID": "f"}, ["OIDC_ISSUER must be an address with https://"]),
        (
            {"OIDC_ISSUER": "https://a.example", "OIDC_CLIENT_ID": "f", "OIDC_SCOPES": "email"},
            ["OIDC_SCOPES must have"],
        ),
        (
            {"OIDC_ISSUER": "https://a.example", "OIDC_CLIENT_ID": "f", "OIDC_NEW_USERS": "all"},
            ["OIDC_NEW_USERS must be"],
        ),
    ],
    ids=range(8),
)
def test_half_a_configuration_is_an_error(settings, given, said):
    for name, value in given.items():
        setattr(settings, name, value)
    found = check_provider(None)
    assert [message.id for message in found] == ["functions.E008"] * len(said)
    assert all(message.msg.startswith(start) for message, start in zip(found, said, strict=True))


def test_limits_on_files_that_make_no_sense_are_errors(settings):
    assert check_uploads(None) == []
    settings.FUNCTIONS_FILE_MB, settings.FUNCTIONS_FILES_PER_USER_MB = 0, -1
    settings.FUNCTIONS_FILE_TYPES = ["image/*", ".pdf", "pdf"]
    assert [message.id for message in check_uploads(None)] == ["functions.E009"] * 3
