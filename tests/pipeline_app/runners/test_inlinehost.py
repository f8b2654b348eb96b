"""Host calls of the inline runner's functions: from the loop, from threads, and from the loop's own thread."""

from __future__ import annotations

import asyncio

import pytest

from functions_app.policy import Policy
from pipeline_app.errors import RequestError
from pipeline_app.runners.base import Identity
from pipeline_app.runners.inlinehost import InlineHost
from pipeline_app.worker.hosts import HostError

KEPT = {"name": "Ann", "info": {}}


class Calls:
    """Answers like the server's, with something to answer, to refuse and to stream."""

    async def call(self, identity, method, params):
        if method == "refused":
            raise RequestError("You may not.")
        if method == "streamed":
            return self._stream(params["break"])
        return KEPT if method == "kept" else [identity.function_id, method, params]

    async def _stream(self, breaks):
        yield "one"
        if breaks:
            raise RequestError("It broke.")
        yield "two"


@pytest.fixture
def host():
    return InlineHost(Calls(), Identity(None, Policy(), "f", "pipe"))


async def test_a_call_is_answered_for_its_own_function(host):
    assert await host.call("ask", {"a": 1}) == ["f", "ask", {"a": 1}]
    assert await asyncio.to_thread(host.call_sync, "ask", {"a": 1}) == ["f", "ask", {"a": 1}]


async def test_the_loops_own_thread_may_wait(host):
    assert host.call_sync("ask", {}) == ["f", "ask", {}]


async def test_authors_get_copies(host):
    (await host.call("kept", {}))["info"]["x"] = 1
    assert KEPT == {"name": "Ann", "info": {}}


async def test_refusals_are_the_sentence_alone(host):
    with pytest.raises(HostError, match=r"^You may not\.$"):
        await host.call("refused", {})
    with pytest.raises(HostError, match=r"^You may not\.$"):
        host.call_sync("refused", {})


async def test_streams_come_in_pieces_or_as_a_list(host):
    assert [part async for part in host.parts("streamed", {"break": False})] == ["one", "two"]
    assert host.call_sync("streamed", {"break": False}) == ["one", "two"]
    with pytest.raises(HostError, match=r"^It broke\.$"):
        await host.call("streamed", {"break": True})
