"""Servers to be measured: each a real uvicorn process, with a data folder of its own, on one core."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmarks import functions, machine

CHECKOUT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
USER = "bench"
NO_FILTERS, ASYNC_FILTERS, SYNC_FILTERS = "no filters", "5 async filters", "5 sync filters"
INLINE = ", inline"
"""Ends the name of an installation whose functions run in the server process; the others are sandboxed."""

SETUP = """
import json, sys
from functions_app.models import Function, User
user = User.objects.filter(username={user!r}).first() or User.objects.create_user({user!r}, password=None)
for id, source, is_global in json.load(open({file!r})):
    function = Function.objects.create_function(id, id, source)
    if function.live is None:
        sys.exit(f"{{id}} does not load: {{function.newest.error}}")
    function.is_active, function.is_global = True, is_global
    function.save()
"""

EDITOR = """
import sys
from benchmarks.functions import edited
from functions_app.models import Function
for line in sys.stdin:
    function = Function.objects.get(pk="edited")
    version = function.save_source(edited(int(line)))
    print("published" if version.publish() else f"broken: {version.error}", flush=True)
"""


def environments() -> Path:
    """Returns where the base packages of functions are kept between runs, by the variable or else beside the tests'."""
    return Path(os.environ.get("FUNCTIONS_ENVIRONMENTS") or CHECKOUT / ".pytest_cache" / "environments")


def environment_of(data_dir: Path, runner: str = "process") -> dict[str, str]:
    """Returns the variables of a server that uses a data folder, whatever the developer's own settings are."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FUNCTIONS_")},
        "DJANGO_SETTINGS_MODULE": "webui_functions.settings",
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": f"sqlite:///{data_dir}/db.sqlite3",
        "CACHE_URL": "locmemcache://benchmarks",
        "SECRET_KEY": secrets.token_hex(32),
        "DEBUG": "false",
        "ALLOWED_HOSTS": "127.0.0.1",
        "LOG_LEVEL": "WARNING",
        "FUNCTIONS_ENVIRONMENTS": str(environments()),
        "FUNCTIONS_RUNNER": runner,
    }


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Runs a management command and returns its output. Raises ``RuntimeError`` with what it said when it fails."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"manage.py {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Installation:
    """A data folder with functions in it, and a key to call them."""

    environment: dict[str, str]
    key: str


class Installations:
    """Makes data folders below ``folder``; all start from one migrated database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._template = folder / "template"
        self._template.mkdir(mode=0o700)
        manage(environment_of(self._template), "install_requirements")
        manage(environment_of(self._template), "migrate", "--verbosity", "0")

    def make(
        self, name: str, pipes: dict[str, str], filters: dict[str, str] | None = None, runner: str = "process"
    ) -> Installation:
        """Returns an installation with these pipes and global filters, all active, run by ``runner``."""
        data_dir = self.folder / name
        shutil.copytree(self._template, data_dir)
        environment = environment_of(data_dir, runner)
        wanted = [(id, source, False) for id, source in pipes.items()]
        wanted += [(id, source, True) for id, source in (filters or {}).items()]
        file = data_dir / "functions.json"
        file.write_text(json.dumps(wanted))
        manage(environment, "shell", "--command", SETUP.format(user=USER, file=str(file)))
        return Installation(environment, manage(environment, "create_api_key", USER))


class Server:
    """One uvicorn process, pinned to the server's core from its first instruction."""

    def __init__(self, application: str, environment: dict[str, str], *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                application,
                "--host",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--loop",
                "uvloop",
                "--http",
                "httptools",
                "--no-access-log",
                "--log-level",
                "warning",
                *options,
            ],
            cwd=CHECKOUT,
            env=environment,
            preexec_fn=_pin,
        )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("a server under test did not start; what it said is above")
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/healthz")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_seconds(self) -> float:
        return machine.cpu_seconds(self.pid)

    def memory_mb(self) -> float:
        return machine.memory_mb(self.pid)

    def processes(self) -> int:
        return len(machine.tree(self.pid))

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _pin() -> None:
    os.sched_setaffinity(0, machine.SERVER_CORE)


class Editor:
    """A management command beside the server that edits the function ``edited`` whenever it is told to."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--command", EDITOR],
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin: IO[str] = self._process.stdin
        self._stdout: IO[str] = self._process.stdout

    def edit(self, number: int) -> None:
        """Saves and publishes an edit; returns when it is live. Raises ``RuntimeError`` when it is not."""
        self._stdin.write(f"{number}\n")
        self._stdin.flush()
        while (line := self._stdout.readline()) != "published\n":
            if not line or line.startswith("broken"):
                raise RuntimeError(f"an edit was not published: {line or 'the command ended'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stdin.close()
        self._process.wait(15)
        self._stdout.close()


def peer(application: str) -> Server:
    """Returns a server that is no installation of ours."""
    options = ("--lifespan", "off")
    return Server(application, dict(os.environ), *options)


def ours(installation: Installation) -> Server:
    return Server("webui_functions.asgi:application", installation.environment)


def installed() -> dict[str, tuple[dict[str, str], dict[str, str], str]]:
    """Returns pipes, filters and runner of the installations that are measured, by name."""
    sets = {
        NO_FILTERS: ({**functions.PIPES, "edited": functions.edited(0)}, {}),
        ASYNC_FILTERS: (functions.PIPES, functions.filters("async")),
        SYNC_FILTERS: (functions.PIPES, functions.filters("sync")),
    }
    return {
        **{name: (*made, "process") for name, made in sets.items()},
        **{name + INLINE: (*made, "inline") for name, made in sets.items()},
    }
