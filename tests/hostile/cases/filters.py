"""Filters turned against the requests that they are part of."""

from __future__ import annotations

from tests.hostile.cases.case import ANSWER, ANY_ERROR, NOT_FOUND, UNHARMED, Chapter

case = Chapter(
    "Hostile filters", expect=UNHARMED, layer="checks of what filters answer; limits", runs="filter", seconds=0
)
HEAD = "class Filter:\n    toggle = True\n\n    def __init__(self):\n        self.toggle = True\n\n"


def one(hook: str, body: str) -> str:
    """A filter with one hook."""
    lines = "\n".join("        " + line for line in body.splitlines())
    return f"{HEAD}    def {hook}(self, body=None, event=None, __event_emitter__=None, **given):\n{lines}\n".replace(
        "body=None, event=None", "event" if hook == "stream" else "body"
    )


case(700, "an inlet that never ends", one("inlet", "while True:\n    pass"), expect=ANY_ERROR, seconds=4)
case(701, "an inlet that kills its worker", one("inlet", "import os\nos.abort()"), expect=ANY_ERROR)
case(
    702,
    "an inlet that answers a body of 50 MB",
    one("inlet", "body['messages'] = [{'role': 'user', 'content': 'x' * (50 << 20)}]\nreturn body"),
    expect=ANY_ERROR,
)
case(
    703,
    "an inlet that asks for another model",
    one("inlet", "body['model'] = 'sibling'\nbody['messages'] = 5\nreturn body"),
)
case(
    704,
    "an inlet that breaks every field",
    one(
        "inlet",
        "return {'messages': [5, None, {'role': 5}], 'stream': 'yes', 'model': {'a': 1}, 'metadata': [], 'files': 5, 'tools': 'x'}",
    ),
    expect=(*UNHARMED, NOT_FOUND),
)
case(
    705,
    "an inlet that claims to be another user",
    one(
        "inlet",
        "body['metadata'] = {'user_id': 'alice', 'chat_id': ['x'], 'model': None}\nbody['user'] = {'role': 'admin', 'id': 'alice'}\nreturn body",
    ),
)
case(706, "an outlet that never ends", one("outlet", "while True:\n    pass"), expect=ANY_ERROR, seconds=4)
case(
    707,
    "an outlet that answers something else",
    one("outlet", "return {'messages': 'x', 'choices': 5, 'id': {'a': 1}}"),
)
case(708, "an outlet that kills its worker", one("outlet", "import os\nos._exit(1)"), expect=ANY_ERROR)
case(709, "an outlet that answers no object", one("outlet", "return [1, 2]"), expect=ANY_ERROR)
case(
    710,
    "an event flood in a value hook",
    HEAD
    + "    async def inlet(self, body, __event_emitter__):\n"
    + "        for n in range(50_000):\n            await __event_emitter__({'type': 'status', 'data': {'description': 'x' * 200}})\n        return body\n",
    seconds=3,
)
case(
    711,
    "frames forged from an inlet",
    one(
        "inlet",
        "main = sockets()[0]\nfor n in range(24):\n    send_all(main, frame(['items', n, ['x']]))\n    send_all(main, frame(['done', n, {'value': [5], 'metadata': {'a': 1}, 'cpu': 1, 'output': [], 'error': None}]))\ntime.sleep(0.5)\nreturn body",
    ),
)
case(
    712,
    "a stream hook that lies about its batch",
    one("stream", "return {'choices': 'x', 'id': 5}"),
    runs="filter stream",
)
case(
    713,
    "a stream hook that never ends",
    one("stream", "while True:\n    pass"),
    runs="filter stream",
    expect=(*ANY_ERROR, ANSWER),
    seconds=3,
)
case(
    714,
    "a stream hook that kills its worker",
    one("stream", "import os\nos.abort()"),
    runs="filter stream",
    expect=(*ANY_ERROR, ANSWER),
)
case(
    715,
    "forged progress of a stream hook",
    one(
        "stream",
        "main = sockets()[0]\nfor n in range(24):\n    send_all(main, frame(['done', n, {'value': None, 'metadata': None, 'cpu': 0, 'output': [], 'error': {'kind': 'hook', "
        "'data': {'type': 'x', 'message': 'y', 'line': None, 'traceback': None, 'status': None, 'detail': None, 'index': 10**9, 'results': 'abc'}}}]))\ntime.sleep(0.5)\nreturn event",
    ),
    runs="filter stream",
    expect=(*ANY_ERROR, ANSWER),
)
case(
    716,
    "a stream hook of a megabyte an event",
    one("stream", "event['x'] = 'y' * (2 << 20)\nreturn event"),
    runs="filter stream",
    expect=(*ANY_ERROR, ANSWER),
)
