"""Attacks on the server, tried from inside a real worker: what they meet is what the isolation is worth.

Each probe really tries: it opens the file, makes the connection, forks. The targets are bait that the server has
laid out for it (``runners/attestation.py``), and what succeeds does no harm.
"""

from __future__ import annotations

import mmap
import os
import resource
import socket
import stat
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from . import kernel

Targets = Mapping[str, Any]
"""``pid`` and ``address``/``token`` (of a text in the server's memory), ``folder`` and ``file`` in it, ``tcp`` and
``udp`` ports on loopback, ``unix`` path, ``abstract`` name, ``variables`` (names in the server's environment),
``modules`` of the server, ``memory_mb``."""

CONNECT_SECONDS = 5.0
MOST_SOCKETS = 8
"""The channel, the line for synchronous calls, and what event loops wake themselves with."""

_MPTCP = 262
_CPU_CLOCK = 2
_MSG_FASTOPEN = 0x20000000


def run(targets: Targets) -> dict[str, dict[str, Any]]:
    """Tries everything; returns by probe whether it was ``held`` off and a ``detail`` for people."""
    results = {}
    for name, (attempts, tried) in PROBES.items():
        leaks = []
        for what, attempt in _attempts(attempts, targets).items():
            try:
                found = attempt()
            except (OSError, ValueError, MemoryError):
                continue
            except Exception as error:  # a probe that cannot be made proves nothing
                found = f"could not be tried ({type(error).__name__}: {error})"
            if found is not False:
                leaks.append(f"{what}: {found}" if isinstance(found, str) else what)
        results[name] = {"held": not leaks, "detail": f"Possible: {'; '.join(leaks)}." if leaks else tried}
    return results


def _attempts(attempts: Callable[[Targets], dict[str, Attempt]], targets: Targets) -> dict[str, Attempt]:
    try:
        return attempts(targets)
    except AttributeError as error:  # a name that Python has on Linux only
        return {f"not known on this system ({error})": lambda: True}


Attempt = Callable[[], Any]
"""Raises when it is refused, returns False when it came to nothing; anything else is a success of the attacker."""


# --- The process and what it was given -----------------------------------------------------------------------


def _process(targets: Targets) -> dict[str, Attempt]:
    return {
        "it is the server's process": lambda: os.getpid() == targets["pid"],
        "the server's modules are loaded": lambda: any(module in sys.modules for module in targets["modules"]),
        "a text of the server can be read in place": lambda: _own_memory_has(targets),
    }


def _own_memory_has(targets: Targets) -> bool:
    # Addresses that are not mapped here would end the process, so the kernel is asked to read them.
    token = targets["token"].encode()
    return bool(kernel.read_memory(os.getpid(), targets["address"], len(token)) == token)


def _environment(targets: Targets) -> dict[str, Attempt]:
    seen = sorted(set(os.environ) & set(targets["variables"]))
    return {f"the server's variables are there ({', '.join(seen)})": lambda: bool(seen)}


def _descriptors(targets: Targets) -> dict[str, Attempt]:
    return {"descriptors that are none of its own": _foreign_descriptors}


def _foreign_descriptors() -> str | bool:
    foreign, sockets = [], 0
    for descriptor in range(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            continue
        if stat.S_ISSOCK(mode):
            sockets += 1
            with socket.socket(fileno=os.dup(descriptor)) as found:
                if found.family != socket.AF_UNIX or found.getsockname():
                    foreign.append(f"socket {descriptor}")
        elif stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode):
            foreign.append(f"file {descriptor}")
    if sockets > MOST_SOCKETS:
        foreign.append(f"{sockets} sockets")
    return ", ".join(foreign) or False


def _limits(targets: Targets) -> dict[str, Attempt]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    double = 2 * targets["memory_mb"] << 20
    return {
        "memory beyond the limit": lambda: mmap.mmap(-1, double, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close(),
        "raising a limit": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most + 1, most + 1)),
        "core files": lambda: resource.getrlimit(resource.RLIMIT_CORE)[1] not in (0, 1),
        "files of any size": lambda: resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY,
    }


def _capabilities(targets: Targets) -> dict[str, Attempt]:
    return {
        "opening files against their mode": _open_against_its_mode,
        "taking precedence": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1),
        "locking memory": lambda: kernel.call("mlockall", 1),
        "having capabilities": lambda: kernel.capabilities() != 0,
    }


def _open_against_its_mode() -> None:
    name = f"closed-{time.monotonic_ns()}"
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0))
    try:
        _read(name)
    finally:
        os.unlink(name)


def _no_new_privs(targets: Targets) -> dict[str, Attempt]:
    return {"privileges through a program": lambda: kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS) != 1}


# --- System calls ----------------------------------------------------------------------------------------------


def _programs(targets: Targets) -> dict[str, Attempt]:
    return {"forking": _fork, "starting a program": _spawn}


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _spawn() -> None:
    child = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", "pass"], {})
    os.waitpid(child, 0)


def _signals(targets: Targets) -> dict[str, Attempt]:
    server: int = targets["pid"]
    return {
        "signals to the server": lambda: os.kill(server, 0),
        "signals to its threads": lambda: kernel.call("tkill", server, 0),
        "a handle on the server": lambda: os.close(os.pidfd_open(server)),
        "the server's limits": lambda: resource.prlimit(server, resource.RLIMIT_NOFILE),
        "the server's priority": lambda: os.setpriority(
            os.PRIO_PROCESS, server, os.getpriority(os.PRIO_PROCESS, server)
        ),
        "the server's processors": lambda: os.sched_setaffinity(server, os.sched_getaffinity(server)),
        "asking which processes there are": lambda: os.getpgid(server),
        "the server's CPU time": lambda: time.clock_gettime(~server << 3 | _CPU_CLOCK),
    }


def _memory(targets: Targets) -> dict[str, Attempt]:
    size = len(targets["token"])
    return {"the server's memory": lambda: kernel.read_memory(targets["pid"], targets["address"], size) != b""}


def _calls(targets: Targets) -> dict[str, Attempt]:
    def opened(name: str, *arguments: int | bytes) -> Attempt:
        return lambda: os.close(kernel.call(name, *arguments))

    return {
        "files in memory": opened("memfd_create", b"probe\0", 0),
        "watching files": opened("inotify_init1", 0),
        "io_uring": opened("io_uring_setup", 1, bytes(120)),
        "namespaces": lambda: kernel.call("unshare", 0),
        "keys": lambda: kernel.call("keyctl", 0, 2**32 - 3, 0),
        "aiming datagrams": _datagram_pair,
        "changing modes of files": lambda: _changed_mode(targets["file"]),
        "another filter": lambda: kernel.call("seccomp", 2, 0, (0x7FFF0000).to_bytes(4, sys.byteorder)),
    }


def _datagram_pair() -> None:
    for end in socket.socketpair(type=socket.SOCK_DGRAM):
        end.close()


def _changed_mode(path: str) -> bool:
    before = os.stat(path).st_mode
    os.chmod(path, 0o640)
    return os.stat(path).st_mode != before


def _sockets(targets: Targets) -> dict[str, Attempt]:
    def made(family: int, kind: int, protocol: int = 0) -> Attempt:
        return lambda: socket.socket(family, kind, protocol).close()

    return {
        "UDP": lambda: _datagram(targets["udp"]),
        "Unix sockets": made(socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": made(socket.AF_NETLINK, socket.SOCK_RAW),
        "multipath TCP": made(socket.AF_INET, socket.SOCK_STREAM, _MPTCP),
        "raw sockets": made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "listening": _listen,
    }


def _datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"probe", ("127.0.0.1", port))


def _listen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.listen()


# --- Network ------------------------------------------------------------------------------------------------------


def _network(targets: Targets) -> dict[str, Attempt]:
    return {
        "TCP to the server's machine": lambda: _connect(socket.AF_INET, ("127.0.0.1", targets["tcp"])),
        "TCP fast open": lambda: _fast_open(targets["tcp"]),
        "Unix sockets by path": lambda: _connect(socket.AF_UNIX, targets["unix"]),
        "abstract Unix sockets": lambda: _connect(socket.AF_UNIX, "\0" + targets["abstract"]),
    }


def _connect(family: int, address: Any) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(CONNECT_SECONDS)
        client.connect(address)


def _fast_open(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.sendto(b"probe", _MSG_FASTOPEN, ("127.0.0.1", port))


# --- Files --------------------------------------------------------------------------------------------------------


def _reading(targets: Targets) -> dict[str, Attempt]:
    link = f"link-{time.monotonic_ns()}"

    def through_a_link() -> None:
        os.symlink(targets["file"], link)
        try:
            _read(link)
        finally:
            os.unlink(link)

    return {
        "reading the server's files": lambda: _read(targets["file"]),
        "reading them through a link": through_a_link,
        "listing its folders": lambda: os.listdir(targets["folder"]),
        "listing /": lambda: os.listdir("/"),
        "the folders of other functions": lambda: os.listdir(".."),
    }


def _read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def _writing(targets: Targets) -> dict[str, Attempt]:
    folder = targets["folder"]

    def appended() -> None:
        with open(targets["file"], "ab") as file:
            file.write(b"probe")

    def made() -> None:
        with open(f"{folder}/probe", "xb"):
            pass

    return {
        "changing the server's files": appended,
        "emptying them": lambda: os.truncate(targets["file"], 0),
        "emptying them while opening": lambda: os.close(os.open(targets["file"], os.O_RDONLY | os.O_TRUNC)),
        "making files": made,
        "making folders": lambda: os.mkdir(f"{folder}/probe-folder"),
        "renaming": lambda: os.rename(targets["file"], f"{folder}/renamed"),
        "taking files by a hard link": lambda: os.link(targets["file"], f"taken-{time.monotonic_ns()}"),
        "removing files": lambda: os.unlink(f"{folder}/removable"),
    }


def _processes(targets: Targets) -> dict[str, Attempt]:
    return {
        "the server's variables": lambda: _read(f"/proc/{targets['pid']}/environ"),
        "the server's command line": lambda: _read(f"/proc/{targets['pid']}/cmdline"),
        "its memory as a file": lambda: _read_at(f"/proc/{targets['pid']}/mem", targets["address"]),
        "the list of processes": lambda: os.listdir("/proc"),
    }


def _read_at(path: str, offset: int) -> None:
    with open(path, "rb", buffering=0) as file:
        os.pread(file.fileno(), 1, offset)


def _view(targets: Targets) -> dict[str, Attempt]:
    return {
        "whether a path exists, its size and times": lambda: os.stat(targets["folder"]),
        "whether it could be read": lambda: os.access(targets["folder"], os.F_OK),
    }


PROBES: Mapping[str, tuple[Callable[[Targets], dict[str, Attempt]], str]] = {
    "process": (_process, "A process of its own, with nothing of the server in its memory."),
    "environment": (_environment, "None of the server's variables."),
    "descriptors": (_descriptors, "No file and no connection of the server is open."),
    "limits": (_limits, "Memory, file sizes and descriptors are limited, and the limits cannot be raised."),
    "capabilities": (_capabilities, "None."),
    "no_new_privs": (_no_new_privs, "No program could give it more rights."),
    "programs": (_programs, "Forking and starting programs are refused."),
    "signals": (_signals, "No signal, limit, priority or handle reaches the server."),
    "memory": (_memory, "The server's memory cannot be read."),
    "calls": (_calls, "Namespaces, keys, io_uring and their like are refused."),
    "sockets": (_sockets, "Nothing but TCP clients."),
    "network": (_network, "Addresses of this machine are refused."),
    "reading": (_reading, "The server's files and folders cannot be read."),
    "writing": (_writing, "Nothing outside of its own folder can be made, changed or removed."),
    "processes": (_processes, "Other processes cannot be looked at."),
    "view": (_view, "The server's files are not there at all, not even for looking at their size."),
}
"""The probes by name, and what is said when all their attempts are refused."""
