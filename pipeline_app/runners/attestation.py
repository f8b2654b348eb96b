"""What the isolation is worth, found out by attacks that a real worker makes on bait, never by what is configured."""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pipeline_app.worker.confine import VARIABLES

Results = Mapping[str, Mapping[str, Any]]
"""Probes by name, each ``{"held": bool, "detail": str}`` (``pipeline_app/worker/probes.py``)."""

LAYERS: Mapping[str, tuple[str, ...]] = {
    "own process": ("process",),
    "clean environment": ("environment",),
    "no inherited descriptors": ("descriptors",),
    "resource limits": ("limits",),
    "no capabilities": ("capabilities",),
    "no new privileges": ("no_new_privs",),
    "system calls (seccomp)": ("programs", "signals", "memory", "calls", "sockets"),
    "network": ("network",),
    "files (Landlock)": ("reading", "writing", "processes"),
    "mount view (bubblewrap)": ("view",),
}
"""The layers as they are shown, each with the probes that it holds off."""

LEVELS: Mapping[str, tuple[str, ...]] = {
    "process": ("own process", "clean environment", "no inherited descriptors"),
    "basic": ("resource limits", "no capabilities", "no new privileges", "system calls (seccomp)", "network"),
    "standard": ("files (Landlock)",),
    "strict": ("mount view (bubblewrap)",),
}
"""What each level asks for on top of the one before."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """Whether a layer held in the probe worker; ``detail`` is for people."""

    name: str
    held: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Attestation:
    """The level that the probes found, layer by layer, with their own words."""

    level: str
    layers: tuple[LayerReport, ...]
    results: Results = field(repr=False)

    @classmethod
    def of(cls, results: Results) -> Attestation:
        """Returns what follows from the probes' results."""
        return cls(level_of(results), tuple(_report(name, results) for name in LAYERS), results)

    def to_wire(self) -> dict[str, Any]:
        """Returns it as plain JSON, for health checks and pages."""
        layers = [{"name": layer.name, "held": layer.held, "detail": layer.detail} for layer in self.layers]
        return {"level": self.level, "layers": layers}

    def __str__(self) -> str:
        missing = [layer.name for layer in self.layers if not layer.held]
        return f"Isolation: {self.level}." + (f" Not held: {', '.join(missing)}." if missing else " All layers hold.")


INLINE = Attestation(
    "inline",
    tuple(LayerReport(name, False, "Functions run in the server's own process.") for name in LAYERS),
    {},
)
"""What the inline runner offers."""


def level_of(results: Results) -> str:
    """Returns the isolation level that the probes' results amount to; a probe without a result did not hold."""
    reached = "inline"
    for level, layers in LEVELS.items():
        if not all(_report(name, results).held for name in layers):
            break
        reached = level
    return reached


def _report(name: str, results: Results) -> LayerReport:
    probes = LAYERS[name]
    missing = [probe for probe in probes if probe not in results]
    if missing:
        return LayerReport(name, False, f"Not probed: {', '.join(missing)}.")
    broken = [probe for probe in probes if results[probe]["held"] is not True]
    return LayerReport(name, not broken, " ".join(str(results[probe]["detail"]) for probe in broken or probes))


async def attest(ask: Callable[[dict[str, Any]], Awaitable[Results]], memory_mb: int = 512) -> Attestation:
    """Lays out bait, lets a worker attack it, and returns what held.

    ``ask`` puts the question "probe" with its targets to a real worker whose function may use the network, under
    ``memory_mb``; what it raises comes through.
    """
    with await asyncio.to_thread(Bait) as bait:
        results = await ask({**bait.targets, "memory_mb": memory_mb})
        return Attestation.of(await asyncio.to_thread(bait.checked, results))


class Bait:
    """Files, listeners and a text in memory that nobody but the server has any business with."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="webui-functions-bait-"))
        self._file = self._folder / "secret"
        token = secrets.token_hex(16)
        self._file.write_text(token)
        self._file.chmod(0o600)
        (self._folder / "removable").touch()
        self._before = self._seen()
        self._memory = ctypes.create_string_buffer(token.encode())
        abstract = f"webui-functions-bait-{secrets.token_hex(8)}"
        self._sockets = {
            "TCP": _listener(socket.AF_INET, ("127.0.0.1", 0)),
            "UDP": _bound(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "Unix": _listener(socket.AF_UNIX, str(self._folder / "socket")),
            "abstract Unix": _listener(socket.AF_UNIX, f"\0{abstract}"),
        }
        self.targets: dict[str, Any] = {
            "pid": os.getpid(),
            "token": token,
            "address": ctypes.addressof(self._memory),
            "folder": str(self._folder),
            "file": str(self._file),
            "tcp": self._sockets["TCP"].getsockname()[1],
            "udp": self._sockets["UDP"].getsockname()[1],
            "unix": str(self._folder / "socket"),
            "abstract": abstract,
            "variables": sorted(set(os.environ) - VARIABLES),
            "modules": ["django", "functions_app"],
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._sockets.values():
            listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def checked(self, results: Results) -> Results:
        """Returns the results with what only this side can see: a contact, a changed file."""
        seen = dict(results)
        contacts = [name for name, listener in self._sockets.items() if _was_contacted(listener)]
        if contacts:
            seen["network"] = {"held": False, "detail": f"Reached the server over {', '.join(contacts)}."}
        if self._seen() != self._before:
            seen["writing"] = {"held": False, "detail": "Possible: changing the server's files."}
        return seen

    def _seen(self) -> list[tuple[str, int, int, int]]:
        stats = ((path.name, path.lstat()) for path in sorted(self._folder.iterdir()) if not path.is_socket())
        return [(name, found.st_mode, found.st_size, found.st_mtime_ns) for name, found in stats]


def _bound(family: int, kind: int, address: Any) -> socket.socket:
    bound = socket.socket(family, kind)
    bound.setblocking(False)
    bound.bind(address)
    return bound


def _listener(family: int, address: Any) -> socket.socket:
    listener = _bound(family, socket.SOCK_STREAM, address)
    listener.listen()
    return listener


def _was_contacted(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_DGRAM:
            listener.recv(16)
        else:
            listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
