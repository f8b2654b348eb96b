from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from functions_app.models import Function, OutboxEvent
from pipeline_app.dispatch import Dispatcher
from pipeline_app.models import Run
from pipeline_app.roster import Roster
from pipeline_app.runs import log
from pipeline_app.runtime import engine
from tests.builders import make_function, make_user

PRINTS = """
class Event:
    async def event(self, event, __user__, __id__, __event__, __event_id__, __event_name__, __request__, **kwargs):
        print(event["event"], event["subject"]["id"], __event_id__ == event["id"], __event__.event == __event_name__)
        print(__id__, __user__, __request__, sorted(kwargs))
"""
RAISES = "class Event:\n    def event(self, event):\n        raise RuntimeError('no such channel')\n"
HANGS = "import asyncio\n\n\nclass Event:\n    async def event(self, event):\n        await asyncio.sleep(60)\n"
FILTER = """
class Filter:
    def outlet(self, body):
        body["messages"][-1]["content"] = "[hidden]"
        return body
"""


@pytest.fixture
def listener(base_packages, changed):
    """Stores an active Event function; what is written for it so far is forgotten."""

    def store(name: str, source: str = PRINTS, **more: Any) -> Function:
        function = make_function(name, source, **more)
        assert function.live is not None, function.newest.error
        OutboxEvent.objects.all().delete()
        changed()
        return function

    return store


def deliver() -> None:
    """Delivers what is due now, and writes the runs."""

    async def all_of_it() -> None:
        dispatcher = Dispatcher(lambda: engine.runner)
        while await dispatcher._begin() or dispatcher._deliveries:
            await asyncio.sleep(0.01)

    async_to_sync(all_of_it)()
    log.write()


def printed(run: Run) -> list[str]:
    return [part["text"] for part in run.steps[0]["output"]]


def test_an_event_reaches_the_function_with_its_arguments(listener):
    listener("diary")
    carol = make_user("carol")
    event = OutboxEvent.objects.get()
    deliver()
    run = Run.objects.get()
    assert not OutboxEvent.objects.exists()
    assert (run.kind, run.model, run.outcome, run.user) == ("event", "user.created", "succeeded", None)
    assert run.request_id == str(event.event_id)
    assert printed(run) == [f"user.created {carol.pk} True True", "diary {} None ['__app__']"]


def test_event_functions_have_their_valves(listener):
    source = """
from pydantic import BaseModel

class Event:
    class Valves(BaseModel):
        word: str = ""

    def __init__(self):
        self.valves = self.Valves()

    def event(self, __event_name__):
        print(self.valves.word, __event_name__)
"""
    listener("diary", source, valves={"word": "hear hear"})
    make_user("carol")
    deliver()
    assert printed(Run.objects.get())[0] == "hear hear user.created"


def test_a_function_that_fails_gets_it_again_and_the_others_do_not(listener, caplog):
    listener("bad", RAISES)
    listener("diary")
    make_user("carol")
    deliver()
    left = OutboxEvent.objects.get()
    assert (left.function, left.attempts, left.state) == ("bad", 1, "failed")
    assert "no such channel" in left.error
    assert "'bad' failed on user.created and will get it again" in caplog.text
    assert left.due_at > left.created_at
    left.due_at += timedelta(hours=1)  # however long this test takes
    left.save()
    deliver()
    assert [run.outcome for run in Run.objects.order_by("steps__0__function")] == ["failed", "succeeded"]
    left.due_at = left.created_at
    left.save()
    deliver()
    assert OutboxEvent.objects.get().attempts == 2
    assert set(Run.objects.filter(outcome="failed").values_list("request_id", flat=True)) == {str(left.event_id)}


def test_a_function_that_hangs_holds_up_no_other_and_is_stopped_at_its_limit(listener):
    listener("slow", HANGS, policy={"time_limit": 1})
    listener("diary")
    make_user("carol")
    deliver()
    slow, diary = Run.objects.order_by("-wall_ms")
    assert (slow.outcome, diary.outcome) == ("failed", "succeeded")
    assert diary.wall_ms < 1000
    assert OutboxEvent.objects.get().function == "slow"


def test_a_function_without_the_hook_is_no_failure(listener):
    listener("odd", "class Event:\n    pass\n")
    make_user("carol")
    deliver()
    assert not OutboxEvent.objects.exists() and not Run.objects.exists()


def test_an_event_function_that_was_switched_off_hears_of_that_and_of_nothing_more(listener, changed):
    diary = listener("diary")
    make_user("carol")
    diary.is_active = False
    diary.save()
    changed()
    deliver()
    assert [run.model for run in Run.objects.all()] == ["function.disable_started"]
    assert not OutboxEvent.objects.exists()


def test_a_farewell_that_fails_is_said_once(listener, changed):
    bad = listener("bad", RAISES)
    Function.objects.filter(pk=bad.pk).update(is_active=False)
    changed()
    deliver()
    assert OutboxEvent.objects.get().state == "given up"


def test_runs_of_event_functions_are_no_events(listener):
    listener("diary")
    make_user("carol")
    deliver()
    deliver()
    assert Run.objects.count() == 1
    assert not OutboxEvent.objects.exists()


def test_a_chat_that_ends_is_told_of(api, alice, pipe, listener):
    pipe("parrot", "return 'hello ' * 300")
    listener("diary")
    answer = api.chat("parrot", chat_id="chat-1", id="message-1")
    assert not OutboxEvent.objects.exists(), "told of with the batch of runs, not by the request"
    log.write()
    event = OutboxEvent.objects.get().payload
    assert (event["event"], event["source"], event["actor"]["name"]) == ("chat.finished", "api", "alice")
    assert event["subject"] == {"type": "chat", "id": "chat-1"}
    assert event["data"] == {
        "chat_id": "chat-1",
        "message_id": "message-1",
        "model_id": "parrot",
        "user_id": str(alice.pk),
        "title": "",
        "url": "",
        "message": ("hello " * 300)[:1000] + "...",
        "run_id": answer.headers["x-run-id"],
    }
    assert event["message"] == event["data"]["message"]


def test_a_chat_that_fails_is_told_of_with_its_error(api, pipe, listener):
    pipe("parrot", "raise ValueError('the cat got it')")
    listener("diary")
    api.chat("parrot", stream=True)
    log.write()
    event = OutboxEvent.objects.get().payload
    assert event["event"] == "chat.failed"
    assert "the cat got it" in event["data"]["message"]


def test_what_an_outlet_took_out_of_an_answer_is_not_told(api, pipe, listener):
    pipe("parrot", "return 'my secret'")
    make_function("mask", FILTER, is_global=True)
    listener("diary")
    api.chat("parrot")
    log.write()
    assert OutboxEvent.objects.get().payload["data"]["message"] == "[hidden]"


def test_chats_cost_nothing_while_nobody_listens(api, pipe, django_assert_num_queries):
    pipe("parrot", "return 'hello'")
    api.chat("parrot")
    log.write()
    with django_assert_num_queries(0):
        assert api.chat("parrot").content == "hello"
    log.write()
    assert not OutboxEvent.objects.exists()


def test_the_api_acts_for_the_owner_of_the_key(api, listener):
    listener("diary")
    make_function("mask", FILTER, is_global=True)
    OutboxEvent.objects.all().delete()
    answer = api.post("/api/v1/functions/id/mask/policy", {"on_error": "skip"})
    assert answer.status == 200
    event = OutboxEvent.objects.get().payload
    assert (event["event"], event["source"], event["actor"]["name"]) == ("function.updated", "api", "alice")


def test_the_first_to_come_and_the_last_to_go_know_it(tmp_path):
    one, two = Roster(tmp_path), Roster(tmp_path)
    assert one.enter() and not two.enter()
    assert not one.leave() and two.leave()
    assert two.enter() and two.leave()
    assert not two.leave(), "it had left already"


@pytest.mark.django_db
async def test_a_server_that_cannot_tell_who_else_serves_stops_all_the_same(settings, tmp_path, monkeypatch, caplog):
    """What it has claimed is given back, and its caller goes on ending the rest."""
    settings.DATA_DIR = tmp_path
    released = []
    monkeypatch.setattr(OutboxEvent.objects, "release", released.append)
    dispatcher = Dispatcher(lambda: engine.runner)
    assert dispatcher._roster.enter()
    held = dispatcher._roster._held
    monkeypatch.setattr("pipeline_app.roster._open", _no_descriptor)
    await dispatcher.stops()
    assert released
    assert "can't be told" in caplog.text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(held)


def _no_descriptor(path):
    raise OSError(24, "Too many open files")


# --- Real servers -----------------------------------------------------------------------------------------


class Collector:
    """A service that Event functions post to: it keeps what comes, and answers while ``open`` is set."""

    def __init__(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector.got.append((body["event"], body["id"]))
                collector.open.wait(60)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    return  # whoever posted was killed

        self.got: list[tuple[str, str]] = []
        self.open = threading.Event()
        self.open.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def names(self) -> list[str]:
        return [name for name, _ in self.got]

    def wait(self, count: int) -> None:
        """Returns when so many have come."""
        deadline = time.monotonic() + 30
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{count} events were to come, these came: {self.names()}"
            time.sleep(0.02)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.open.set()
    made.server.shutdown()
    made.server.server_close()


def posting(port: int) -> str:
    """Django code that stores and switches on an Event function which posts all it hears."""
    source = f"""
import json, urllib.request

class Event:
    def event(self, event):
        data = json.dumps(event).encode()
        urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:{port}/", data), timeout=30).close()
"""
    return (
        "from functions_app.models import *\n"
        f"f = Function.objects.create_function('post', '', {source!r})\n"
        "assert f.live, f.newest.error\n"
        f"f.change_policy({{'allow': ['127.0.0.1:{port}']}})\n"
        "f.is_active = True\n"
        "f.save(update_fields=['is_active'])\n"
    )


PEOPLE = "from functions_app.models import *\nfor n in range(20): User.objects.create_user(f'user{n}')\n"


def test_of_two_processes_one_delivers_each_event_once_and_in_order(start_server, collector):
    first = start_server()
    first.shell(posting(collector.port))
    collector.wait(2)
    assert collector.names() == ["function.enable_started", "function.enabled"]
    second = start_server(data_dir=first.data_dir)
    second.shell(PEOPLE)
    collector.wait(22)
    first.stop()
    assert collector.names()[2:] == ["user.created"] * 20, "one process came and one went, which nobody has to know"
    assert len({key for _, key in collector.got}) == 22
    second.stop()
    assert collector.names()[22:] == ["system.shutdown.started"]
    second.start()
    collector.wait(26)
    starts = ["system.shutdown.completed", "system.startup.started", "system.startup.completed"]
    assert collector.names()[23:] == starts


def test_on_postgresql_too_each_event_is_delivered_once(start_server, collector, postgres_url):
    server = start_server(workers=2, DATABASE_URL=postgres_url)
    server.shell(posting(collector.port) + PEOPLE)
    collector.wait(22)
    server.stop()
    starts = ["function.enable_started", "function.enabled"]
    assert collector.names() == [*starts, *["user.created"] * 20, "system.shutdown.started"]


def test_what_a_killed_process_was_delivering_another_delivers_under_the_same_id(start_server, collector):
    first = start_server()
    collector.open.clear()
    first.shell(posting(collector.port))
    collector.wait(1)
    second = start_server(data_dir=first.data_dir)
    assert first.process is not None
    first.process.kill()
    first.process.wait()
    collector.open.set()
    # Its claim ends by itself; the test does not wait for that.
    second.shell(
        "from django.utils import timezone\nfrom functions_app.models import *\n"
        "print(OutboxEvent.objects.exclude(claimed_by='').update(due_at=timezone.now()))"
    )
    collector.wait(3)
    (one, a), (two, b), (three, _) = collector.got
    assert (one, two, three) == ("function.enable_started", "function.enable_started", "function.enabled")
    assert a == b
