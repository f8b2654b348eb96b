"""Failures that cannot be told: exceptions, metadata and log records made so that whoever describes them fails too.

Each must end its call at once, with the reason that can be told. Before its time limit, nobody else would notice.
"""

from __future__ import annotations

from tests.hostile.cases.case import ANSWER, FAILED, REFUSED, TIME, WORKS, Chapter

case = Chapter("Failures that cannot be told", expect=(FAILED,), layer="checks in the worker")

NAMED = """
class Named(type):
    __name__ = property(lambda kind: {0})

class Evil(Exception, metaclass=Named):
    pass
"""

case(
    370,
    "an awaited exception whose text ends the process",
    """
    class Evil(Exception):
        def __str__(self):
            raise SystemExit

    async def attack(v):
        raise Evil()
    """,
    marks=("Evil, which cannot be printed",),
)
case(
    371,
    "an exception of a class whose name is no text",
    NAMED.format("object()") + "\nasync def attack(v):\n    raise Evil('what went wrong')\n",
    marks=("what went wrong",),
)
case(
    372,
    "an exception of a class whose name ends the process",
    NAMED.format("sys.exit(1)") + "\nasync def attack(v):\n    raise Evil('what went wrong')\n",
    marks=("what went wrong",),
)
case(
    373,
    "a syntax error on a line that is no number",
    """
    async def attack(v):
        error = SyntaxError('what went wrong')
        error.filename, error.lineno = attack.__code__.co_filename, object()
        raise error
    """,
    marks=("what went wrong",),
)
case(
    374,
    "an exception that answers every attribute with another",
    """
    class Evil(Exception):
        def __getattr__(self, name):
            raise KeyError(name)

    async def attack(v):
        raise Evil('what went wrong')
    """,
    marks=("what went wrong",),
)
case(
    375,
    "the worker's own error, saying what is no text",
    """
    async def attack(v):
        made = sys.modules['pipeline_app.worker.errors'].HookError({'message': 'm'})
        made.data = {'type': object(), 'message': {1: object()}, 'line': b'x'}
        raise made
    """,
)
case(
    376,
    "the worker's own error without what it says",
    """
    async def attack(v):
        made = sys.modules['pipeline_app.worker.errors'].HookError({'message': 'm'})
        del made.data
        raise made
    """,
)
case(
    377,
    "an exception in a chain of a hundred thousand",
    """
    async def attack(v):
        last = None
        for number in range(100_000):
            error = ValueError(number)
            error.__context__, last = last, error
        raise last
    """,
    marks=("99999",),
)
case(
    378,
    "a group of a hundred thousand exceptions",
    """
    async def attack(v):
        raise ExceptionGroup('many', [ValueError(number) for number in range(100_000)])
    """,
    marks=("many",),
)
case(
    379,
    "a traceback of three hundred thousand frames",
    """
    import types

    async def attack(v):
        try:
            1 / 0
        except ZeroDivisionError as error:
            step = error.__traceback__
            for _ in range(300_000):
                step = types.TracebackType(step, step.tb_frame, 0, 1)
            raise error.with_traceback(step)
    """,
    marks=("division by zero",),
)
case(
    380,
    "metadata that cannot be written",
    """
    class Closed(dict):
        def items(self):
            raise RuntimeError('no items')

    class Pipe:
        async def pipe(self, body, __metadata__):
            __metadata__['x'] = Closed(a=1)
            return 'works'
    """,
    marks=("no items",),
)
case(
    381,
    "metadata that ends the process when it is compared or read",
    """
    class Exiting:
        def __eq__(self, other):
            raise SystemExit
        def __getattr__(self, name):
            raise SystemExit

    class Pipe:
        def pipe(self, body, __metadata__):
            __metadata__['x'] = Exiting()
            return 'works'
    """,
)
case(
    382,
    "levels of logging that are no text",
    """
    import logging
    logging.addLevelName(25, object())
    logging.addLevelName(26, 'x' * (8 << 20))
    logging.log(25, 'one')
    logging.log(26, 'two')
    return 'works'
    """,
    expect=(WORKS,),
)
case(
    383,
    "everything that waits cancelled, found by the collector",
    """
    async def attack(v):
        for thing in gc.get_objects():
            if isinstance(thing, (asyncio.Future, asyncio.Handle)):
                thing.cancel()
        return 'works'
    """,
)
case(
    384,
    "a result that claims to be a text",
    """
    class Claiming:
        __class__ = str
        def __len__(self):
            return 10 ** 18

    async def attack(v):
        return Claiming()
    """,
    expect=(FAILED, ANSWER),
)
case(
    385,
    "texts and keys with methods of their own",
    """
    class Text(str):
        __hash__ = str.__hash__
        def isascii(self):
            return True
        def encode(self, *given):
            return 5
        def __eq__(self, other):
            return False

    async def attack(v):
        return {Text('a'): Text('\\ud800'), Text('\\ud801'): {Text('b'): 1}}
    """,
    expect=(FAILED, ANSWER),
)
case(
    386,
    "an awaitable that waits for nothing, for ever",
    """
    class Spinning:
        def __await__(self):
            while True:
                try:
                    yield None
                except BaseException:
                    pass

    class Pipe:
        async def pipe(self, body):
            return await Spinning()
    """,
    expect=(TIME,),
    policy={"time_limit": {"pipe": 1}},
    seconds=2,
)
case(
    387,
    "an iterator whose end never ends",
    """
    class Endless:
        def __aiter__(self):
            return self
        async def __anext__(self):
            await asyncio.sleep(0.01)
            return 'x'
        async def aclose(self):
            while True:
                try:
                    await asyncio.sleep(3600)
                except BaseException:
                    pass

    class Pipe:
        async def pipe(self, body):
            return Endless()
    """,
    runs="stream",
    expect=(TIME,),
    policy={"time_limit": {"pipe": 1}},
    seconds=2,
)
case(
    388,
    "a clean-up after the answer that never ends",
    """
    class Response:
        status_code = 200
        headers = {'content-type': 'text/plain'}
        body = b'x'
        async def background(self):
            while True:
                try:
                    await asyncio.sleep(1)
                except BaseException:
                    pass

    class Pipe:
        async def pipe(self, body):
            return Response()
    """,
    expect=(TIME,),
    policy={"time_limit": {"pipe": 1}},
    seconds=2,
)
case(
    389,
    "a lock of the interpreter that a thread never gives back",
    """
    threading.Thread(target=ctypes.PyDLL(None).sleep, args=(3600,), daemon=True).start()
    time.sleep(0.01)
    return 'works'
    """,
    expect=(TIME,),
    policy={"time_limit": {"pipe": 1}},
    seconds=3,
)

TAIL = "\n\nclass Pipe:\n    def pipe(self, body):\n        return 'works'\n"
case(
    390,
    "a source that raises the worker's own error without what it says",
    "made = sys.modules['pipeline_app.worker.errors'].LoadError({'message': 'm'})\ndel made.data\nraise made" + TAIL,
    expect=(REFUSED,),
    runs="publish",
)
case(
    391,
    "a source that raises an exception without a name",
    NAMED.format("sys.exit(1)") + "\nraise Evil('what went wrong')" + TAIL,
    expect=(REFUSED,),
    runs="publish",
    marks=("what went wrong",),
)
case(
    392,
    "a class whose attributes end the process",
    "class Pipe:\n    name = property(lambda self: sys.exit(1))\n    def pipe(self, body):\n        return 'works'\n",
    expect=(REFUSED,),
    runs="publish",
)
for number, (hook, raised) in enumerate(
    (("inlet", "asyncio.CancelledError()"), ("outlet", "GeneratorExit()"), ("stream", "KeyboardInterrupt()")), 393
):
    case(
        number,
        f"a filter's {hook} that raises {raised}",
        f"""
        class Filter:
            toggle = True
            def __init__(self):
                self.toggle = True
            async def {hook}(self, {"event" if hook == "stream" else "body"}):
                raise {raised}
        """,
        runs="filter stream" if hook == "stream" else "filter",
    )
