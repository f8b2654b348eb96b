from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from ipaddress import ip_address

import pytest

from pipeline_app.runners import resolver
from pipeline_app.runners.addresses import LOOPBACK, METADATA, NO_NETWORK, NOT_ALLOWED, Pins, Refused, Rules
from pipeline_app.runners.resolver import Resolver


class Names:
    """A name server of one's own: what it says, how often it was asked, and how long it takes."""

    def __init__(self, **known: str) -> None:
        self.known = {
            name.replace("_", "."): [ip_address(text) for text in texts.split()] for name, texts in known.items()
        }
        self.asked: list[str] = []
        self.slow = threading.Event()
        self.slow.set()
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, name):
        with self._lock:
            self.asked.append(name)
            self.running += 1
            self.most = max(self.most, self.running)
        self.slow.wait(20)
        with self._lock:
            self.running -= 1
        if name not in self.known:
            raise OSError("no such name")
        return self.known[name]


def resolving(names: Names, network: str = "public", allow: tuple[str, ...] = (), function_id: str = "f"):
    refused: list[tuple] = []
    pins = Pins()
    rules = Rules(network, allow)
    made = Resolver(function_id, rules, pins, lambda *told: refused.append(told), names)
    return made, pins, refused


async def refusal(made: Resolver, name: str, port: int | None = None) -> str:
    with pytest.raises(Refused) as caught:
        await made.addresses(name, port)
    return str(caught.value)


async def test_a_name_gives_addresses_and_is_pinned_to_them():
    names = Names(api_test="93.184.216.34 2606:2800:220:1::1")
    made, pins, refused = resolving(names)
    assert await made.addresses("API.test.", 443) == ["93.184.216.34", "2606:2800:220:1::1"]
    assert pins.names(ip_address("93.184.216.34")) == ("api.test",)
    assert refused == []


async def test_nothing_is_asked_about_a_name_that_is_refused():
    names = Names(secret_tunnel_test="93.184.216.34", ok_test="93.184.216.34")
    made, _, refused = resolving(names, "none", ("ok.test:443",))
    assert await refusal(made, "secret.tunnel.test", 443) == (
        "This function may not reach secret.tunnel.test:443: not on the allow list of its policy."
    )
    assert await refusal(made, "ok.test", 80) == (
        "This function may not reach ok.test:80: not on the allow list of its policy."
    )
    assert names.asked == []
    assert refused == [("secret.tunnel.test", 443, NOT_ALLOWED), ("ok.test", 80, NOT_ALLOWED)]
    assert await made.addresses("ok.test", 443) == ["93.184.216.34"]
    assert await made.addresses("ok.test", None) == ["93.184.216.34"]
    made, _, refused = resolving(names, "none")
    assert await refusal(made, "ok.test") == "This function may not reach ok.test: its policy gives it no network."
    assert refused == [("ok.test", 0, NO_NETWORK)]


async def test_a_name_that_leads_home_is_refused_and_says_where_it_leads():
    names = Names(rebind_test="127.0.0.1", meta_test="169.254.169.254", both_test="127.0.0.1 93.184.216.34")
    made, _, refused = resolving(names, allow=("rebind.test",))
    assert await refusal(made, "rebind.test", 80) == (
        "This function may not reach rebind.test:80: it leads to 127.0.0.1, a loopback address."
    )
    assert "a cloud metadata address" in await refusal(made, "meta.test", 80)
    assert await made.addresses("both.test", 80) == ["93.184.216.34"]
    assert refused == [("rebind.test", 80, LOOPBACK), ("meta.test", 80, METADATA)]


async def test_addresses_are_themselves_and_what_is_no_name_is_said():
    made, _, _ = resolving(Names())
    assert await made.addresses("127.0.0.1", 80) == ["127.0.0.1"]
    assert await made.addresses("[::1]", 80) == ["::1"]
    for text in ("", "a b", "a\x00.test", "x" * 5000, "\ud800"):
        assert "is no host name" in await refusal(made, text)


async def test_an_unknown_name_is_said_and_remembered_shortly(monkeypatch):
    names = Names()
    made, _, refused = resolving(names)
    assert await refusal(made, "nowhere.test") == "There is no host named nowhere.test."
    assert await refusal(made, "nowhere.test") == "There is no host named nowhere.test."
    assert names.asked == ["nowhere.test"]
    assert refused == []


async def test_answers_are_used_again_for_a_while(monkeypatch):
    names = Names(api_test="93.184.216.34")
    made, _, _ = resolving(names)
    for _ in range(3):
        await made.addresses("api.test", 443)
    assert names.asked == ["api.test"]
    monkeypatch.setattr(resolver.time, "monotonic", lambda now=time.monotonic: now() + resolver.FRESH + 1)
    await made.addresses("api.test", 443)
    assert names.asked == ["api.test"] * 2


async def test_everybody_who_asks_for_a_name_waits_for_one_answer():
    names = Names(api_test="93.184.216.34")
    names.slow.clear()
    made, _, _ = resolving(names)
    waiting = [asyncio.create_task(made.addresses("api.test", 443)) for _ in range(50)]
    while not names.asked:
        await asyncio.sleep(0.01)
    waiting[0].cancel()
    names.slow.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert results[1:] == [["93.184.216.34"]] * 49
    assert names.asked == ["api.test"]


async def test_slow_names_of_one_function_hold_its_own_threads_only(monkeypatch):
    monkeypatch.setattr(resolver, "LIMIT", 0.3)
    slow = Names(**{f"n{number}_test": "93.184.216.34" for number in range(100)})
    slow.slow.clear()
    made, _, _ = resolving(slow, function_id="hostile")
    asking = [asyncio.create_task(refusal(made, f"n{number}.test")) for number in range(80)]
    quick = Names(api_test="93.184.216.34")
    other, _, _ = resolving(quick, function_id="neighbour")
    assert await other.addresses("api.test", 443) == ["93.184.216.34"]
    said = await asyncio.gather(*asking)
    assert sum("took longer than 0.3 s" in sentence for sentence in said) == resolver.WAITING
    assert sum("64 other names of this function wait already" in sentence for sentence in said) == 16
    assert slow.most <= resolver.THREADS
    slow.slow.set()
    while made._lookups:
        await asyncio.sleep(0.01)


async def test_closing_lets_go_of_whoever_waits():
    names = Names(api_test="93.184.216.34")
    names.slow.clear()
    made, _, _ = resolving(names)
    waiting = asyncio.create_task(made.addresses("api.test", 443))
    while not names.asked:
        await asyncio.sleep(0.01)
    made.close()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()
    names.slow.set()


def test_the_machines_own_names_are_looked_up():
    assert ip_address("127.0.0.1") in resolver.look_up("localhost")
