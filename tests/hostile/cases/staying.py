"""Staying alive, hiding from who watches, and taking what nobody counts."""

from __future__ import annotations

from tests.hostile.cases.case import (
    ANSWER,
    ANY_ERROR,
    CPU,
    FAILED,
    HELD,
    KILLED,
    MEMORY,
    TIME,
    UNHARMED,
    Chapter,
)


def chapter() -> Chapter:
    return Chapter(
        "Staying and hiding",
        expect=(TIME, KILLED),
        layer="time limit, then kill; watch",
        policy={"time_limit": {"pipe": 1, "first_chunk": 1}},
        seconds=3,
    )


case = chapter()

case(
    500,
    "SIGSTOP to oneself",
    """
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(30)
    """,
)
case(
    501,
    "every signal ignored and blocked",
    """
    for n in range(1, 65):
        libc.signal(n, 1)
    libc.sigfillset and signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65))
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
    """,
)
case(
    502,
    "the main thread ends, others go on",
    """
    async def attack(v):
        def go_on():
            while True:
                time.sleep(1)
        threading.Thread(target=go_on, daemon=True).start()
        libc.syscall(60 if __import__("platform").machine() == "x86_64" else 93, 0)
    """,
)
case(
    503,
    "memory taken after the main thread has ended",
    """
    async def attack(v):
        def take():
            kept = []
            while True:
                room = mmap.mmap(-1, 16 << 20)
                for at in range(0, 16 << 20, 4096):
                    room[at] = 1
                kept.append(room)
                time.sleep(0.02)
        threading.Thread(target=take, daemon=True).start()
        libc.syscall(60 if __import__("platform").machine() == "x86_64" else 93, 0)
    """,
    expect=(KILLED, MEMORY),
    policy={"time_limit": {"pipe": 15, "first_chunk": 15}, "memory_mb": 128},
)
case(
    504,
    "a name that looks like a line of /proc",
    """
    libc.prctl(15, b') R 0 0 0 (x', 0, 0, 0)
    open('/dev/null').close()
    while True:
        pass
    """,
)
case(
    505,
    "a name with a line of its own",
    """
    libc.prctl(15, b'x\\nRssAnon: 0\\n', 0, 0, 0)
    kept = []
    while True:
        room = mmap.mmap(-1, 16 << 20)
        for at in range(0, 16 << 20, 4096):
            room[at] = 1
        kept.append(room)
        time.sleep(0.02)
    """,
    expect=(MEMORY, KILLED, TIME, FAILED),
    policy={"time_limit": {"pipe": 10}, "memory_mb": 128},
)
case(
    506,
    "an exit handler that never ends",
    """
    import atexit
    def stay():
        while True:
            pass
    atexit.register(stay)
    sys.exit(1)
    """,
    expect=ANY_ERROR,
)
case(
    507,
    "interruptions cleared as they come",
    """
    sys.setswitchinterval(100)
    while True:
        try:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), None)
        except BaseException:
            pass
    """,
)
case(508, "the interpreter's lock held in C", "ctypes.PyDLL(None).sleep(3600)")
case(
    509,
    "the interpreter's lock held on the loop",
    """
    async def attack(v):
        ctypes.PyDLL(None).sleep(3600)
    """,
)
case(
    510,
    "a stack overflow in C",
    """
    import pickle
    made = []
    for _ in range(200_000):
        made = [made]
    sys.setrecursionlimit(10**9)
    return str(repr(made))[:10]
    """,
    expect=ANY_ERROR,
)
case(
    513,
    "CPU burnt in C, without the lock",
    """
    import hashlib
    data = bytes(64 << 20)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        hashlib.sha256(data)
    return 'done'
    """,
    expect=(CPU, TIME, KILLED),
    policy={"cpu_limit": 1, "time_limit": {"pipe": 10}},
)
case(
    514,
    "memory in socket buffers",
    """
    kept, total = [], 0
    try:
        while True:
            a, b = socket.socketpair()
            for one in (a, b):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30)
                one.setblocking(False)
                try:
                    while True:
                        total += one.send(b"x" * 65536)
                except BlockingIOError:
                    pass
            kept.append((a, b))
    except OSError:
        pass
    return f"LEAK: {total >> 20} MB" if total > (512 << 20) else f"held: {total >> 20} MB in {len(kept)} pairs"
    """,
    expect=(HELD, MEMORY, KILLED),
    policy={"time_limit": {"pipe": 6}},
    layer="RLIMIT_NOFILE bounds it",
)
case(
    515,
    "memory in pipes",
    """
    import fcntl
    kept, total = [], 0
    try:
        while True:
            r, w = os.pipe()
            try:
                fcntl.fcntl(w, 1031, 1 << 20)
            except OSError:
                pass
            os.set_blocking(w, False)
            try:
                while True:
                    total += os.write(w, b"x" * 65536)
            except BlockingIOError:
                pass
            kept.append((r, w))
    except OSError:
        pass
    return f"LEAK: {total >> 20} MB" if total > (256 << 20) else f"held: {total >> 20} MB in {len(kept)} pipes"
    """,
    expect=(HELD, MEMORY, KILLED),
    policy={"time_limit": {"pipe": 6}},
    layer="RLIMIT_NOFILE bounds it",
)
case(
    516,
    "descriptors in flight",
    """
    import array
    a, b = socket.socketpair()
    a.setblocking(False)
    sent = 0
    null = os.open('/dev/null', 0)
    try:
        while sent < 100_000:
            a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [null] * 100))])
            sent += 100
    except OSError as error:
        return f'held: {sent}: {error}'
    return f'LEAK: {sent} descriptors'
    """,
    expect=(HELD, FAILED),
    policy={"time_limit": {"pipe": 4}},
    layer="RLIMIT_NOFILE bounds it",
)
case(
    517,
    "timers by the thousand",
    """
    made = 0
    slot = ctypes.c_int()
    while made < 50_000 and libc.timer_create(1, None, ctypes.byref(slot)) == 0:
        made += 1
    return f'held: {made}'
    """,
    expect=(HELD, FAILED, ANSWER),
    policy={"time_limit": {"pipe": 4}},
)
case(
    518,
    "a thousand shared mappings between samples",
    """
    kept = []
    for _ in range(60):
        room = mmap.mmap(-1, 64 << 20)
        kept.append(room)
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(room)), 1, 64 << 20)
    return 'LEAK: 4 GB'
    """,
    expect=(MEMORY, KILLED, FAILED),
    policy={"time_limit": {"pipe": 10}, "memory_mb": 128},
    layer="memory watch, RLIMIT_AS",
)
case(
    519,
    "garbage that never lets go",
    """
    class Undead:
        def __del__(self):
            global kept
            kept = self
            Undead()
            time.sleep(0.001)
    Undead()
    return 'held'
    """,
    expect=UNHARMED,
)
case(
    520,
    "a tight loop of system calls",
    """
    while True:
        os.getppid()
    """,
)
case(
    523,
    "a fault handler that jumps back",
    """
    import faulthandler
    libc.signal(int(signal.SIGSEGV), 1)
    ctypes.string_at(1)
    """,
    expect=ANY_ERROR,
)
case(
    524,
    "the loop replaced",
    """
    async def attack(v):
        loop = asyncio.get_running_loop()
        for name in ('call_soon', 'call_soon_threadsafe', 'add_reader', 'remove_reader', 'call_later'):
            setattr(type(loop), name, lambda *given, **named: None)
        await asyncio.Event().wait()
    """,
)
