from __future__ import annotations

import json

from tests.pipeline_app.worker.test_arguments import loaded, value

SOURCE = """
from open_webui.events import EVENTS, Event as Told, publish_event

class Event:
    async def event(self, event, __event__):
        try:
            await publish_event(None, EVENTS.USER_CREATED)
        except NotImplementedError as error:
            refused = str(error)
        return [
            event["event"] == EVENTS.USER_CREATED.name, event["event"] == EVENTS.USER_CREATED,
            EVENTS.CHAT_FINISHED.description, isinstance(__event__, Told), __event__.model_dump() == event,
            __event__.model_dump_json(), refused,
        ]
"""


def test_the_catalogue_can_be_imported_and_compared():
    event = {"id": "e", "event": "user.created", "actor": {"name": "Åsa"}}
    *same, text, refused = value(loaded(SOURCE), "event", event, {})
    assert same == [True, True, "Chat Finished.", True, True]
    assert json.loads(text) == event
    assert refused == "open_webui.events: publish_event() is not available here; only the server publishes."
