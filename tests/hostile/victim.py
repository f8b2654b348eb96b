"""What the attacks are after: files, secrets, listeners and processes that notice any contact."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import socket
import sqlite3
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline_app.runners import environments
from tests.settings import CHECKOUT

CALLS = [
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "clone",
    "clone3",
    "prctl",
    "mount",
    "unshare",
    "setns",
    "chroot",
    "pivot_root",
    "keyctl",
    "add_key",
    "bpf",
    "userfaultfd",
    "io_uring_setup",
    "perf_event_open",
    "init_module",
    "kexec_load",
    "reboot",
    "syslog",
    "open_by_handle_at",
    "name_to_handle_at",
    "personality",
    "modify_ldt",
    "shmget",
    "msgget",
    "mq_open",
    "memfd_create",
    "seccomp",
    "landlock_create_ruleset",
    "fanotify_init",
    "statmount",
    "clock_settime",
    "sethostname",
    "acct",
    "quotactl",
    "swapon",
    "mlock",
    "connect",
    "openat2",
    "process_madvise",
    "pidfd_open",
    "pidfd_getfd",
    "rt_tgsigqueueinfo",
    "kcmp",
    "io_uring_enter",
    "execveat",
    "execve",
    "vfork",
    "fork",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "memfd_secret",
    "landlock_restrict_self",
    "setrlimit",
    "ioprio_set",
    "sched_setscheduler",
    "sched_setattr",
    "mseal",
    "fchmodat2",
    "close_range",
    "open_tree",
    "move_mount",
    "fsopen",
    "cachestat",
    "listmount",
    "lsm_set_self_attr",
    "socketcall",
    "dup3",
    "set_robust_list",
]


def secret() -> str:
    """Returns a text that occurs nowhere else, in the shape that attacks look for in memory."""
    return f"HX-{secrets.token_hex(16)}"


class _Allowed(BaseHTTPRequestHandler):
    """The one address that functions may call: it plays the internet."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests += 1  # type: ignore[attr-defined]
        body, status = b"allowed", 200
        if self.path.startswith("/to/"):
            status = 302
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://" + self.path.removeprefix("/to/"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: hundreds of requests come."""


class Victim:
    """Everything of value in and around one server. ``contacts()`` and ``changes()`` tell what attacks have touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = "hostile-" + secrets.token_hex(8)
        self.environment_secret, self.file_secret, self.valve_secret = secret(), secret(), secret()
        folder.mkdir(parents=True)
        self.home = folder / "home"
        self.home.mkdir()
        self.env_file = folder / ".env"
        self.env_file.write_text(f"PASSWORD={self.file_secret}\n")
        self.notes = folder / "notes.txt"
        self.notes.write_text("as it was\n" * 20)
        os.chmod(self.notes, 0o644)
        self.database = folder / "secrets.sqlite3"
        with contextlib.closing(sqlite3.connect(self.database)) as database:
            database.execute("CREATE TABLE secrets (word TEXT)")
            database.execute("INSERT INTO secrets VALUES (?)", (self.file_secret,))
            database.commit()
        site = environments.base_path()
        assert site is not None
        self.site = site
        self.runtime = CHECKOUT / "pipeline_app" / "worker"
        self.granted = next(site.glob("pydantic-*.dist-info")) / "INSTALLER"
        self.in_tmp = Path(tempfile.gettempdir()) / self.token
        self.in_site = site / f"{self.token}.txt"
        self.in_runtime = self.runtime / f"{self.token}.txt"
        self._traces = (
            self.in_tmp, self.in_site, self.in_runtime, self.home / ".profile", Path("/dev/shm") / self.token,
            Path("/dev/shm") / f"{self.token}m",
        )  # fmt: skip
        self._before = {path: self._state(path) for path in self._watched()}
        self._contents = {path: path.read_bytes() for path in (self.notes, self.granted, self.env_file)}
        self._listen()

    def _watched(self) -> list[Path]:
        return [self.env_file, self.notes, self.database, self.granted, self.folder, self.home]

    @staticmethod
    def _state(path: Path) -> tuple[Any, ...] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        size = 0 if path.is_dir() else status.st_size
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = sorted(os.listxattr(path)) if hasattr(os, "listxattr") else []
        return status.st_mode, status.st_uid, status.st_gid, size, status.st_mtime_ns, tuple(names)

    # Listeners: nobody serves them, the kernel keeps who came

    def _listen(self) -> None:
        self._sockets: dict[str, socket.socket] = {}
        self.tcp = self._bind("tcp", socket.AF_INET, socket.SOCK_STREAM, ("0.0.0.0", 0))[1]
        self.udp = self._bind("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))[1]
        try:
            self.tcp6 = self._bind("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))[1]
        except OSError:
            self.tcp6 = self.tcp  # no IPv6 here: the address is refused before anybody asks for it
        self.unix, self.unix_datagram = str(self.folder / "unix"), str(self.folder / "datagram")
        self._bind("unix", socket.AF_UNIX, socket.SOCK_STREAM, self.unix)
        self._bind("unix datagram", socket.AF_UNIX, socket.SOCK_DGRAM, self.unix_datagram)
        self._bind("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.token)
        self.web = ThreadingHTTPServer(("127.0.0.1", 0), _Allowed)
        self.web.requests = 0  # type: ignore[attr-defined]
        self.allowed = self.web.server_port
        self._thread = threading.Thread(target=self.web.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()
        self._before[self.folder] = self._state(self.folder)

    def _bind(self, name: str, family: int, kind: int, address: Any) -> Any:
        made = socket.socket(family, kind)
        made.setblocking(False)
        try:
            made.bind(address)
            if kind == socket.SOCK_STREAM:
                made.listen(512)
        except OSError:
            made.close()
            raise
        self._sockets[name] = made
        return made.getsockname()

    def contacts(self) -> list[str]:
        """Returns who was reached since the last question."""
        found = []
        for name, listener in self._sockets.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    if listener.type == socket.SOCK_STREAM:
                        listener.accept()[0].close()
                    else:
                        listener.recv(65536)
                    found.append(name)
        return found

    def changes(self) -> list[str]:
        """Returns what was changed, made or removed since the last question, and puts it back."""
        found = []
        for path in self._traces:
            if path.exists():
                found.append(f"{path} was written")
                path.unlink()
        for path in self._watched():
            now = self._state(path)
            if now != self._before[path]:
                if path not in (self.folder, self.home):
                    found.append(f"{path.name} was changed: {self._before[path]} became {now}")
                if path in self._contents and (now is None or path.read_bytes() != self._contents[path]):
                    path.write_bytes(self._contents[path])
                if path in self._contents:
                    os.chmod(path, 0o644)
                self._before[path] = self._state(path)
        return found

    def leaked(self, text: str) -> list[str]:
        """Returns which secrets occur in a text."""
        known = {
            "the server's environment": self.environment_secret,
            "a file of the server": self.file_secret,
            "valves of another function": self.valve_secret,
        }
        return [name for name, word in known.items() if word in text]

    def told(self, **more: Any) -> dict[str, Any]:
        """Returns what attacks are told: where everything is, and nothing secret itself."""
        from pipeline_app.worker import syscalls

        numbers = syscalls.NUMBERS[os.uname().machine]
        return {
            "nr": {name: numbers.get(name, 600) for name in CALLS},
            "token": self.token,
            "folder": str(self.folder),
            "env_file": str(self.env_file),
            "database": str(self.database),
            "notes": str(self.notes),
            "home": str(self.home),
            "site": str(self.site),
            "runtime": str(self.runtime),
            "granted": str(self.granted),
            "in_tmp": str(self.in_tmp),
            "in_site": str(self.in_site),
            "in_runtime": str(self.in_runtime),
            "tcp": self.tcp,
            "tcp6": self.tcp6,
            "udp": self.udp,
            "allowed": self.allowed,
            "unix": self.unix,
            "unix_datagram": self.unix_datagram,
            "abstract": self.token,
            "hostname": socket.gethostname(),
            "digests": [
                hashlib.sha256(word.encode()).hexdigest()
                for word in (self.environment_secret, self.file_secret, self.valve_secret)
            ],
            **more,
        }

    def close(self) -> None:
        """Stops listening and removes what attacks have left."""
        self.web.shutdown()
        self._thread.join()
        self.web.server_close()
        for listener in self._sockets.values():
            listener.close()
        for path in self._traces:
            path.unlink(missing_ok=True)


def message(told: dict[str, Any]) -> str:
    """Returns what attacks are told as the text of a chat message."""
    return json.dumps(told)
