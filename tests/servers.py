"""Real servers for tests: uvicorn in a process of its own, on a free loopback port, with its own data folder."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.settings import CHECKOUT

START_SECONDS = 60
STOP_SECONDS = 20


def environment_of(data_dir: Path, **extra: str) -> dict[str, str]:
    """The environment of a server or command that uses ``data_dir`` and the real settings."""
    chosen = {
        **os.environ,  # tests/settings.py has put the test values into it
        "DJANGO_SETTINGS_MODULE": "webui_functions.settings",
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": f"sqlite:///{data_dir}/db.sqlite3",
        "SECRET_KEY": "",  # generated into the data folder, as in a fresh checkout
        "PYTHONUNBUFFERED": "1",
        **extra,
    }
    chosen.pop("PYTEST_CURRENT_TEST", None)
    return chosen


def manage(data_dir: Path, *arguments: str, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs ``manage.py`` with the data folder; raises with its output when it fails, unless ``check`` is off."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=CHECKOUT,
        env=environment_of(data_dir, **extra),
        capture_output=True,
        text=True,
        timeout=180,
    )
    if check and done.returncode:
        raise AssertionError(
            f"manage.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done


def migrated_database(folder: Path) -> Path:
    """Migrates an empty SQLite database in ``folder`` and returns its file."""
    manage(folder, "migrate", "--verbosity", "0")
    return folder / "db.sqlite3"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One running server. ``url`` has no trailing slash; ``log`` is everything it has written so far.

    Without a ``DATABASE_URL``, which names a migrated database, it has a copy of the empty SQLite file.
    """

    def __init__(self, data_dir: Path, empty_database: Path, *, workers: int = 1, environment: dict[str, str]) -> None:
        self.data_dir = data_dir
        self.workers = workers
        self.extra = environment
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._log = data_dir / f"server-{self.port}.log"
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if "DATABASE_URL" not in environment and not (data_dir / "db.sqlite3").exists():
            shutil.copy(empty_database, data_dir / "db.sqlite3")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server was not started"
        return self.process.pid

    def manage(self, *arguments: str, check: bool = True) -> str:
        """Runs a management command beside the server and returns its standard output, stripped."""
        return manage(self.data_dir, *arguments, check=check, **self.extra).stdout.strip()

    def shell(self, code: str) -> str:
        """Runs Python with Django set up beside the server (models need importing) and returns what it printed."""
        return self.manage("shell", "--verbosity", "0", "--command", code)

    def start(self) -> None:
        """Starts the server and returns when it answers. Raises with its log when it does not."""
        command = [
            sys.executable, "-m", "uvicorn", "webui_functions.asgi:application", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", str(self.workers), "--no-access-log",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=environment_of(self.data_dir, **self.extra),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"the server does not answer on {self.url}:\n{self.log}")
            time.sleep(0.05)

    def stop(self) -> int | None:
        """Stops the server as an operator does and returns its exit code; None when it was not running."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not stop within {STOP_SECONDS} s of SIGTERM:\n{self.log}") from None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
