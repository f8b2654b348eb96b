"""Publishing at a real server: several at once, and what takes longer than a client waits."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

SOURCE = "class Pipe:\n    def pipe(self, body):\n        return 'one'\n"
SLOW = "import time\n\ntime.sleep(0.6)\n"
ALICE = """
from functions_app.models import User
from pipeline_app.models import ApiKey
print(ApiKey.objects.issue(User.objects.create_superuser("alice", "alice@example.org", "alice"))[1])
"""
CREATE, ID = "/api/v1/functions/create", "/api/v1/functions/id/{}"


def client(server) -> httpx.Client:
    """Alice's client of a server; she may do everything."""
    key = server.shell(ALICE).splitlines()[-1]
    return httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def settled(api: httpx.Client, id: str) -> dict:
    """Waits until the newest version of a function is no longer being checked."""
    for _ in range(600):
        told = api.get(ID.format(id)).json()
        if told["newest"]["state"] not in ("building", "draft"):
            return told
        time.sleep(0.05)
    raise AssertionError(f"{id} is still being checked: {told['newest']}")


def check_lost_updates(api: httpx.Client) -> None:
    first = api.post(CREATE, json={"id": "greeter", "content": SOURCE}).json()["version_id"]

    def update(number: int) -> httpx.Response:
        body = {"content": f"{SOURCE}# {number}\n", "name": f"By {number}", "version_id": first}
        return api.post(ID.format("greeter") + "/update", json=body)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(update, range(8)))
    won = [answer for answer in answers if answer.status_code == 200]
    lost = [answer for answer in answers if answer.status_code == 409]
    assert (len(won), len(lost)) == (1, 7), [answer.text for answer in answers]
    assert {answer.json()["error"]["code"] for answer in lost} == {"version_conflict"}
    told = api.get(ID.format("greeter")).json()
    assert (told["content"], told["name"], told["number"]) == (won[0].json()["content"], won[0].json()["name"], 2)


def check_create_at_once(api: httpx.Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: api.post(CREATE, json={"id": "wanted", "content": SOURCE}), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


def check_toggles_at_once(api: httpx.Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        sides = list(pool.map(lambda _: api.post(ID.format("wanted") + "/toggle").json()["is_active"], range(4)))
    assert sorted(sides) == [False, False, True, True]
    assert api.get(ID.format("wanted")).json()["is_active"] is False


def check_everything_at_once(api: httpx.Client) -> None:
    check_lost_updates(api)
    check_create_at_once(api)
    check_toggles_at_once(api)
    assert api.post(ID.format("wanted") + "/update", json={"content": SOURCE + "#\n"}).status_code == 200
    with ThreadPoolExecutor(4) as pool:
        gone = list(pool.map(lambda _: api.delete(ID.format("wanted") + "/delete").status_code, range(4)))
    assert sorted(gone) == [200, 404, 404, 404]


def test_of_several_at_once_one_wins_and_nothing_is_lost(server):
    with client(server) as api:
        check_everything_at_once(api)


def test_so_it_is_with_postgresql(start_server, postgres_url):
    with client(start_server(DATABASE_URL=postgres_url)) as api:
        check_everything_at_once(api)


@pytest.fixture
def impatient(start_server):
    """Alice's client of a server that answers long before slow code is checked."""
    with client(start_server(FUNCTIONS_PUBLISH_SECONDS="0.2")) as api:
        yield api


def test_what_takes_long_goes_on_after_the_answer(impatient):
    api = impatient
    # A function that is made, and comes to serve.
    answer = api.post(CREATE, json={"id": "greeter", "content": SLOW + SOURCE, "name": "Greeter"})
    assert (answer.status_code, answer.json()["state"], answer.json()["type"]) == (202, "building", "")
    assert api.post(ID.format("greeter") + "/toggle").status_code == 409
    assert settled(api, "greeter")["state"] == "live"
    assert api.post(ID.format("greeter") + "/toggle").json()["is_active"] is True
    # A change of it: the version before serves meanwhile, and what it began from is told.
    update = ID.format("greeter") + "/update"
    answer = api.post(update, json={"content": SLOW + SOURCE.replace("one", "two"), "name": "Two"})
    assert (answer.status_code, answer.json()["state"], answer.json()["number"]) == (202, "building", 2)
    told = api.get(ID.format("greeter")).json()
    assert (told["number"], told["name"], told["newest"]["state"]) == (1, "Greeter", "building")
    stale = api.post(update, json={"content": SOURCE, "version_id": told["version_id"]})
    assert stale.json()["error"]["code"] == "version_conflict"
    told = settled(api, "greeter")
    assert (told["number"], told["name"], told["state"]) == (2, "Two", "live")
    # A change that does not load.
    answer = api.post(update, json={"content": SLOW + "raise ValueError('no luck')\n" + SOURCE, "name": "Three"})
    assert answer.status_code == 202
    told = settled(api, "greeter")
    assert (told["number"], told["name"], told["newest"]["state"]) == (2, "Two", "broken")
    assert told["newest"]["error"]["message"] == "no luck"
    # One that is deleted while it is checked, and one that never was any good.
    assert api.post(update, json={"content": SLOW + SOURCE + "# gone\n"}).status_code == 202
    assert api.delete(ID.format("greeter") + "/delete").status_code == 200
    assert api.post(CREATE, json={"id": "broken", "content": SLOW + "raise ValueError('no')\n"}).status_code == 202
    assert settled(api, "broken")["newest"]["error"]["message"] == "no"
    assert api.get(ID.format("greeter")).status_code == 404
