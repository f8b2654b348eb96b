"""The worker's own channel to the server, in the hands of the author: ``ctypes`` and ``os.write`` reach it.

The first stream socket of a worker carries frames, the second synchronous questions (``THREAT_MODEL.md``).
"""

from __future__ import annotations

from tests.hostile.cases.case import ANY_ERROR, HELD, KILLED, OUTPUT, TIME, UNHARMED, WORKS, Chapter

case = Chapter("IPC", expect=(KILLED,), layer="the server's checks of frames", policy={"time_limit": {"pipe": 5}})

WAIT = "\ntime.sleep(2)\nreturn 'still here'"

ASK = '''
def ask(number, call, method, params, n=7):
    """A question on the synchronous channel, and its answer as (ok, value)."""
    send_all(number, frame([n, call, method, params]))
    data = b""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            data += os.read(number, 65536)
        except BlockingIOError:
            time.sleep(0.005)
        if len(data) >= 4 and len(data) >= 4 + struct.unpack(">I", data[:4])[0]:
            return json.loads(data[4:])[1:]
    raise TimeoutError("no answer")


def refused(v, calls, methods, params):
    main, sync = sockets()[:2]
    answers = []
    for call in calls:
        for method in methods:
            ok, value = ask(sync, call, method, params)
            if ok:
                return f"LEAK: {method} of call {call}: {value!r:.200}"
            answers.append(value)
    return f"held: {sorted({str(answer) for answer in answers})}"
'''

case(150, "garbage bytes on the channel", "send_all(sockets()[0], b'GET / HTTP/1.1\\r\\n' * 100)" + WAIT)
case(151, "length prefix of 4 GB", "send_all(sockets()[0], b'\\xff\\xff\\xff\\xff' + b'x' * 1000)" + WAIT)
case(
    152,
    "length prefix of 2 GB, sync channel",
    "send_all(sockets()[1], b'\\x7f\\xff\\xff\\xff' + b'x' * 1000)" + WAIT,
)
case(153, "valid length, not JSON", "send_all(sockets()[0], frame(b'{not json]'))" + WAIT)
case(
    154,
    "pickle payload as frame",
    """
    import pickle
    class Evil:
        def __reduce__(self):
            return (os.system, ("touch " + v["in_tmp"],))
    send_all(sockets()[0], frame(pickle.dumps(Evil())))
    """
    + WAIT.replace("\n", "\n    "),
)
case(155, "wrong frame shapes", "send_all(sockets()[0], frame(['done']))" + WAIT)
case(
    156,
    "unknown frame type",
    """
    send_all(sockets()[0], frame(['hello', 1, 2]))
    time.sleep(0.3)
    return 'still here'
    """,
    expect=UNHARMED,
)
case(
    157,
    "forged results for other calls",
    """
    for number in range(5_000, 5_300):
        send_all(sockets()[0], frame(["done", number, {"value": "forged", "metadata": None, "cpu": 0, "output": [], "error": None}]))
    return "works"
    """,
    expect=WORKS,
)
case(
    158,
    "ungranted host call",
    ASK
    + """
def attack(v):
    methods = ("users.write", "users.update", "functions.write", "functions.update", "valves.read", "valves.get", "shell")
    return refused(v, range(12), methods, {"id": v["user_id"], "role": "admin"})
""",
    expect=HELD,
)
case(
    159,
    "host call with forged call id",
    ASK
    + """
def attack(v):
    return refused(v, (5_000, 2**31, 2**62, -1), ("users.get", "files.list", "models.list"), {"id": v["user_id"]})
""",
    expect=(HELD, KILLED),
)
case(
    160,
    "dunder host method",
    ASK
    + """
def attack(v):
    methods = ("__class__", "__init__", "_handlers", "close", "call", "users.__class__", "net.__init__", "", ".", "net.resolve.__globals__")
    return refused(v, range(4), methods, {})
""",
    expect=(HELD, KILLED),
)
case(
    161,
    "flow-control overrun",
    """
    def attack(v):
        yield "first"
        main = sockets()[0]
        for _ in range(400):
            for number in range(1, 4):
                send_all(main, frame(["items", number, ["x" * 60_000]]))
        time.sleep(2)
        yield "still here"
    """,
    runs="unread",
    expect=(KILLED, OUTPUT),
    policy={"output_mb": 16, "time_limit": 20},
    seconds=3,
)
case(
    162,
    "host-call flood",
    """
    main = sockets()[0]
    end = time.monotonic() + 1.5
    number = 0
    while time.monotonic() < end:
        batch = b"".join(frame(["host", number + k, 1, "users.get", {"id": "nobody"}]) for k in range(50))
        send_all(main, batch)
        number += 50
    return f"asked {number}"
    """,
    expect=UNHARMED,
    seconds=1.5,
)
case(
    163,
    "half frame then stall",
    """
    send_all(sockets()[0], struct.pack('>I', 1000) + b'["items"')
    time.sleep(60)
    """,
    expect=(TIME, KILLED),
    policy={"time_limit": {"pipe": 1}},
    seconds=3,
)
case(
    164,
    "close the channel",
    """
    for number in sockets():
        os.close(number)
    time.sleep(60)
    """,
    expect=ANY_ERROR,
    policy={"time_limit": {"pipe": 1}},
)
case(
    165,
    "send descriptors to the host",
    """
    for number in sockets()[:1]:
        with socket.socket(fileno=os.dup(number)) as copy:
            copy.setblocking(True)
            for _ in range(200):
                null = os.open("/dev/null", os.O_RDONLY)
                try:
                    socket.send_fds(copy, [frame(["pong", 0])], [null] * 10)
                except OSError:
                    pass  # too many on their way
                os.close(null)
            copy.setblocking(False)
    return "works"
    """,
    expect=(WORKS, KILLED),
)
case(
    166,
    "slow reader of replies",
    """
    sync = sockets()[1]
    os.set_blocking(sync, False)
    sent = 0
    end = time.monotonic() + 1
    while time.monotonic() < end:
        try:
            sent += os.write(sync, frame([1, 0, "net.resolve", ["localhost", 80]]))
        except BlockingIOError:
            time.sleep(0.01)
    return f"sent {sent}"
    """,
    expect=UNHARMED,
    seconds=1,
)
