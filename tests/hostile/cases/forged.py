"""Frames that no worker of ours would write: wrong types in every place, lies, floods, and poisoned JSON.

Their author has the sockets and our source. What counts is that the server drops the worker, or takes the lie for
what it is worth, and that nobody else notices.
"""

from __future__ import annotations

import json
from typing import Any

from tests.hostile.cases.case import ANSWER, ANY_ERROR, KILLED, TIME, UNHARMED, Chapter

case = Chapter(
    "Forged frames", expect=UNHARMED, layer="the server's checks of frames", policy={"time_limit": {"pipe": 3}}
)

OWN = "range(0, 24)"
"""Ids among which that of the forger's own call is."""


def forged(*frames: str) -> str:
    """An attack that writes raw frames for its own call, given as Python expressions of ``n``, the call's id."""
    lines = "\n".join(f"    send_all(main, frame({text}))" for text in frames)
    return f"main = sockets()[0]\nfor n in {OWN}:\n{lines}\ntime.sleep(0.5)\nreturn 'still here'"


def raw(text: str) -> str:
    """JSON text that ``json.dumps`` would not write, with ``%d`` for the call's id."""
    return f"({text!r} % n).encode()"


DONE: dict[str, Any] = {"value": "x", "metadata": None, "cpu": 0.0, "output": [], "error": None}


def done(**changed: Any) -> str:
    return f'["done", n, {json.loads(json.dumps({**DONE, **changed}))!r}]'


def failed(**data: Any) -> str:
    told = {"type": "ValueError", "message": "m", "line": 1, "traceback": "t", "status": None, "detail": None, **data}
    return done(error={"kind": "hook", "data": told})


case(
    231,
    "a frame that costs its reader quadratic time",
    """
    body = b"[" * 1_000_100 + b'"' + b'\\\\"' * 520_000
    send_all(sockets()[0], frame(body[:2_090_000]))
    time.sleep(1)
    return "still here"
    """,
    expect=(KILLED,),
    policy={"time_limit": {"pipe": 10}},
)
case(
    232,
    "a million objects in one frame",
    """
    send_all(sockets()[0], frame(b'[' + b'{},' * 600_000 + b'1]'))
    time.sleep(1)
    return 'still here'
    """,
)
case(
    233,
    "nested to the edge of the parser",
    forged(raw('["done", %d, {"value": ' + "[" * 900 + "]" * 900 + ', "output": []}]')),
)
case(234, "infinity as 1e999", forged(raw('["done", %d, {"value": {"a": 1e999}, "cpu": 1e999, "output": []}]')))
case(
    235,
    "lone surrogates in the answer",
    forged(raw('["done", %d, {"value": "\\ud800\\udfff\\ud800 \\u0000", "output": []}]')),
)
case(
    236,
    "lone surrogates in error and output",
    forged(
        raw(
            '["done", %d, {"value": null, "output": [{"stream": "stdout", "text": "\\ud800"}], "error": '
            '{"kind": "hook", "data": {"type": "\\ud800", "message": "\\udfff\\u0000", "line": 1, "traceback": "\\ud800"}}}]'
        )
    ),
)
case(237, "an integer of 4,000 digits", forged(raw('["done", %d, {"value": ' + "9" * 4000 + ', "output": []}]')))
case(
    238,
    "fields of an error of the wrong types",
    forged(failed(output=5), failed(output="text"), failed(output={"a": 1})),
)
case(239, "an error with a status of its own", forged(failed(status=10**30, detail={"a": [1] * 1000})))
case(240, "an error with status 200", forged(failed(status=200, detail="fine")))
case(
    241, "progress of a batch that never was", forged(failed(index=10**9, results="abc"), failed(index="x", results=5))
)
case(242, "CPU time of a century", forged(done(cpu=9e8)))
case(
    243,
    "metadata that claims another user",
    forged(done(metadata={"user_id": "alice", "model": 5, "user": {"role": "admin"}})),
)
case(
    244,
    "a whole answer with status 101",
    forged('["items", n, [["whole", {"value": {}, "status": 101, "content_type": "application/json"}]]]'),
)
case(
    245,
    "a whole answer with status 304 and a body",
    forged('["items", n, [["whole", {"value": "body", "status": 304, "content_type": "text/plain"}]]]'),
)
case(
    246,
    "a header smuggled through the content type",
    forged(
        '["items", n, [["whole", {"value": "x", "status": 200, "content_type": "text/html\\r\\nSet-Cookie: hostile=1"}]]]'
    ),
)
case(247, "items of the wrong kinds", forged('["items", n, [5]]', '["items", n, [None]]', '["items", n, "text"]'))
case(
    248,
    "events without a shape",
    forged('["event", n, {}]', '["event", n, {"type": 5, "data": [1]}]', '["event", n, []]'),
)
case(249, "events among items without a shape", forged('["items", n, [["event", {"type": ["x"], "data": 5}]]]'))

for number, shape in enumerate(
    (
        '["done", [], {}]',
        '["done", {"a": 1}, {}]',
        '["items", [1], ["x"]]',
        '["event", {"a": 1}, {}]',
        '["host", [], [], [], []]',
        '["host", 1, {"a": 1}, "users.get", {}]',
        '["host", 1, n, ["users.get"], {}]',
        '["host", {"a": 1}, n, "users.get", {}]',
        '["host", 1, n, "ask", 5]',
        '["take", [], -10**18]',
        '["take", 1, -10**18]',
        '["take", 1, 10**18]',
        '["pong", {"a": []}]',
        "[None, 1, 2]",
        '[["done"], 1, 2]',
        '["load", 1, {}]',
        '["reply", 1, True, "forged"]',
        "[]",
        '{"done": 1}',
        '["done", n, {"output": 5}]',
        '["done", n, {"output": [{"text": 5}]}]',
        '["done", n, {"error": {"kind": "load", "data": {"type": "x", "message": "y"}}}]',
        '["done", n, {"error": {"kind": "valves", "errors": [{"loc": [[[]]], "msg": "x"}]}}]',
        '["done", True, {"value": "x"}]',
        '["done", 1.0, {"value": "x"}]',
    ),
    start=250,
):
    case(number, f"shape {shape[:40]}", forged(shape))

SYNC = "main, sync = sockets()[:2]\n"
for number, shape in enumerate(
    (
        "[[], [], [], []]",
        "[1, {}, 'users.get', {}]",
        "[1, 1, ['users.get'], {}]",
        "[{}, 0, 'net.resolve', ['localhost', 80]]",
        "[1, 0, 'net.resolve', {}]",
        "[1, 0, 'net.resolve', [['localhost'], 80]]",
        "[1, 0, 'net.resolve', ['localhost', 10**30]]",
        "[1, 0, 'net.resolve', ['localhost', -5]]",
        "[1, 0, 'net.resolve', ['x' * 100000, 80]]",
        "[1, 0, 'net.resolve', ['a..b', 80]]",
        "[1, 0, 'net.resolve', ['\\ud800', 80]]",
        "[1, 0, 'net.resolve', ['a\\x00b', 80]]",
        "[1, 0, 'net.resolve', ['localhost', '80; rm']]",
        "[1]",
        "[1, 2, 3, 4, 5, 6]",
    ),
    start=275,
):
    case(
        number, f"question {shape[:45]}", f"{SYNC}send_all(sync, frame({shape}))\ntime.sleep(0.3)\nreturn 'still here'"
    )

case(
    290,
    "empty frames",
    """
    send_all(sockets()[0], bytes(4) * 1000)
    time.sleep(0.3)
    return 'still here'
    """,
    expect=(KILLED,),
)
case(
    291,
    "a flood of answers to pings",
    """
    send_all(sockets()[0], frame(['pong', 1]) * 30_000)
    return 'still here'
    """,
)
case(
    292,
    "one byte at a time",
    """
    main = sockets()[0]
    data = frame(["pong", 1]) * 400
    end = time.monotonic() + 1.5
    for byte in data:
        send_all(main, bytes([byte]))
        if time.monotonic() > end:
            break
    time.sleep(1)
    return "still here"
    """,
    seconds=2,
)
case(
    293,
    "close everything up to 255",
    """
    os.closerange(0, 256)
    time.sleep(30)
    """,
    expect=ANY_ERROR,
)
case(
    294,
    "another socket over the channel",
    """
    a, b = socket.socketpair()
    os.dup2(a.fileno(), sockets()[0])
    os.dup2(b.fileno(), sockets()[1])
    time.sleep(30)
    """,
    expect=ANY_ERROR,
)
case(
    295,
    "half a shutdown of the channel",
    """
    with socket.socket(fileno=os.dup(sockets()[0])) as copy:
        copy.shutdown(socket.SHUT_RD)
    time.sleep(30)
    """,
    expect=ANY_ERROR,
)
case(
    296,
    "the other half of a shutdown",
    """
    with socket.socket(fileno=os.dup(sockets()[0])) as copy:
        copy.shutdown(socket.SHUT_WR)
    time.sleep(30)
    """,
    expect=ANY_ERROR,
)
case(
    297,
    "the synchronous channel closed, then asked",
    """
    with socket.socket(fileno=os.dup(sockets()[1])) as copy:
        copy.shutdown(socket.SHUT_RDWR)
    try:
        socket.getaddrinfo("localhost", v["allowed"])
    except OSError:
        pass
    return "still here"
    """,
)
case(
    298,
    "the worker's own modules changed to lie",
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("pipeline_app"):
            for key, value in list(vars(module).items()):
                if isinstance(value, int) and not isinstance(value, bool):
                    setattr(module, key, 2**40)
                if key in ("HookError", "checked", "weight", "encode", "jsonable"):
                    setattr(module, key, lambda *given, **named: given and given[0])
    return "x" * (30 << 20)
    """,
    expect=ANY_ERROR,
)
case(
    299,
    "the call's end told before its end",
    forged(done(value="early")).replace("time.sleep(0.5)", "time.sleep(60)"),
    expect=(ANSWER, KILLED, TIME),
    seconds=3,
)
case(
    300,
    "two ends of one call",
    forged(done(value="one"), done(value="two"), done(value="three")),
)
case(
    301,
    "a question to the user for another's call",
    forged('["host", 1, n + 5000, "ask", {"type": "input", "data": {}}]'),
)
case(
    302,
    "a flood of questions that nobody reads",
    """
    main = sockets()[0]
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        send_all(main, b"".join(frame(["host", k, n, "models.list", {}]) for n in range(4, 12) for k in range(20)))
    return "asked"
    """,
    seconds=1.5,
)
case(
    303,
    "frames of a hundred thousand empty objects",
    """
    main = sockets()[0]
    for _ in range(6):
        for n in (1, 2, 3):
            send_all(main, frame(b'["items",%d,[' % n + b"{}," * 170_000 + b"{}]]"))
    time.sleep(1)
    return "still here"
    """,
    seconds=2,
)
case(
    304,
    "frames of a hundred thousand letters",
    """
    main = sockets()[0]
    for _ in range(6):
        for n in (1, 2, 3):
            send_all(main, frame(b'["items",%d,[' % n + b'"a",' * 125_000 + b'"a"]]'))
    time.sleep(1)
    return "still here"
    """,
    seconds=2,
    runs="stream",
)
case(
    305,
    "long frames that cost no credit",
    """
    main = sockets()[0]
    made = frame(b'["pong",[' + b"1.5," * 500_000 + b"1]]")
    end = time.monotonic() + 2
    while time.monotonic() < end:
        send_all(main, made)
    return "still here"
    """,
    seconds=2,
)
case(
    306,
    "host calls with a megabyte of parameters",
    """
    main = sockets()[0]
    made = [frame(b'["host",%d,2,"users.get",[' % n + b"1.5," * 400_000 + b"1]]") for n in range(8)]
    end = time.monotonic() + 2
    while time.monotonic() < end:
        for one in made:
            send_all(main, one)
    return "still here"
    """,
    seconds=2,
)
case(
    307,
    "log lines forged through the name of a host call",
    r"""
    main, sync = sockets()[:2]
    for n in range(6):
        send_all(sync, frame([1, n, "users.get\nFORGED admin logged in\x1b[2J", {}]))
        send_all(main, frame(["host", 1, n, "\r\nFORGED again", {}]))
        send_all(sync, frame([1, n, "net.resolve", ["x\nFORGED", 80]]))
    time.sleep(0.3)
    return "still here"
    """,
)
case(
    308,
    "log lines forged through the kind of a message",
    "send_all(sockets()[0], frame(['\\nFORGED\\x1b[2J', 1]))\ntime.sleep(0.5)",
    expect=(KILLED,),
)
case(
    309,
    "log lines forged through the names of host, thread and function",
    """
    libc.prctl(15, b"\\nFORGED", 0, 0, 0)
    for name in ("x\\nFORGED.example.com", "\\x1b[2J.example.com", "a" * 70 + "\\nFORGED"):
        try:
            socket.create_connection((name, 80), 1)
        except (OSError, UnicodeError):
            pass
    os.kill(os.getpid(), 11)
    """,
    expect=(KILLED,),
)
