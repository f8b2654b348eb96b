"""From nothing to a server that answers, in real processes with an empty data folder."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.servers import environment_of, free_port, manage
from tests.settings import CHECKOUT


@pytest.fixture
def empty(tmp_path, base_packages):
    """A data folder that does not exist yet; base packages are shared, to save a minute."""
    return tmp_path / "data"


def counts(data_dir) -> dict[str, int]:
    code = (
        "from functions_app.models import Function, FunctionVersion, User; from pipeline_app.models import ApiKey;"
        "import json; models = (Function, FunctionVersion, User, ApiKey);"
        "print(json.dumps({model.__name__: model.objects.count() for model in models}))"
    )
    return json.loads(manage(data_dir, "shell", "--command", code).stdout.splitlines()[-1])


def test_an_empty_checkout_becomes_a_server_with_examples(empty):
    said = manage(empty, "quickstart", "--no-serve").stdout
    assert re.search(r"^ +user admin, password \S{12,}$", said, re.MULTILINE)
    assert re.search(r"^API key  sk-\S{40,}$", said, re.MULTILINE)
    examples = len(list((CHECKOUT / "examples").glob("*.py")))
    assert f"Examples: {examples} loaded" in said
    assert "was not loaded" not in said
    assert counts(empty) == {"Function": examples, "FunctionVersion": examples, "User": 1, "ApiKey": 1}


def test_only_the_owner_can_read_the_data_folder(empty):
    manage(empty, "quickstart", "--no-serve")
    assert empty.stat().st_mode & 0o777 == 0o700
    for name in ("secret_key", "valve_key"):
        assert (empty / name).stat().st_mode & 0o777 == 0o600


def test_a_second_run_keeps_everything_and_shows_no_secret(empty):
    manage(empty, "quickstart", "--no-serve")
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


def test_the_password_may_come_from_the_environment_and_is_not_printed(empty):
    said = manage(empty, "quickstart", "--no-serve", ADMIN_PASSWORD="correct horse battery").stdout
    assert "password as in ADMIN_PASSWORD" in said
    assert "horse" not in said
    code = "from functions_app.models import User; print(User.objects.get().check_password('correct horse battery'))"
    assert manage(empty, "shell", "--command", code).stdout.splitlines()[-1] == "True"


def test_a_run_that_was_broken_off_leaves_no_secret_that_nobody_saw(empty, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    done = manage(empty, "quickstart", "--no-serve", check=False, FUNCTIONS_ENVIRONMENTS=str(blocked))
    assert done.returncode == 1
    assert "point FUNCTIONS_ENVIRONMENTS to a writable folder" in done.stderr
    said = manage(empty, "quickstart", "--no-serve").stdout
    assert re.search(r"^ +user admin, password \S{12,}$", said, re.MULTILINE)
    assert re.search(r"^API key  sk-\S{40,}$", said, re.MULTILINE)


def test_a_superuser_that_exists_keeps_the_password_and_gets_the_key(empty):
    manage(empty, "migrate", "--verbosity", "0")
    code = "from functions_app.models import User; User.objects.create_superuser('alice', '', 'wonderland')"
    manage(empty, "shell", "--command", code)
    said = manage(empty, "quickstart", "--no-serve").stdout
    assert 'Admin: "alice"' in said
    assert "password" not in said
    assert re.search(r"^API key  sk-\S{40,}$", said, re.MULTILINE)
    assert counts(empty)["User"] == 1


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


def test_the_printed_request_streams_an_answer(empty):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "quickstart", "--port", str(port)],
        cwd=CHECKOUT,
        env=environment_of(empty),
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
