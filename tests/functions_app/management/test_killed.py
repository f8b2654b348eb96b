"""Whoever kills a sync or an import finds everything as it was: real processes, killed at several moments."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.functions_app.sources import PIPE
from tests.servers import environment_of, manage
from tests.settings import CHECKOUT

COUNT = 200
SLOW = f"import time\n\ntime.sleep(600)\n\n\n{PIPE}"
FILL = f"""
from functions_app.models import Function, FunctionVersion
source = {PIPE!r}
manifest = {{"kind": "pipe", "hooks": {{"pipe": {{}}}}, "valves": None}}
names = [f"f{{number:03}}" for number in range({COUNT})] + ["zz_gone"]
Function.objects.bulk_create(Function(id=name, name=name, kind="pipe") for name in names)
versions = [
    FunctionVersion(function_id=name, number=1, source=source, state="live", manifest=manifest) for name in names
]
FunctionVersion.objects.bulk_create(versions)
for version in versions:
    Function._base_manager.filter(pk=version.function_id).update(live=version)
"""
ALICE = """
from functions_app.models import User
from pipeline_app.models import ApiKey
print(ApiKey.objects.issue(User.objects.create_superuser("alice"))[1])
"""

Rows = dict[str, list[tuple[Any, ...]]]


def rows_of(connection: Any, tables: str) -> Rows:
    """Everything in the tables of functions, but the tokens that tell processes of changes."""
    names = [name for (name,) in connection.execute(tables).fetchall() if name != "functions_app_generation"]
    assert "functions_app_function" in names
    return {name: sorted(connection.execute(f'SELECT * FROM "{name}"').fetchall(), key=str) for name in names}


class Installation:
    """A database with many functions, and a folder that renames them all, adds one and leaves one out."""

    def __init__(self, tmp_path: Path, **environment: str) -> None:
        self.data, self.folder = tmp_path / "data", tmp_path / "functions"
        self.environment: dict[str, Any] = environment
        self.data.mkdir()
        self.folder.mkdir()
        for number in range(COUNT):
            (self.folder / f"f{number:03}.py").write_text(PIPE)
            (self.folder / f"f{number:03}.toml").write_text(f'name = "New {number}"\n')
        (self.folder / "new.py").write_text(PIPE)

    def manage(self, *arguments: str) -> str:
        return manage(self.data, *arguments, **self.environment).stdout

    def rows(self) -> Rows:
        if url := self.environment.get("DATABASE_URL"):
            with psycopg.connect(url.replace("postgres://", "postgresql://")) as connection:
                return rows_of(connection, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'functions_app_%'")
        return sqlite_rows(self.data)

    def killed_at(self, sign: str, *arguments: str) -> None:
        """Runs a command and kills it when it says something that begins with ``sign``."""
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=CHECKOUT,
            env=environment_of(self.data, **self.environment),
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            said = []
            for line in process.stdout:
                said.append(line)
                if line.startswith(sign):
                    os.kill(process.pid, signal.SIGKILL)
                    break
        assert process.returncode == -signal.SIGKILL, said


def sqlite_rows(data: Path) -> Rows:
    with contextlib.closing(sqlite3.connect(data / "db.sqlite3")) as connection:
        return rows_of(
            connection, "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'functions_app_%'"
        )


@pytest.fixture
def installation(request: Any, tmp_path: Path, base_packages: Path, empty_database: Path) -> Installation:
    if request.param == "postgresql":
        made = Installation(tmp_path, DATABASE_URL=request.getfixturevalue("postgres_url"))
    else:
        made = Installation(tmp_path)
        shutil.copy(empty_database, made.data / "db.sqlite3")
    made.manage("shell", "--verbosity", "0", "--command", FILL)
    return made


@pytest.mark.parametrize(
    ("installation", "signs"),
    [("sqlite", ("Checking: ", "Writing: 20 of", "Writing: 180 of")), ("postgresql", ("Writing: 100 of",))],
    indirect=["installation"],
)
def test_a_sync_that_is_killed_leaves_everything_as_it_was(installation, signs):
    before = installation.rows()
    slow = installation.folder / "a_slow.py"
    for sign in signs:
        if sign == "Checking: ":
            slow.write_text(SLOW)
        installation.killed_at(sign, "sync_functions", str(installation.folder))
        assert installation.rows() == before, sign
        slow.unlink(missing_ok=True)
    # What was killed would have gone through, and nothing is left that keeps it from doing so.
    said = installation.manage("sync_functions", str(installation.folder))
    assert said.endswith("1 created, 200 updated, 1 deleted\n")
    assert installation.rows() != before


def test_a_server_that_is_killed_during_a_sync_leaves_everything_as_it_was(start_server):
    server = start_server()
    headers = {"Authorization": f"Bearer {server.shell(FILL + ALICE).splitlines()[-1]}"}
    before = sqlite_rows(server.data_dir)
    entries = [{"id": "new", "content": PIPE}, {"id": "slow", "content": SLOW}]
    with pytest.raises(httpx.ReadTimeout):
        # Its first entry has been tried by then, and the second goes on being tried.
        httpx.post(f"{server.url}/api/v1/functions/sync", json={"functions": entries}, headers=headers, timeout=3)
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait()
    assert sqlite_rows(server.data_dir) == before
