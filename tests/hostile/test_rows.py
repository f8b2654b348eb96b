"""What poisoned frames leave in the database: a row for every run, on every database, that can be read."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.hostile.cases import BY_NUMBER

POISONED = range(233, 247)
"""Nested too deep, infinite, half surrogate pairs, NUL, huge numbers, errors and answers of wrong shapes."""
SETUP = """
import json
from functions_app.models import User
from pipeline_app.models import ApiKey
from tests.builders import make_function
for function_id, source in json.loads(open({path!r}).read()).items():
    make_function(function_id, source, policy={{"time_limit": {{"pipe": 3}}}})
alice = User.objects.create_superuser("alice", "alice@example.org")
print("key:", ApiKey.objects.issue(alice, "tests")[1])
"""
READ = """
import json
from pipeline_app.models import Run
rows = {str(run.pk): run.to_wire(inside=True) for run in Run.objects.all()}
print("rows:", json.dumps(rows, allow_nan=False))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """The settings of a server on each kind of database."""
    return {} if request.param == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}


def test_every_poisoned_run_is_written_and_can_be_read(start_server, tmp_path, database):
    server = start_server(FUNCTIONS_RUNNER="process", FUNCTIONS_MIN_ISOLATION="process", **database)
    path = tmp_path / "functions.json"
    path.write_text(json.dumps({BY_NUMBER[number].function_id: BY_NUMBER[number].source for number in POISONED}))
    key = server.shell(SETUP.format(path=str(path))).rpartition("key: ")[2].split()[0]
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:

        def ask(number: int, stream: bool) -> str:
            body = {"model": BY_NUMBER[number].function_id, "stream": stream}
            with client.stream(
                "POST", "/v1/chat/completions", json={**body, "messages": [{"role": "user", "content": "{}"}]}
            ) as answer:
                answer.read()
            return answer.headers["X-Run-ID"]

        with ThreadPoolExecutor(4) as pool:
            asked = [(number, stream) for stream in (False, True) for number in POISONED]
            runs = dict(zip(asked, pool.map(lambda one: ask(*one), asked), strict=True))
        for (number, stream), run in runs.items():
            answer = client.get(f"/api/v1/runs/{run}")
            assert answer.status_code == 200, (number, stream, answer.text)
            told = answer.json()
            assert [step["function"] for step in told["steps"]] == [BY_NUMBER[number].function_id]
            answer.text.encode()  # no half of a surrogate pair
    assert server.stop() is not None
    rows = json.loads(server.shell(READ).rpartition("rows: ")[2])
    assert set(rows) >= set(runs.values())
    assert "can't be written" not in server.log
    assert "    ! " not in server.log, server.log  # no exception of the server's own
    assert {row["outcome"] for row in rows.values()} <= {"succeeded", "failed"}
