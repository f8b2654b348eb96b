"""CPU and wall time: code that does not come back, in Python, in C, on the loop and on threads."""

from __future__ import annotations

from tests.hostile.cases.case import FAILED, KILLED, MEMORY, OUTPUT, TIME, WORKS, Chapter

case = Chapter(
    "CPU and time",
    expect=(TIME,),
    layer="time limit, then kill",
    policy={"time_limit": {"pipe": 1, "first_chunk": 1}},
    seconds=2,
)

case(122, "10**10**8", "return str(len(str(10 ** 10 ** 8)))", expect=(TIME, FAILED))
case(
    123,
    "regex backtracking",
    """
    import re
    return str(re.match(r'(a+)+$', 'a' * 40 + 'b'))
    """,
)
case(
    124,
    "spin sync",
    """
    while True:
        pass
    """,
)
case(
    125,
    "spin async (loop blocked)",
    """
    async def attack(v):
        while True:
            pass
    """,
    seconds=4,
)
case(
    126,
    "sleep past limit async",
    """
    async def attack(v):
        await asyncio.sleep(3600)
    """,
)
case(127, "sleep past limit sync", "time.sleep(3600)")
case(
    128,
    "swallows cancellation",
    """
    async def attack(v):
        while True:
            try:
                await asyncio.sleep(3600)
            except BaseException:
                pass
    """,
)
case(
    129,
    "swallows thread interrupt",
    """
    while True:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            pass
    """,
)
case(
    130,
    "lock held at timeout",
    """
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
    """,
)
case(
    131,
    "infinite sync generator",
    """
    while True:
        yield 'word '
    """,
    runs="stream",
    expect=(TIME,),
)
case(
    132,
    "infinite async generator",
    """
    async def attack(v):
        while True:
            yield 'word '
            await asyncio.sleep(0)
    """,
    runs="stream",
    expect=(TIME,),
)
case(
    133,
    "infinite events",
    """
    class Pipe:
        async def pipe(self, body, __event_emitter__):
            while True:
                await __event_emitter__({"type": "status", "data": {"description": "x" * 100, "done": False}})
    """,
    runs="stream",
    expect=(TIME, OUTPUT),
)
case(
    134,
    "recursion without limit",
    """
    sys.setrecursionlimit(10**9)
    def deeper(n):
        return deeper(n + 1) + 1
    return str(deeper(0))
    """,
    expect=(FAILED, KILLED, MEMORY, TIME),
    layer="memory limit or time limit",
)
case(135, "segfault", "return str(ctypes.string_at(1))", expect=(KILLED,), layer="process boundary", seconds=0)
case(
    136,
    "parser bomb",
    "return str(eval('(' * 190 + '-' * 100_000 + '1' + ')' * 190))",
    expect=(FAILED, KILLED, MEMORY, TIME),
    seconds=0,
)
case(
    137,
    "finaliser loop",
    """
    class Endless:
        def __del__(self):
            while True:
                pass
    Endless()
    return "held: never here"
    """,
)
case(
    138,
    "hash collision flood",
    """
    modulus = sys.hash_info.modulus
    made = {}
    for number in range(100_000):
        made[number * modulus] = number
    return str(len(made))
    """,
)
case(
    139,
    "fd exhaustion",
    """
    kept = []
    while True:
        kept.append(os.open('/dev/null', os.O_RDONLY))
    """,
    expect=(FAILED,),
    layer="RLIMIT_NOFILE",
    seconds=0,
    marks=("OSError",),
)
case(
    140,
    "worker usable after fd exhaustion",
    """
    kept = []
    try:
        while True:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    for number in kept:
        os.close(number)
    return "works"
    """,
    expect=(WORKS,),
    layer="(must work)",
    seconds=0,
)
