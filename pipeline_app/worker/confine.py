"""The way into the sandbox: what the zygote, and then every worker, gives up before any author code runs.

Each layer holds without the others; one that the machine does not have is left out and said so in the report. A
layer that is there but cannot be applied ends the process: nothing ever runs with less than was reported.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from . import bpf, kernel, landlock, seccomp

LINUX = sys.platform == "linux"
MEGABYTE = 1 << 20
DEVICES = ("/dev/null",)
"""What may be written beside the own folder."""

ADDRESS_SPACE = 4096 * MEGABYTE
"""Room above the memory limit for what is mapped and not used: threads' stacks, libraries, shared mappings."""

SPARE_DESCRIPTORS = 64
"""How many descriptors more than its limit a worker has until the server takes them away (``runners/layers.py``).

Descriptors in flight are counted per user against the sender's limit: a worker at its limit could otherwise keep
others from sending their first message.
"""

MOST_TASKS = 16_384
MOST_SIGNALS = 1024
MAIN_STACK = 8 * MEGABYTE
NO_CORE = 1
"""Too small for a core file; with 0, the kernel would still hand the dump to a program of the machine's that collects
crashes as root."""

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "USER": "function",
    "LOGNAME": "function",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Resolvers inside native libraries ask over TCP: no other socket could.
    "RES_OPTIONS": "use-vc",
}
"""The variables of every worker; ``HOME`` and ``TMPDIR`` are its folder."""

VARIABLES = frozenset((*ENVIRONMENT, "HOME", "TMPDIR", "LC_CTYPE", "TZ", "PWD"))
"""What an environment without additions may hold."""


class Machine(NamedTuple):
    """The layers that this kernel offers: Landlock's version (0 is none), filters, and trapping calls."""

    landlock: int
    filters: bool
    trapping: bool


def machine() -> Machine:
    """Returns what the kernel offers; after confinement still the same."""
    filters = seccomp.is_known() and seccomp.offers(bpf.ALLOW)
    return Machine(landlock.version(), filters, filters and seccomp.offers(bpf.NOTIFY))


_machine: Machine | None = None


def prepare() -> Machine:
    """Does once, in the zygote, what every fork would pay for again: builds the filters, looks at the machine."""
    global _machine
    if _machine is None:
        _machine = machine()
        if _machine.filters:
            seccomp.zygote_filter()
            for network in ("none", "brokered", "unbrokered"):
                for version in {_machine.landlock, 0}:
                    seccomp.worker_filter(network, 1, version)
    return _machine


# --- The zygote ------------------------------------------------------------------------------------------


def confine_zygote(config: Mapping[str, Any]) -> dict[str, Any]:
    """Confines the fork server before it runs any third-party code. ``config``: see ``runners/layers.py``.

    Returns a report: the layers that hold and ``notes``, a sentence for each that does not.
    """
    offered = prepare()
    report: dict[str, Any] = {"notes": []}
    _drop_capabilities(config, report)
    _restrict_files(config, [*config["writable"], *DEVICES], offered, report)
    if _wanted(config, "seccomp", offered.filters, report):
        seccomp.load(seccomp.zygote_filter())
    return report


# --- Workers ---------------------------------------------------------------------------------------------


def confine_worker(
    config: Mapping[str, Any], keep: Iterable[int], log: int | None = None
) -> tuple[dict[str, Any], int | None]:
    """Confines a process that was just forked from the zygote; ``config``: see ``runners/layers.py``.

    All descriptors but ``keep`` are closed; ``log`` becomes standard output and error. Returns the report, and the
    descriptor on which its trapped ``connect`` calls arrive, which belongs to the server.
    """
    started = time.perf_counter()
    offered = prepare()
    report: dict[str, Any] = {"pid": os.getpid(), "notes": []}
    os.setsid()
    server = _server_behind(keep) if LINUX else None
    _only_descriptors(set(keep), log)
    _fresh_signals()
    _fresh_environment(config)
    os.umask(0o077)
    os.chdir(config["scratch"])
    os.nice(5)
    report["expendable"] = _is_expendable()
    report["notes"] += _limit(config["limits"])
    if server is not None:
        _readable_for(server)
    _drop_capabilities(config, report)
    version = _restrict_files(config, [config["scratch"], *DEVICES], offered, report)
    listener = _filter_calls(config, offered, version, report)
    report["confine_ms"] = round((time.perf_counter() - started) * 1000, 3)
    return report, listener


def _only_descriptors(keep: set[int], log: int | None) -> None:
    with open(os.devnull, "rb", buffering=0) as nothing:
        os.dup2(nothing.fileno(), 0)
    if log is not None:
        os.dup2(log, 1)
        os.dup2(log, 2)
    before = 2
    for descriptor in sorted(keep - {0, 1, 2}):
        os.closerange(before + 1, descriptor)
        before = descriptor
    os.closerange(before + 1, 1 << 20)


def _fresh_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    # Broken pipes and full files are errors of the call that met them.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _fresh_environment(config: Mapping[str, Any]) -> None:
    scratch = config["scratch"]
    os.environ.clear()
    os.environ.update({**ENVIRONMENT, "HOME": scratch, "TMPDIR": scratch, **(config.get("environment") or {})})
    tempfile.tempdir = scratch
    time.tzset()


def _is_expendable() -> bool:
    """Puts the worker first in line when the machine runs out of memory; without ``/proc`` the server does it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("800")
    except OSError:
        return False
    return True


def _limit(limits: Mapping[str, Any]) -> list[str]:
    """Sets the limits of the process, soft and hard alike; returns a sentence for each that this system refuses."""
    memory = limits["memory_mb"] * MEGABYTE
    most = {
        "DATA": memory,
        "AS": memory + ADDRESS_SPACE,
        "FSIZE": limits["disk_mb"] * MEGABYTE,
        "NOFILE": limits.get("files", 256) + SPARE_DESCRIPTORS,
        "STACK": MAIN_STACK,
        "SIGPENDING": MOST_SIGNALS,
        "CORE": NO_CORE,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
        "RTPRIO": 0,
    }
    if os.geteuid() != 0:
        # Counted over all processes of the user: this leaves the server a quarter of what it may have.
        hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        most["NPROC"] = MOST_TASKS if hard == resource.RLIM_INFINITY else min(MOST_TASKS, hard * 3 // 4)
    refused = []
    for name, limit in most.items():
        which = getattr(resource, f"RLIMIT_{name}", None)
        if which is None:
            continue  # a limit of Linux only
        hard = resource.getrlimit(which)[1]
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(which, (least, least))
        except (OSError, ValueError) as error:
            if LINUX:
                raise
            refused.append(f"This system refuses the limit {name}: {error}.")
    return refused


def _server_behind(descriptors: Iterable[int]) -> int | None:
    """Returns the process id of whoever made the socket pairs."""
    for descriptor in descriptors:
        try:
            peer = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue  # no socket
        with peer:
            credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, _, _ = struct.unpack("3i", credentials)
        if pid > 0:
            return int(pid)
    return None


def _readable_for(server: int) -> None:
    """Lets the server read this process's memory also where Yama restricts that to descendants: the zygote may die."""
    try:
        kernel.prctl(kernel.PR_SET_PTRACER, server)
    except OSError:
        pass  # no Yama, or the server is gone


# --- Layers ----------------------------------------------------------------------------------------------


def _wanted(config: Mapping[str, Any], layer: str, offered: bool, report: dict[str, Any]) -> bool:
    holds = bool(config[layer] and offered)
    report[layer] = holds
    if not holds:
        report["notes"].append(
            f"{layer} is switched off." if not config[layer] else f"This machine does not offer {layer}."
        )
    return holds


def _drop_capabilities(config: Mapping[str, Any], report: dict[str, Any]) -> None:
    if _wanted(config, "capabilities", LINUX, report):
        kernel.drop_capabilities()


def _restrict_files(config: Mapping[str, Any], writable: list[str], offered: Machine, report: dict[str, Any]) -> int:
    """Returns the version of Landlock that holds."""
    most = config.get("landlock_version")
    version = offered.landlock if most is None else min(most, offered.landlock)
    if not _wanted(config, "landlock", version > 0, report):
        return 0
    version, missing = landlock.restrict(config["readable"], writable, version)
    report["landlock_version"] = version
    report["missing"] = missing
    return version


def _filter_calls(config: Mapping[str, Any], offered: Machine, version: int, report: dict[str, Any]) -> int | None:
    network: seccomp.Network = config["network"]
    report["network"] = network
    if not _wanted(config, "seccomp", offered.filters, report):
        if LINUX:
            kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        return None
    if network == "brokered" and not offered.trapping:
        report["notes"].append("This machine cannot trap connections, so there is no network.")
        report["network"] = network = "none"
    return seccomp.load(seccomp.worker_filter(network, os.getpid(), version), listener=network == "brokered")
