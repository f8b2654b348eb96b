"""Functions of a real server and the world around them: where they went, and what they asked, is seen from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.servers import Server

FUNCTIONS = '''
from django.core.files.base import ContentFile
from functions_app.models import File, Function, User
from pipeline_app.models import ApiKey
alice = User.objects.create_superuser("alice", "alice@example.org")
bob = User.objects.create_user("bob", "bob@example.org")
for user in (alice, bob):
    row = File(user=user, name=user.username + ".txt", size=5)
    row.content.save(row.name, ContentFile(b"of " + user.username.encode()), save=False)
    row.save()
going = """
import socket
class Pipe:
    def pipe(self, body):
        said = []
        for target in body["messages"][-1]["content"].split():
            host, _, port = target.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=3).close()
                said.append("reached")
            except OSError as error:
                said.append(type(error).__name__)
        return " ".join(said)
"""
asking = """
import base64
from open_webui.models.users import Users
from open_webui.models.files import Files
from open_webui.storage.provider import Storage
from pipeline_app.worker import hosts
class Pipe:
    async def pipe(self, body, __user__):
        me = Users.get_user_by_id(__user__["id"])
        files = await Files.get_files()
        pieces = [base64.b64decode(piece) async for piece in hosts.parts("files.stream", {"id": files[0].id})]
        assert open(await Storage.get_file(files[0].path), "rb").read() == b"".join(pieces)
        other = Users.get_user_by_id(body["messages"][-1]["content"])
        return f"{me.email} {[file.filename for file in files]} {b''.join(pieces)} {other.name} {other.email!r}"
"""
for name, source, policy in (
    ("going", going, {"allow": ["localhost:PORT"]}),
    ("asking", asking, {}),
    ("mute", asking, {"grants": []}),
):
    function = Function.objects.create_function(name, name, source)
    function.change_policy(policy)
    function.is_active = True
    function.save()
print(alice.pk, *(ApiKey.objects.issue(user)[1] for user in (alice, bob)))
'''
COUNTED = """
import json
from pipeline_app.models import Destination
print(json.dumps(sorted(Destination.objects.filter(function="going").values_list("host", "verdict", "reason", "count"))))
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory, base_packages, empty_database) -> Iterator[Callable[..., httpx.Response]]:
    """A server with the process runner: ``outside(model, content, user)`` asks it; ``outside.server``."""
    folder = tmp_path_factory.mktemp("outside") / "data"
    server = Server(folder, empty_database, environment={"FUNCTIONS_RUNNER": "process"})
    server.alice, *issued = server.shell(FUNCTIONS.replace("PORT", str(server.port))).splitlines()[-1].split()
    keys = dict(zip(("alice", "bob"), issued, strict=True))
    server.start()

    def ask(model: str, content: str, user: str = "bob") -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": content}]}
        headers = {"Authorization": f"Bearer {keys[user]}"}
        return httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=30)

    ask.server = server
    yield ask
    server.stop()


def said(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


def test_where_functions_went_is_in_the_database(outside):
    port = outside.server.port
    targets = f"localhost:{port} 127.0.0.2:{port} 10.0.0.1:5432 169.254.169.254:80"
    for _ in range(2):
        assert said(outside("going", targets)) == "reached" + " PermissionError" * 3
    expected = [
        ["10.0.0.1", "refused", "a private address", 2],
        ["127.0.0.2", "refused", "a loopback address", 2],
        ["169.254.169.254", "refused", "a cloud metadata address", 2],
        ["localhost", "reached", "", 2],
    ]
    deadline = time.monotonic() + 20
    while (counted := json.loads(outside.server.shell(COUNTED))) != expected:
        assert time.monotonic() < deadline, counted
        time.sleep(0.2)


def test_functions_ask_with_the_callers_rights_and_their_own_grants(outside):
    alice = outside.server.alice
    assert said(outside("asking", alice, "bob")) == "bob@example.org ['bob.txt'] b'of bob' alice ''"
    assert said(outside("asking", alice, "alice")) == (
        "alice@example.org ['alice.txt'] b'of alice' alice 'alice@example.org'"
    )
    refused = outside("mute", alice, "alice")
    assert refused.status_code == 500
    assert "This function may not ask for users.get: its policy does not have the grant 'users.read'." in refused.text
