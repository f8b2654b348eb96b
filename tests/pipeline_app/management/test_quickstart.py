"""From nothing to a server that answers, in real processes with an empty data folder."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from tests.servers import environment_of, free_port, manage
from tests.settings import CHECKOUT


@pytest.fixture
def empty(tmp_path, base_packages):
    """A data folder that does not exist yet; base packages are shared, to save a minute."""
    return tmp_path / "data"


@pytest.fixture
def migrated(empty, empty_database):
    """A data folder in which only a migrated database is, to save some seconds."""
    empty.mkdir(mode=0o700)
    shutil.copy(empty_database, empty / "db.sqlite3")
    return empty


class Made(NamedTuple):
    said: str
    folder: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory, base_packages):
    """What quickstart says in an empty checkout, and the data folder that it makes there, for tests that only look."""
    folder = tmp_path_factory.mktemp("quickstart") / "data"
    return Made(manage(folder, "quickstart", "--no-serve").stdout, folder)


def rows(data_dir: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(data_dir / "db.sqlite3", timeout=20)) as database:
        return database.execute(query).fetchall()


def counts(data_dir: Path) -> dict[str, int]:
    tables = ("functions_app_function", "functions_app_functionversion", "functions_app_user", "pipeline_app_apikey")
    return {table: rows(data_dir, f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def test_an_empty_checkout_becomes_a_server_with_examples(made):
    said = made.said
    assert re.search(r"^ +user admin, password \S{12,}$", said, re.MULTILINE)
    assert re.search(r"^API key  sk-\S{40,}$", said, re.MULTILINE)
    examples = len(list((CHECKOUT / "examples").glob("*.py")))
    assert f"Examples: {examples} loaded" in said
    assert "was not loaded" not in said
    assert list(counts(made.folder).values()) == [examples, examples, 1, 1]


def test_only_the_owner_can_read_the_data_folder(made):
    assert made.folder.stat().st_mode & 0o777 == 0o700
    for name in ("secret_key", "valve_key"):
        assert (made.folder / name).stat().st_mode & 0o777 == 0o600


def test_a_second_run_keeps_everything_and_shows_no_secret(made, empty):
    shutil.copytree(made.folder, empty)
    code = (
        "from functions_app.models import Function; f = Function.objects.get(pk='echo');"
        "f.is_active = False; f.save(); f.save_source(f.live.source + '# mine')"
    )
    manage(empty, "shell", "--command", code)
    before = counts(empty)
    secrets = {path.name: path.read_bytes() for path in empty.glob("*_key")}
    said = manage(empty, "quickstart", "--no-serve").stdout
    assert counts(empty) == before
    assert {path.name: path.read_bytes() for path in empty.glob("*_key")} == secrets
    assert 'Admin: "admin"' in said
    assert "Examples: all there already" in said
    assert "password" not in said
    assert "sk-" not in said


def test_the_password_may_come_from_the_environment_and_is_not_printed(migrated):
    said = manage(migrated, "quickstart", "--no-serve", ADMIN_PASSWORD="correct horse battery").stdout
    assert "password as in ADMIN_PASSWORD" in said
    assert "horse" not in said
    [(password,)] = rows(migrated, "SELECT password FROM functions_app_user")
    assert PBKDF2PasswordHasher().verify("correct horse battery", password)


def test_a_run_that_was_broken_off_leaves_no_secret_that_nobody_saw(migrated, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    done = manage(migrated, "quickstart", "--no-serve", check=False, FUNCTIONS_ENVIRONMENTS=str(blocked))
    assert done.returncode == 1
    assert "point FUNCTIONS_ENVIRONMENTS to a writable folder" in done.stderr
    said = manage(migrated, "quickstart", "--no-serve").stdout
    assert re.search(r"^ +user admin, password \S{12,}$", said, re.MULTILINE)
    assert re.search(r"^API key  sk-\S{40,}$", said, re.MULTILINE)


def test_a_superuser_that_exists_keeps_the_password_and_gets_the_key(migrated):
    code = "from functions_app.models import User; User.objects.create_superuser('alice', '', 'wonderland')"
    manage(migrated, "shell", "--command", code)
    before = rows(migrated, "SELECT password FROM functions_app_user")
    said = manage(migrated, "quickstart", "--no-serve").stdout
    assert 'Admin: "alice"' in said
    assert "password" not in said
    assert re.search(r"^API key  sk-\S{40,}$", said, re.MULTILINE)
    assert rows(migrated, "SELECT password FROM functions_app_user") == before


def test_a_port_in_use_is_said_before_any_work(empty):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = manage(empty, "quickstart", "--port", str(port), check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"CommandError: Cannot serve on 127.0.0.1:{port}: Address already in use. "
        "Stop what uses the port, or choose another one with --port."
    )
    assert not (empty / "db.sqlite3").exists()


def test_the_printed_request_streams_an_answer(migrated):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "quickstart", "--port", str(port)],
        cwd=CHECKOUT,
        env=environment_of(migrated),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Serving on"):
                break
        said = "".join(lines)
        assert f"Serving on http://127.0.0.1:{port}" in said
        answer = ask(said)
        assert '"content":"Hello"' in answer
        assert answer.endswith("data: [DONE]\n\n")
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, "".join(lines) + rest
    assert "Traceback" not in rest


def ask(said: str) -> str:
    """Sends the request that the printed curl command would send, and returns the body of the answer."""
    command = next(line for line in said.splitlines() if line.startswith("curl "))
    url, key, body = re.fullmatch(
        r"curl -N (\S+) -H 'Authorization: (Bearer \S+)' -H 'Content-Type: application/json' -d '(.*)'", command
    ).groups()
    request = urllib.request.Request(url, body.encode(), {"Authorization": key, "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        return response.read().decode()
