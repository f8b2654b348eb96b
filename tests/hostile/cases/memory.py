"""Memory taken in every way there is."""

from __future__ import annotations

from tests.hostile.cases.case import FAILED, KILLED, MEMORY, UNHARMED, Chapter

case = Chapter(
    "Memory",
    expect=(MEMORY, KILLED),
    layer="rlimits (DATA, AS) + memory watch",
    policy={"memory_mb": 128, "time_limit": {"pipe": 20, "first_chunk": 20}},
    seconds=1,
)

case(
    117,
    "memory bomb bytes",
    """
    kept = []
    while True:
        kept.append(bytearray(16 << 20))
    """,
)
case(
    118,
    "memory bomb small objects",
    """
    kept = []
    while True:
        kept.append([object() for _ in range(1000)])
    """,
)
case(
    119,
    "shared anonymous mmap bomb",
    """
    kept = []
    while True:
        room = mmap.mmap(-1, 32 << 20)
        for at in range(0, 32 << 20, 4096):
            room[at] = 1
        kept.append(room)
        time.sleep(0.02)
    """,
    expect=(MEMORY, KILLED, FAILED),
)
case(
    120,
    "shared mmap, untouched 3 GB",
    """
    room = mmap.mmap(-1, 3 << 30)
    room[0] = 1
    return f'mapped {len(room)}'
    """,
    expect=UNHARMED,
    layer="RLIMIT_AS",
    seconds=0,
)
case(
    121,
    "zlib bomb",
    """
    import zlib
    packer = zlib.compressobj(9)
    small = b"".join(packer.compress(bytes(1 << 20)) for _ in range(400)) + packer.flush()
    return f"LEAK: {len(zlib.decompress(small))}"
    """,
)
