"""What runs in a worker asks the server: host calls and names of hosts, from wherever it runs."""

from __future__ import annotations

import asyncio
import sys

import pytest

from pipeline_app.worker.protocol import encode
from tests.pipeline_app.runners.talk import run, worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="zygotes are for Linux")

ADDRESSES = {"one.test": ["192.0.2.1", "2001:db8::1"], "m\u00fcnchen.test": ["192.0.2.2"], "none.test": []}


def answer(method, params):
    if method == "net.resolve":
        if params[0] not in ADDRESSES:
            raise LookupError(f"The policy of this function does not allow it to reach {params[0]}.")
        return ADDRESSES[params[0]]
    if method == "no":
        raise LookupError("You may not.")
    return [method, params]


SOURCE = """
import asyncio, concurrent.futures, threading
from pipeline_app.worker import hosts

def on_another_loop(make):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return pool.submit(lambda: asyncio.run(make())).result()

class Event:
    {kind} event(self, event):
        {line}
"""

WAYS = {
    "awaited": ("async def", "return await hosts.call('a', {'b': 1})"),
    "blocking the loop": ("async def", "return hosts.call_sync('a', {'b': 1})"),
    "in a thread": ("def", "return hosts.call_sync('a', {'b': 1})"),
    "in a thread of its own": (
        "async def",
        "return await asyncio.get_running_loop().run_in_executor(None, hosts.call_sync, 'a', {'b': 1})",
    ),
    "on another loop": ("def", "return asyncio.run(hosts.call('a', {'b': 1}))"),
    "on a loop of a thread without context": ("def", "return on_another_loop(lambda: hosts.call('a', {'b': 1}))"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_host_call_is_answered(way):
    async def story():
        kind, line = WAYS[way]
        async with worker(SOURCE.replace("{kind}", kind).replace("{line}", line), answer) as talk:
            assert (await talk.call("event", {}))["value"] == ["a", {"b": 1}]
            (asked,) = talk.asked
            assert asked[0] == "host"
            assert asked[2] == 2  # the number of the call: that of the load was 1

    run(story)


@pytest.mark.parametrize("line", ["return await hosts.call('no', {})", "return hosts.call_sync('no', {})"])
def test_a_refusal_is_an_exception_with_the_servers_sentence(line):
    async def story():
        async with worker(SOURCE.replace("{kind}", "async def").replace("{line}", line), answer) as talk:
            error = (await talk.call("event", {}))["error"]["data"]
            assert (error["type"], error["message"]) == ("HostError", "You may not.")

    run(story)


def test_nobody_is_asked_outside_of_calls():
    async def story():
        source = "from pipeline_app.worker import hosts\nhosts.call_sync('a', {})\n"
        async with worker(answer=answer) as talk:
            error = (await talk.load(source))["error"]["data"]
            assert error["message"].startswith("The server can only be asked while a hook runs")
            assert talk.asked == []

    run(story)


def test_many_threads_ask_at_once_and_each_gets_its_answer():
    async def story():
        line = (
            "with concurrent.futures.ThreadPoolExecutor(20) as pool:\n"
            "            return list(pool.map(lambda n: hosts.call_sync('a', {'n': n})[1]['n'], range(200)))"
        )
        async with worker(SOURCE.replace("{kind}", "def").replace("{line}", line), answer) as talk:
            assert (await talk.call("event", {}))["value"] == list(range(200))

    run(story)


def test_a_thread_that_waits_for_an_answer_can_be_stopped():
    async def story():
        source = SOURCE.replace("{kind}", "def").replace("{line}", "return hosts.call_sync('slow', {})")
        async with worker(source) as talk:
            for task in talk._tasks[1:]:
                task.cancel()  # nobody answers
            number = await talk.begin("call", "event", {}, {}, {}, None, False)
            await asyncio.sleep(0.2)
            await talk.send("stop", number, "Enough.")
            assert (await talk.end_of(number))["error"]["data"]["message"] == "Enough."

    run(story)


def test_pieces_of_an_answer_come_as_they_are_taken():
    async def story():
        line = "return [piece async for piece in hosts.parts('files.read', {'id': 'f'})]"
        async with worker(SOURCE.replace("{kind}", "async def").replace("{line}", line)) as talk:
            number = await talk.begin("call", "event", {}, {}, {}, None, False)
            while not talk.asked:
                await asyncio.sleep(0.01)
            asked = talk.asked[0]
            assert asked[2:] == [number, "files.read", {"id": "f"}]
            for piece in ("a", "b"):
                frame = encode(["part", asked[1], piece])
                await talk.send("part", asked[1], piece)
                took = await talk.until(lambda message: message[0] == "take")
                assert took == ["take", asked[1], len(frame)]
                talk.frames.clear()
            await talk.send("reply", asked[1], True, None)
            assert (await talk.end_of(number))["value"] == ["a", "b"]

    run(story)


def test_a_question_to_the_client_is_a_host_call_where_somebody_can_be_asked():
    async def story():
        source = """
            class Action:
                async def action(self, body, __event_call__):
                    return {"answer": await __event_call__({"type": "input", "data": {"title": "?"}})}
        """
        async with worker(source, answer) as talk:
            done = await talk.call("action", {}, can_ask=True)
            assert done["value"] == {"answer": ["ask", {"type": "input", "data": {"title": "?"}}]}
            done = await talk.call("action", {})
            assert done["value"] == {"answer": {"error": "Client session disconnected."}}

    run(story)


# --- Names -----------------------------------------------------------------------------------------------

NAMES = """
import asyncio, json, socket

def tried(what, *args, **kwargs):
    try:
        return what(*args, **kwargs)
    except OSError as trouble:
        return [type(trouble).__name__, trouble.args[-1]]

class Event:
    {kind} event(self, event):
        {line}
"""

LOOKUPS = {
    "addresses": (
        "[[e[0], e[4][0], e[4][1]] for e in socket.getaddrinfo('one.test', 443, type=socket.SOCK_STREAM)]",
        [[2, "192.0.2.1", 443], [10, "2001:db8::1", 443]],
    ),
    "a family": ("[e[4][0] for e in socket.getaddrinfo('one.test', 'http', socket.AF_INET6, 1)]", ["2001:db8::1"]),
    "bytes": ("socket.getaddrinfo(b'one.test', b'80', socket.AF_INET, 1)[0][4]", ["192.0.2.1", 80]),
    "a name in another script": ("socket.gethostbyname('m\\u00fcnchen.test')", "192.0.2.2"),
    "the first address": ("socket.gethostbyname('one.test')", "192.0.2.1"),
    "all addresses": ("socket.gethostbyname_ex('one.test')", ["one.test", [], ["192.0.2.1"]]),
    "a number": ("socket.getaddrinfo('127.0.0.1', 80, type=1)[0][4]", ["127.0.0.1", 80]),
    "no host": ("socket.getaddrinfo(None, 80, socket.AF_INET, 1)[0][4]", ["127.0.0.1", 80]),
    "a name where numbers are asked for": (
        "tried(socket.getaddrinfo, 'one.test', 80, flags=socket.AI_NUMERICHOST)[0]",
        "gaierror",
    ),
    "a canonical name": ("socket.getaddrinfo('one.test', 80, 2, 1, 0, socket.AI_CANONNAME)[0][3]", "one.test"),
    "a service that is none": ("tried(socket.getaddrinfo, 'one.test', 'nothing-such')[0]", "gaierror"),
    "a name without addresses": (
        "tried(socket.getaddrinfo, 'none.test', 80)",
        ["gaierror", "none.test has no address."],
    ),
    "a refusal": (
        "tried(socket.getaddrinfo, 'evil.test', 80)",
        ["gaierror", "The policy of this function does not allow it to reach evil.test."],
    ),
    "a refusal to connect": (
        "tried(socket.create_connection, ('evil.test', 80))",
        ["gaierror", "The policy of this function does not allow it to reach evil.test."],
    ),
    "a refusal to a bare socket": (
        "tried(socket.socket().connect, ('evil.test', 80))",
        ["gaierror", "The policy of this function does not allow it to reach evil.test."],
    ),
}


@pytest.mark.parametrize("what", LOOKUPS)
def test_names_are_resolved_by_the_server(what):
    async def story():
        line, expected = LOOKUPS[what]
        source = NAMES.replace("{kind}", "def").replace("{line}", f"return {line}")
        async with worker(source, answer, network="brokered") as talk:
            assert (await talk.call("event", {}))["value"] == expected
            assert all(asked[2] == 2 for asked in talk.asked)

    run(story)


def test_names_are_resolved_for_asyncio_too():
    async def story():
        line = "return [e[4][0] for e in await asyncio.get_running_loop().getaddrinfo('one.test', 80, type=1)]"
        source = NAMES.replace("{kind}", "async def").replace("{line}", line)
        async with worker(source, answer, network="brokered") as talk:
            assert (await talk.call("event", {}))["value"] == ADDRESSES["one.test"]

    run(story)


def test_without_a_network_no_name_is_asked_for():
    async def story():
        source = NAMES.replace("{kind}", "def").replace("{line}", "return tried(socket.getaddrinfo, 'one.test', 80)")
        async with worker(source, answer) as talk:
            said = "The policy of this function allows it no network (network)."
            assert (await talk.call("event", {}))["value"] == ["gaierror", said]
            assert talk.asked == []

    run(story)
