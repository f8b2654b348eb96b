"""Python's own ways to look around, end the process, and stay in it."""

from __future__ import annotations

from tests.hostile.cases.case import ANY_ERROR, HELD, KILLED, TIME, UNHARMED, WORKS, Chapter

case = Chapter("Python level", layer="process boundary", policy={"time_limit": {"pipe": 2}})

case(
    167,
    "subclass walk",
    """
    found = []
    for kind in object.__subclasses__():
        try:
            found += [cls.__name__ for cls in kind.__subclasses__() if cls.__module__.startswith("django")]
        except TypeError:
            pass
        module = sys.modules.get(kind.__module__)
        scope = getattr(module, "__dict__", {})
        if "os" in scope and any("VICTIM" in name for name in scope["os"].environ):
            found.append(kind)
    return f"LEAK: {found}" if found else "held: only what the worker has itself"
    """,
)
case(
    168,
    "import django settings",
    """
    got = []
    for name in ("django", "django.conf", "webui_functions.settings", "functions_app", "functions_app.models",
                 "pipeline_app.runtime", "pipeline_app.runners.process", "manage"):
        try:
            __import__(name)
            got.append(name)
        except ImportError:
            pass
    return f"LEAK: {got}" if got else "held: not there"
    """,
)
case(
    169,
    "search memory for secrets",
    """
    # Which pages are there is asked of write(): it fails with EFAULT instead of ending the process.
    import hashlib, re
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    pages, seen, shape = 0, 0, re.compile(rb"HX-[0-9a-f]{32}")
    start = (id(object()) & ~0xFFF) - (24 << 20)
    for address in range(start, start + (48 << 20), 4096):
        pages += 1
        if libc.write(writer, ctypes.c_void_p(address), 4096) != 4096:
            continue
        seen += 1
        for found in shape.findall(os.read(reader, 4096)):
            if hashlib.sha256(found).hexdigest() in v["digests"]:
                return f"LEAK: a secret at {address:#x}"
    return f"held: {seen} of {pages} pages were there"
    """,
    policy={"time_limit": {"pipe": 10}},
)
case(
    170,
    "another function's valves",
    """
    found = [name for name in sys.modules if "sibling" in name]
    for thing in gc.get_objects():
        if isinstance(thing, dict) and "sibling_password" in thing and thing is not v:
            found.append(sorted(map(str, thing)))
    return f"LEAK: {found}" if found else "held: nobody else here"
    """,
)
case(
    171,
    "monkeypatch stdlib",
    """
    import builtins
    json.dumps = json.loads = lambda *a, **k: "HOSTILE"
    socket.socket.connect = lambda *a: None
    builtins.open = builtins.print = None
    time.time = lambda: 0
    return "held: only this worker's"
    """,
    expect=(HELD, *ANY_ERROR),
)
case(172, "sys.exit", "sys.exit(3)", expect=ANY_ERROR)
case(
    173,
    "sys.exit in async",
    """
    async def attack(v):
        sys.exit(3)
    """,
    expect=ANY_ERROR,
)
case(174, "os._exit", "os._exit(3)", expect=KILLED)
case(175, "os.abort", "os.abort()", expect=KILLED)
case(176, "kill self", "os.kill(os.getpid(), signal.SIGKILL)", expect=KILLED)
case(
    177,
    "signal handler blocks TERM",
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    libc.signal(int(signal.SIGTERM), 1)
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass
    """,
    expect=TIME,
    policy={"time_limit": {"pipe": 1}},
    seconds=2,
)
case(
    178,
    "signal.alarm",
    """
    libc.signal(int(signal.SIGALRM), 1)
    signal.alarm(1)
    time.sleep(1.2)
    return 'works'
    """,
    expect=WORKS,
    layer="(harmless, must work)",
    seconds=1.2,
    policy={"time_limit": {"pipe": 5}},
)
case(
    179,
    "thread left behind spinning",
    """
    def spin():
        while True:
            pass
    threading.Thread(target=spin, daemon=True).start()
    return "works"
    """,
    expect=WORKS,
    layer="idle-CPU watch",
)
case(
    180,
    "sys.settrace / setswitchinterval",
    """
    def trace(*given):
        raise KeyError("traced")
    sys.setswitchinterval(1000)
    threading.settrace(trace)
    sys.setprofile(trace)
    sys.settrace(trace)
    return "held: mine alone"
    """,
    expect=UNHARMED,
)
case(
    181,
    "stop the event loop",
    """
    async def attack(v):
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0.1)
        return "still here"
    """,
    expect=UNHARMED,
)
