"""The engine, as threads use it that are not its own."""

from __future__ import annotations

import asyncio
import threading

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async

from functions_app.acting import acting, acting_as
from pipeline_app.database import in_database
from pipeline_app.runtime import engine


def in_a_request(view):
    """Returns what a view returns that is called as the server calls one of Django's: in the request's only thread."""
    answers = []

    async def request():
        async with ThreadSensitiveContext():
            answers.append(await sync_to_async(view)())

    thread = threading.Thread(target=asyncio.run, args=[request()], daemon=True)
    thread.start()
    thread.join(20)
    assert answers, "it waits for itself"
    return answers[0]


def test_a_view_may_wait_for_work_that_uses_the_database():
    assert in_a_request(lambda: engine.wait_for(in_database(lambda: "told"))) == "told"


def test_work_keeps_who_is_acting_and_nothing_of_the_request():
    async def work():
        return acting(), SyncToAsync.thread_sensitive_context.get(None)

    def view():
        with acting_as({"id": "alice"}, "admin"):
            return engine.wait_for(work())

    assert in_a_request(view) == (({"id": "alice"}, "admin"), None)
