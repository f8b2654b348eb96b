"""How tests ask as functions do, without one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import ContentFile

from functions_app.models import File
from functions_app.policy import Policy
from pipeline_app.errors import RequestError
from pipeline_app.hostcalls import HostCalls
from pipeline_app.runners.base import Identity
from pipeline_app.snapshot import Person, person_of


@pytest.fixture
def ask(fresh_snapshot):
    """Asks as a user: ``ask(user or person, method, policy=..., **params)``; a stream comes back as a list."""
    calls = HostCalls()

    def asking(who, method, params=None, policy=None, function="f", **given):
        person = who if who is None or isinstance(who, Person) else person_of(who)
        identity = Identity(person, policy or Policy(), function, "pipe")

        async def call():
            answer = await calls.call(identity, method, given if params is None else params)
            return [part async for part in answer] if isinstance(answer, AsyncIterator) else answer

        return async_to_sync(call)()

    return asking


@pytest.fixture
def store(settings, tmp_path):
    """Stores a file of a user: ``store(user, name, content)``."""
    settings.MEDIA_ROOT = tmp_path

    def storing(user, name="notes.txt", content=b"hello"):
        row = File(user=user, name=name, content_type="text/plain", size=len(content), sha256="ab")
        row.content.save(name, ContentFile(content), save=False)
        row.save()
        return row

    return storing


def refusal(asking, *args, **kwargs) -> str:
    with pytest.raises(RequestError) as caught:
        asking(*args, **kwargs)
    return caught.value.message
