"""Poisoned answers, errors, events and objects, as Python allows them without touching the channel."""

from __future__ import annotations

from tests.hostile.cases.case import (
    ANSWER,
    ANY_ERROR,
    FAILED,
    HELD,
    KILLED,
    OUTPUT,
    TIME,
    UNHARMED,
    WORKS,
    Chapter,
)

case = Chapter("Poisoned values", expect=UNHARMED, layer="checks in the worker and in the server")

case(
    310,
    "HTTPException with a detail of 10 MB",
    """
    class HTTPException(Exception):
        status_code = 418
        detail = 'x' * (10 << 20)
    raise HTTPException()
    """,
    expect=(*ANY_ERROR, "status 418 function_failed"),
)
case(
    311,
    "HTTPException with a status of its own kind",
    """
    class Number(int):
        def __int__(self):
            return 10**20
        def __le__(self, other):
            return True
        __ge__ = __lt__ = __gt__ = __le__
        def __format__(self, spec):
            raise SystemExit
        __str__ = __repr__ = __index__ = lambda self: 5
    class HTTPException(Exception):
        status_code = Number(418)
        detail = {"a": float("nan"), "b": [{}] * 1000}
    raise HTTPException()
    """,
    expect=(*ANY_ERROR, "status 418 function_failed"),
)
case(
    312,
    "an exception that cannot be described",
    """
    class Evil(Exception):
        def __str__(self):
            raise KeyboardInterrupt
        __repr__ = __str__
        __traceback__ = property(lambda self: 1 / 0)
        __cause__ = __context__ = property(lambda self: self)
        args = property(lambda self: 1 / 0)
    raise Evil()
    """,
    expect=ANY_ERROR,
)
case(
    313,
    "an exception that is described for ever",
    """
    class Evil(Exception):
        def __str__(self):
            while True:
                pass
    raise Evil()
    """,
    expect=(TIME, FAILED, KILLED),
    policy={"time_limit": {"pipe": 1}},
    seconds=2,
)
case(314, "an exception of 50 MB", "raise ValueError('x' * (50 << 20))", expect=ANY_ERROR)
case(
    315,
    "a traceback of ten thousand frames and causes",
    """
    sys.setrecursionlimit(20_000)
    def deep(n):
        if n == 0:
            raise ValueError("deep")
        try:
            deep(n - 1)
        except ValueError as error:
            raise ValueError(n) from error
    deep(4000)
    """,
    expect=ANY_ERROR,
)
case(
    316,
    "exception groups within each other",
    """
    made = ValueError('x')
    for n in range(3000):
        made = ExceptionGroup('g', [made, made])
    raise made
    """,
    expect=ANY_ERROR,
)
case(
    317,
    "a class that raises a class",
    "raise type('\\x1b[2J\\nFORGED line', (Exception,), {})('\\x1b]0;FORGED\\x07\\r\\nFORGED admin logged in')",
    expect=ANY_ERROR,
)
case(
    318,
    "log lines forged through native output",
    """
    text = b"\\nFORGED CRITICAL admin logged in\\n\\x1b[2J\\x1b]0;FORGED\\x07\\r\\nFORGED again\\n"
    libc.write(2, text, len(text))
    libc.write(1, text, len(text))
    time.sleep(0.2)
    os._exit(1)
    """,
    expect=(KILLED,),
)
case(
    319,
    "log lines forged through print and logging",
    """
    import logging
    print('\\nFORGED\\x1b[2J')
    logging.error('x\\nFORGED admin logged in\\x1b]0;FORGED\\x07')
    return 'works'
    """,
    expect=WORKS,
)
case(
    320,
    "chunks of the wrong shapes",
    """
    for made in ({"choices": 5}, {"choices": [5]}, {"choices": [{"delta": 5}]}, {"choices": [{"index": "x", "delta": {"content": 5}}]},
                 {"choices": [{"index": -1, "delta": {"content": ["x"], "tool_calls": "y"}, "finish_reason": {"a": 1}}]},
                 {"choices": [{"index": True, "message": []}]}, {"usage": "x", "choices": []}, {"id": 5, "model": [], "object": {}},
                 {"choices": [{"delta": {"content": "x", "role": 7, "tool_calls": [{"index": 10**30}]}}]}, {}, {"event": 5}, {"type": 5}, {"data": {}}):
        yield made
    """,
    runs="stream",
)
case(
    321,
    "an error object among chunks",
    """
    yield 'x'
    yield {'error': {'message': ['FORGED'], 'code': 10**30, 'status': 'x'}}
    yield {'error': 5}
    """,
    runs="stream",
)
case(
    322,
    "chunks of server-sent events with events of their own",
    """
    yield 'data: {"choices": [{"delta": {"content": "x"}}]}\\n\\ndata: [DONE]\\n\\nevent: x\\n\\n'
    yield 'data: {broken\\n\\n'
    yield 'id: 5\\nretry: 1\\ndata: '
    """,
    runs="stream",
)
case(
    323,
    "empty chunks without end",
    """
    while True:
        yield ''
    """,
    runs="stream",
    expect=(TIME,),
    policy={"time_limit": {"pipe": 1, "first_chunk": 1}},
    seconds=2,
)
case(
    324,
    "a million tiny chunks",
    """
    for number in range(1_000_000):
        yield 'x'
    """,
    runs="stream",
    expect=(ANSWER, TIME, OUTPUT),
    policy={"time_limit": {"pipe": 8}},
    seconds=6,
)
case(
    325,
    "a hundred thousand tiny events",
    """
    class Pipe:
        async def pipe(self, body, __event_emitter__):
            for number in range(100_000):
                await __event_emitter__({"type": "status", "data": {"description": "x"}})
            return "works"
    """,
    expect=(WORKS, TIME, OUTPUT, FAILED),
    policy={"time_limit": {"pipe": 8}},
    seconds=3,
)
case(
    326,
    "an event of 50 MB",
    """
    class Pipe:
        async def pipe(self, body, __event_emitter__):
            await __event_emitter__({"type": "message", "data": {"content": "x" * (50 << 20)}})
            return "works"
    """,
    runs="stream",
)
case(
    327,
    "events of the wrong types",
    """
    class Pipe:
        async def pipe(self, body, __event_emitter__):
            for made in (5, None, [], "x", {}, {"type": 5}, {"type": None, "data": 5}, {"type": "message", "data": "x"},
                         {"type": "replace", "data": {"content": {"a": 1}}}, {"type": "chat:completion", "data": []},
                         {"type": "chat:message:delta", "data": {"content": None}}, {"type": "source", "data": 5},
                         {"type": "x" * 100_000, "data": {}}, {"type": "\\r\\nevent: x", "data": {1: {2: {3: ()}}}},
                         {"type": "files", "data": {"files": 5}}, {"type": "status", "data": float("nan")}):
                try:
                    await __event_emitter__(made)
                except Exception:
                    pass
            return "works"
    """,
    expect=(WORKS, ANSWER, FAILED),
)
case(
    328,
    "events from threads that outlive the call",
    """
    class Pipe:
        async def pipe(self, body, __event_emitter__):
            loop = asyncio.get_running_loop()
            def flood():
                for _ in range(20_000):
                    try:
                        asyncio.run_coroutine_threadsafe(__event_emitter__({"type": "status", "data": {}}), loop)
                    except BaseException:
                        return
            for _ in range(4):
                threading.Thread(target=flood, daemon=True).start()
            return "works"
    """,
    expect=(WORKS, ANSWER),
    policy={"memory_mb": 2048},  # a slow loop has all of it waiting at once
)
case(
    329,
    "user and metadata poisoned",
    """
    class Pipe:
        def pipe(self, body, __user__, __metadata__, __request__=None):
            __user__["role"] = "admin"
            __user__["self"] = __user__
            __metadata__["user_id"] = "alice"
            __metadata__["again"] = __metadata__
            __metadata__["deep"] = {}
            body["metadata"] = body
            return "works"
    """,
)
case(
    330,
    "credentials looked for in the request",
    """
    class Pipe:
        def pipe(self, body, __user__, __metadata__, __request__):
            seen, todo, found = set(), [__request__, __user__, __metadata__, body], []
            while todo and len(seen) < 50_000:
                thing = todo.pop()
                if id(thing) in seen:
                    continue
                seen.add(id(thing))
                if isinstance(thing, str):
                    if thing.startswith(("sk-", "Bearer sk-")) and len(thing) > 20:
                        found.append(thing)
                elif isinstance(thing, dict):
                    todo += [*thing.keys(), *thing.values()]
                elif isinstance(thing, (list, tuple, set)):
                    todo += list(thing)
                elif hasattr(thing, "__dict__") and not isinstance(thing, type(sys)):
                    todo += list(vars(thing).values())
            headers = str(dict(getattr(__request__, "headers", {}))).lower()
            if "bearer sk-" in headers:
                found.append(headers)
            return f"LEAK: {found}" if found else "held: no credential"
    """,
    expect=(HELD,),
)
case(
    331,
    "a dict subclass that changes while it is read",
    """
    class Moving(dict):
        def items(self):
            while True:
                yield 'x', 'y' * 1000
    return Moving(a=1)
    """,
    expect=(*ANY_ERROR, ANSWER),
    policy={"time_limit": {"pipe": 2}},
    seconds=2,
)
case(
    332,
    "a model_dump that never ends",
    """
    class Endless:
        def model_dump(self, **named):
            while True:
                pass
    return {'a': Endless()}
    """,
    expect=(TIME, ANSWER, FAILED),
    policy={"time_limit": {"pipe": 1}},
    seconds=2,
)
case(
    333,
    "a generator that will not be closed",
    """
    while True:
        try:
            yield 'word '
            time.sleep(0.01)
        except BaseException:
            pass
    """,
    runs="leave",
)
case(
    334,
    "an async generator that will not be closed",
    """
    async def attack(v):
        while True:
            try:
                yield "word "
                await asyncio.sleep(0.01)
            except BaseException:
                pass
    """,
    runs="leave",
)
case(
    335,
    "JSON keys that collide as text",
    "return {1: 'a', '1': 'b', None: 'c', 'null': 'd', True: 'e', 1.5: 'f', (1,): 'g', b'1': 'h'}",
)
case(
    336,
    "a text of a million combining marks and directions",
    "return '\\u202e' + 'a\\u0300' * 200_000 + '\\u2028\\u2029\\ufeff'",
)
case(
    337,
    "hooks swapped while they run",
    """
    class Pipe:
        def pipe(self, body):
            type(self).pipe = property(lambda self: 1 / 0)
            self.__class__ = type("Other", (), {"__getattribute__": lambda s, n: 1 / 0})
            return "works"
    """,
)
