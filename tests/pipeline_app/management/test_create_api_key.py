from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from pipeline_app.models import ApiKey


def create(*arguments: str) -> str:
    out = StringIO()
    call_command("create_api_key", *arguments, stdout=out)
    return out.getvalue()


def test_the_key_stands_alone_on_standard_output(bob):
    text = create("bob")
    assert text.startswith("sk-")
    assert text == text.strip() + "\n"
    key = ApiKey.objects.get(digest=ApiKey.digest_of(text.strip()))
    assert (key.user, key.scopes, key.expires_at, key.label) == (bob, [], None, "")


def test_scopes_may_be_given_apart_or_with_commas(bob):
    for arguments in (["--scopes", "models", "actions"], ["--scopes", "models,actions"]):
        text = create("bob", *arguments)
        assert ApiKey.objects.get(digest=ApiKey.digest_of(text.strip())).scopes == ["actions", "models"]


def test_a_key_may_expire_and_have_a_label(bob):
    create("bob", "--expires", "30", "--label", "nightly report")
    key = ApiKey.objects.get()
    assert key.label == "nightly report"
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=5)


def test_an_unknown_user_is_named(db):
    with pytest.raises(CommandError) as caught:
        create("charlie")
    assert str(caught.value) == 'There is no user named "charlie".'


def test_an_inactive_user_gets_no_key(bob):
    bob.is_active = False
    bob.save()
    with pytest.raises(CommandError) as caught:
        create("bob")
    assert str(caught.value) == 'The user "bob" is not active, so a key would open nothing.'
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("days", ["0", "-3", "999999999"])
def test_days_out_of_range_are_refused(bob, days):
    with pytest.raises(CommandError) as caught:
        create("bob", f"--expires={days}")
    assert str(caught.value) == f"--expires takes 1 to 36500 days; got {days}."


def test_an_unknown_scope_is_refused_with_those_there_are(bob):
    with pytest.raises(CommandError) as caught:
        create("bob", "--scopes", "everything")
    assert str(caught.value) == "Scopes are a list of models, actions, files, functions; got ['everything']."
