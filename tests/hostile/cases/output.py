"""Too much output, and values that are no JSON."""

from __future__ import annotations

from tests.hostile.cases.case import ANSWER, FAILED, KILLED, MEMORY, OUTPUT, UNHARMED, WORKS, Chapter

case = Chapter("Output", layer="output caps in the worker and in the server", policy={"memory_mb": 192})

case(
    141,
    "print flood",
    """
    for number in range(50_000):
        print('flood', number, 'x' * 100)
    return 'works'
    """,
    expect=WORKS,
    policy={"time_limit": 15},
)
case(
    142,
    "native stdout flood",
    """
    line = b"x" * 65536
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        libc.write(1, line, len(line))
    return "works"
    """,
    expect=WORKS,
    policy={"time_limit": 15},
)
case(
    143,
    "one huge print",
    """
    print('x' * (50 << 20))
    return 'works'
    """,
    expect=WORKS,
)
case(144, "huge return value", "return 'x' * (40 << 20)", expect=(OUTPUT, MEMORY))
case(145, "huge chunk", "yield 'x' * (40 << 20)", expect=(OUTPUT, MEMORY), runs="stream")
case(
    146,
    "deeply nested result",
    """
    made = {}
    for _ in range(50_000):
        made = {'a': made}
    return made
    """,
    expect=(FAILED, OUTPUT, MEMORY, KILLED),
)
case(
    147,
    "cyclic result",
    """
    made = {}
    made['a'] = made
    return made
    """,
    expect=(FAILED, OUTPUT),
)
case(
    148,
    "nan, bigint, surrogates",
    "return {'nan': float('nan'), 'inf': float('-inf'), 'big': 10 ** 4000, 'text': '\\ud800 \\x00', 1: b'\\xff'}",
    expect=UNHARMED,
)
case(
    149,
    "object with evil __str__/__reduce__",
    """
    class Evil:
        def __reduce__(self):
            return (os.system, ("touch /tmp/" + v["token"],))
        def __str__(self):
            raise SystemExit("from str")
        __repr__ = __str__
        def __getattr__(self, name):
            raise SystemExit("from getattr")
        @property
        def __class__(self):
            return dict
    return {"a": Evil(), Evil(): 1}
    """,
    expect=(FAILED, ANSWER, KILLED),
)
