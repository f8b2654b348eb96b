"""Names to addresses, asked on behalf of one worker.

Name servers are slow when they are slow, and author code may ask for anything: so each function has threads of
its own for it, a rate, a time limit and a small memory, and a name that its policy refuses is asked of nobody.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Callable

from pipeline_app.runners.addresses import Address, Pins, Refused, Rules, literal, plain_name
from pipeline_app.runners.rate import Rate
from pipeline_app.worker.threads import Threads, port

THREADS = 4
"""How many names of one function are asked for at the same time."""
WAITING = 64
"""How many names of one worker may wait."""
A_SECOND = 100
LIMIT = 10.0
"""Seconds until whoever waits for a name is told that it takes too long."""
KEPT = 256
FRESH = 10.0
"""Seconds that an answer is used again; clients that open many connections ask for the same name each time."""
FAILED = 2.0
ADDRESSES = 16
"""How many addresses of one name are passed on."""

_threads: dict[str, Threads] = {}


def look_up(name: str) -> list[Address]:
    """Returns the addresses of a name as the server's machine knows them. Raises ``OSError``; blocks."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    addresses = (literal(str(info[4][0])) for info in found)
    return list(dict.fromkeys(address for address in addresses if address is not None))[:ADDRESSES]


class Resolver:
    """The names of one worker. ``refuse(name, port, reason)`` is told what was refused."""

    def __init__(
        self,
        function_id: str,
        rules: Rules,
        pins: Pins,
        refuse: Callable[[str, int, str], None],
        look_up: Callable[[str], list[Address]] = look_up,
    ) -> None:
        self._rules = rules
        self._pins = pins
        self._refuse = refuse
        self._look_up = look_up
        if function_id not in _threads:
            _threads[function_id] = Threads(f"names of {function_id}", THREADS)
        self._threads = _threads[function_id]
        self._rate = Rate(A_SECOND)
        self._lookups: dict[str, asyncio.Task[list[Address]]] = {}
        self._kept: OrderedDict[str, tuple[float, list[Address]]] = OrderedDict()

    async def addresses(self, asked: str, to_port: int | None) -> list[str]:
        """Returns the addresses of a name that may be connected to, in the order to try them. Raises ``Refused``."""
        if literal(asked) is not None:
            return [asked.strip("[]")]
        name = plain_name(asked)
        if not name:
            raise Refused(f"{asked[:100]!r} is no host name.")
        reason = self._rules.refused_name(name, to_port)
        if reason:
            self._refuse(name, to_port or 0, reason)
            raise Refused(f"This function may not reach {_at(name, to_port)}: {reason}.")
        found = await self._found(name)
        if not found:
            raise Refused(f"There is no host named {name}.")
        self._pins.add(name, found)
        reasons = {address: self._rules.refused(address, to_port, self._pins.names(address)) for address in found}
        usable = [str(address) for address in found if not reasons[address]]
        if not usable:
            reason = reasons[found[0]]
            self._refuse(name, to_port or 0, reason)
            raise Refused(f"This function may not reach {_at(name, to_port)}: it leads to {found[0]}, {reason}.")
        return usable

    async def _found(self, name: str) -> list[Address]:
        until, found = self._kept.get(name, (0.0, []))
        if time.monotonic() < until:
            return found
        lookup = self._lookups.get(name)
        if lookup is None:
            if len(self._lookups) >= WAITING:
                raise Refused(f"{name} was not looked up: {WAITING} other names of this function wait already.")
            lookup = self._lookups[name] = asyncio.create_task(self._ask(name), name=f"name {name}")
            lookup.add_done_callback(lambda _: self._lookups.pop(name, None))
        try:
            async with asyncio.timeout(LIMIT):
                # Shared by all who ask for the name: one who leaves doesn't stop it.
                return await asyncio.shield(lookup)
        except TimeoutError:
            raise Refused(f"Looking up {name} took longer than {LIMIT:g} s.") from None

    async def _ask(self, name: str) -> list[Address]:
        await asyncio.sleep(self._rate.take())
        try:
            found = await asked(self._threads, name, self._look_up)
        except RuntimeError:
            raise Refused(f"{name} was not looked up: the server can start no further thread.") from None
        self._kept[name] = (time.monotonic() + (FRESH if found else FAILED), found)
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return found

    def close(self) -> None:
        """Lets go of what waits; threads that wait for a name server end by themselves."""
        for lookup in self._lookups.values():
            lookup.cancel()


async def asked(threads: Threads, name: str, ask: Callable[[str], list[Address]] = look_up) -> list[Address]:
    """Returns the addresses of a name, asked for in a thread; empty when there is no such name, or no server that says.

    Raises ``RuntimeError`` when there can be no further thread.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Address]] = loop.create_future()
    home = port(loop)

    def tell(found: list[Address]) -> None:
        if not done.done():
            done.set_result(found)

    def work() -> None:
        found: list[Address] = []
        if not done.cancelled():
            try:
                found = ask(name)
            except (OSError, UnicodeError):
                pass  # told as an empty answer
        home.post(tell, found)

    threads.submit(work)
    return await done


def _at(name: str, to_port: int | None) -> str:
    return f"{name}:{to_port}" if to_port else name
