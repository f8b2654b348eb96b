"""A case as data: an attack in the words of a function's author, and the outcomes that are right."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

HELD = "held"
"""The attack was refused inside the function, which went on and said so."""
WORKS = "works"
"""What an honest function does too did work."""
ANSWER = "answer"
"""Some answer came that claims no leak; what counts is that nothing happened outside."""
FAILED = "failed"
"""The function's own error: the exception reached the client with its type."""
KILLED = "killed"
"""The worker died and its calls were told so."""
MEMORY = "memory"
"""Stopped at the memory limit: a MemoryError inside, or the worker ended by the watch."""
TIME = "time"
CPU = "cpu"
DISK = "disk"
THREADS = "threads"
OUTPUT = "output"
REFUSED = "refused"
"""The version does not load; the reason is on it."""
NOT_FOUND = "not found"
"""The request asks for a model that there is not; the server says so."""
LEAK = "leak"
"""The attack says that it came through. Never right."""

ANY_ERROR = (FAILED, KILLED, MEMORY, TIME, CPU, DISK, THREADS, OUTPUT)
UNHARMED = (HELD, WORKS, ANSWER, *ANY_ERROR)
"""Any clear result or error: only the server and its other functions matter."""

HEAD = '''
import asyncio, ctypes, errno, gc, json, mmap, os, signal, socket, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSYS}


def syscall(number, *arguments):
    """A raw system call; integers go as long, the rest as ctypes takes it."""
    ctypes.set_errno(0)
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(ctypes.c_long(number), *given)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attempt(do, *arguments, also=(errno.ENOENT, errno.EROFS)):
    """What an attack came to: held when the system refuses it, a leak when it does anything else."""
    try:
        result = do(*arguments)
    except socket.gaierror as error:
        return f"held: no address: {error}"
    except OSError as error:
        if error.errno in REFUSALS or error.errno in also:
            return f"held: {errno.errorcode[error.errno]}"
        return f"LEAK: it was tried: {error!r}"
    return f"LEAK: {len(result)} bytes" if isinstance(result, bytes) else f"LEAK: {result!r:.300}"


def read(path):
    with open(path, "rb") as file:
        return file.read(64)


def write(path, mode="wb"):
    with open(path, mode) as file:
        file.write(b"hostile")
    return f"wrote {path}"


def connect(host, port, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect((host, port))
        return client.getpeername()


def sockets():
    """Numbers of the descriptors that lead to the server: first that of frames, then that of synchronous questions."""
    found = []
    for number in range(3, 256):
        try:
            copy = os.dup(number)
        except OSError:
            continue
        try:
            with socket.socket(fileno=copy) as one:
                peer = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
                if one.family == socket.AF_UNIX and one.type == socket.SOCK_STREAM and peer != os.getpid():
                    found.append(number)
        except OSError:
            os.close(copy)
    return found


def send_all(number, data):
    """Writes to a descriptor, blocking or not, for at most a few seconds."""
    end = time.monotonic() + 5
    view = memoryview(data)
    while view and time.monotonic() < end:
        try:
            view = view[os.write(number, view):]
        except BlockingIOError:
            time.sleep(0.005)


def frame(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return struct.pack(">I", len(data)) + data


def victim(body):
    return json.loads(body["messages"][-1]["content"])
'''

CALLED = """

class Pipe:
    def pipe(self, body):
        return attack(victim(body))
"""
AWAITED = """

class Pipe:
    async def pipe(self, body):
        return await attack(victim(body))
"""
PULLED = """

class Pipe:
    def pipe(self, body):
        yield from attack(victim(body))
"""
PULLED_ASYNC = """

class Pipe:
    async def pipe(self, body):
        async for item in attack(victim(body)):
            yield item
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One attack. ``number`` is that of the list in the docs; ``expect`` are the outcomes that are right.

    ``layer`` says what stops it. ``needs`` names the layer without which it is not run, because it would
    do harm then; ``open_without`` the only layer that stops it. ``marks`` are texts that the answer must contain.
    ``runs`` says how it is driven: as a chat, streamed, left unread or left early, as a filter of another's chat,
    through the list of models, or by being published.
    """

    number: int
    name: str
    category: str
    source: str = field(repr=False)
    expect: tuple[str, ...]
    layer: str
    policy: dict[str, Any] = field(default_factory=dict)
    needs: str = ""
    open_without: str = ""
    runs: str = "chat"
    marks: tuple[str, ...] = ()
    seconds: float = 0.0
    """How long it takes by its nature, for those that wait for a limit."""

    @property
    def function_id(self) -> str:
        return f"case_{self.number}"

    def __str__(self) -> str:
        return f"{self.number}-{self.name.replace(' ', '_').replace('/', '_')}"


class Chapter:
    """The cases of one category, with what most of them share."""

    def __init__(self, category: str, expect: Iterable[str] = (HELD,), layer: str = "", **shared: Any) -> None:
        self.category = category
        self.expect = tuple(expect)
        self.layer = layer
        self.shared = shared
        self.cases: list[Case] = []

    def __call__(self, number: int, name: str, attack: str, expect: Iterable[str] | str = (), **more: Any) -> None:
        """Adds a case. ``attack`` is the body of a function of ``v``, an ``attack`` function, or a whole source."""
        expected = (expect,) if isinstance(expect, str) else tuple(expect)
        settled = {**self.shared, **more}
        layer = settled.pop("layer", self.layer)
        self.cases.append(
            Case(number, name, self.category, source_of(attack), expected or self.expect, layer, **settled)
        )

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)


def source_of(attack: str) -> str:
    """Returns a whole function around an attack."""
    text = textwrap.dedent(attack).strip("\n")
    if "class Pipe" in text or "class Filter" in text or "class Action" in text:
        return f"{HEAD}\n\n{text}\n"
    if "def attack(" not in text:
        text = "def attack(v):\n" + textwrap.indent(text, "    ")
    awaited = "async def attack(" in text
    pulled = "\n    yield" in text or " yield " in text
    tail = (PULLED_ASYNC if pulled else AWAITED) if awaited else (PULLED if pulled else CALLED)
    return f"{HEAD}\n\n{text}\n{tail}"
