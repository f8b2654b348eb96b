"""Threads beside the call: too many, too busy, and longer than it."""

from __future__ import annotations

from tests.hostile.cases.case import CPU, FAILED, HELD, KILLED, MEMORY, THREADS, TIME, WORKS
from tests.hostile.cases.staying import chapter

case = chapter()

case(
    511,
    "threads with tiny stacks",
    """
    threading.stack_size(32768)
    stop = threading.Event()
    n = 0
    try:
        while n < 5000:
            threading.Thread(target=stop.wait, daemon=True).start()
            n += 1
    except RuntimeError as error:
        stop.set()
        return f'held: {error} after {n}'
    return f'LEAK: {n} threads'
    """,
    expect=(HELD, THREADS, KILLED, MEMORY, FAILED),
    policy={"time_limit": {"pipe": 6}},
)
case(
    512,
    "CPU burnt by threads beside the call",
    """
    def burn():
        n = 0
        while True:
            n += 1
    for _ in range(3):
        threading.Thread(target=burn, daemon=True).start()
    time.sleep(20)
    return 'done'
    """,
    expect=(CPU, TIME, KILLED),
    policy={"cpu_limit": 1, "time_limit": {"pipe": 10}},
)
case(
    521,
    "processor held by a thread that outlives its call",
    """
    def burn():
        import hashlib
        data = bytes(16 << 20)
        while True:
            hashlib.sha256(data)
    for _ in range(2):
        threading.Thread(target=burn, daemon=True).start()
    return 'works'
    """,
    expect=(WORKS,),
    layer="idle-CPU watch",
    seconds=0,
)
case(
    522,
    "a call in every thread the policy allows",
    """
    locks = [threading.Lock() for _ in range(20)]
    for lock in locks:
        lock.acquire()
    def wait(lock):
        with lock:
            pass
    for lock in locks:
        threading.Thread(target=wait, args=(lock,)).start()
    return 'works'
    """,
    expect=(WORKS,),
    seconds=0,
)
case(
    525,
    "threads from a loop around clone",
    """
    # push rbx; push r12; rbx = how many; r12 = a stack that nobody uses; then clone with the flags of a thread until
    # rbx is 0 or it fails; every new thread waits in pause for ever.
    code = bytes.fromhex(
        "5341544889fb4989f4b838000000bf000f01004c89e631d24531d24531c00f05"
        "4885c0740e780548ffcb75dd4889d8415c5bc3b8220000000f05ebf7"
    )
    if os.uname().machine == "x86_64":
        area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        area.write(code)
        start = ctypes.addressof(ctypes.c_char.from_buffer(area))
        ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long, ctypes.c_long)(start)(3000, start + 4096)
    else:
        threading.stack_size(32768)
        for _ in range(3000):
            threading.Thread(target=signal.pause, daemon=True).start()
    time.sleep(2)
    return "LEAK: nobody minded"
    """,
    expect=(THREADS,),
    layer="thread count, forty times a second",
)
