"""Memory that nobody counts, and other ways of Linux that are seldom thought of."""

from __future__ import annotations

from tests.hostile.cases.case import ANY_ERROR, DISK, FAILED, HELD, KILLED, MEMORY, WORKS, Chapter

case = Chapter("Seldom thought of", expect=(HELD,), layer="seccomp", policy={"memory_mb": 128})

case(
    900,
    "shared memory advised away, which stays",
    """
    room = mmap.mmap(-1, 512 << 20, mmap.MAP_SHARED)
    base = ctypes.addressof(ctypes.c_char.from_buffer(room))
    for at in range(0, 512 << 20, 16 << 20):
        ctypes.memset(base + at, 1, 16 << 20)
        room.madvise(mmap.MADV_DONTNEED, at, 16 << 20)
    time.sleep(1)
    return "LEAK: 512 MB where 128 MB are allowed" if room[5] == 1 else "held: it is gone"
    """,
    expect=(FAILED, MEMORY, HELD),
    layer="seccomp; memory without a file is private, and so counted",
)
case(
    901,
    "shared memory that is mapped no longer, but for a page",
    """
    libc.mmap.restype = ctypes.c_void_p
    for _ in range(6):
        area = libc.mmap(None, ctypes.c_size_t(64 << 20), 3, 0x21, -1, ctypes.c_long(0))
        if area == 2**64 - 1:
            return "held: there is no such memory"
        ctypes.memset(area, 1, 64 << 20)
        libc.munmap(ctypes.c_void_p(area + 4096), ctypes.c_size_t((64 << 20) - 4096))
        time.sleep(0.05)
    time.sleep(1)
    return "LEAK: 384 MB where 128 MB are allowed"
    """,
)
case(
    902,
    "shared memory by a device",
    "return attempt(lambda: mmap.mmap(os.open('/dev/zero', os.O_RDONLY), 1 << 20, prot=mmap.PROT_READ))",
    layer="Landlock",
)
case(
    903,
    "memory without a file works as Python has it",
    """
    with mmap.mmap(-1, 1 << 20) as room:
        room[:5] = b"hello"
        room.resize(2 << 20)
        assert room[:5] == b"hello" and len(room) == 2 << 20
        assert isinstance(room, mmap.mmap) and type(room).__name__ == "mmap"
    for more in ({"access": mmap.ACCESS_WRITE}, {"access": mmap.ACCESS_COPY}, {"flags": mmap.MAP_PRIVATE}):
        with mmap.mmap(-1, 4096, **more) as room:
            room[0] = 1
    with mmap.mmap(-1, 4096, access=mmap.ACCESS_READ) as room:
        assert room[:4] == bytes(4)
        try:
            room[0] = 1
        except TypeError:
            pass
    with open("own", "w+b") as file:
        file.write(bytes(8192))
        file.flush()
        with mmap.mmap(file.fileno(), 0) as room:
            room[:2] = b"ab"
    with open("own", "rb") as file:
        assert file.read(2) == b"ab"
    return "works"
    """,
    expect=(WORKS,),
    layer="(must work)",
)
case(
    904,
    "more deleted files as mappings than anyone can count",
    """
    for _ in range(20_000):
        number = os.open("m", os.O_CREAT | os.O_RDWR)
        os.ftruncate(number, 4096)
        os.unlink("m")
        libc.mmap(None, ctypes.c_size_t(4096), 1, 1, number, ctypes.c_long(0))
        os.close(number)
    time.sleep(30)
    return "LEAK: nobody minded"
    """,
    expect=(DISK, KILLED),
    policy={"time_limit": {"pipe": 45, "first_chunk": 45}},
    seconds=5,
    layer="disk watch",
)
case(
    905,
    "the server's process as a descriptor",
    """
    got = []
    for number in sockets():
        with socket.socket(fileno=os.dup(number)) as line:
            got += [attempt(lambda: line.getsockopt(socket.SOL_SOCKET, 77), also=(errno.ENOPROTOOPT,))]
    return " ".join(got)
    """,
)
case(
    906,
    "locks on ranges of files, and leases, watches and owners",
    """
    import fcntl
    got = []
    with open("own", "w+b") as file:
        for number in range(1000):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, number * 2)
        fcntl.flock(file, fcntl.LOCK_EX)
        for command, value in ((1024, 1), (1026, 0x7fffffff), (8, os.getpid()), (10, 9), (15, 0), (37, bytes(32)), (1031, 1 << 20), (1036, bytes(8))):
            got.append(attempt(lambda: fcntl.fcntl(file.fileno(), command, value)))
    import sqlite3
    with sqlite3.connect("own.sqlite3") as database:
        database.execute("CREATE TABLE t (x)")
    return " ".join(got)
    """,
)
case(
    907,
    "attributes of files by ioctl",
    """
    import fcntl
    with open("own", "w+b") as file:
        requests = (0x40086602, 0x401C5820, 0x40049409, 0xC020660B, 0x5878, 0x5879, 0x40184540)
        return " ".join(attempt(lambda: fcntl.ioctl(file.fileno(), request, bytes(64)), also=(errno.ENOTTY,)) for request in requests)
    """,
)
case(
    908,
    "files by a descriptor that only names them",
    """
    got = []
    try:
        named = os.open(v["env_file"], os.O_PATH)
    except OSError:
        named = None
    if named is not None:
        got += [attempt(read, f"/proc/self/fd/{named}"), attempt(read, f"/dev/fd/{named}")]
        got.append(attempt(lambda: syscall(v["nr"].get("linkat", 265), named, b"", -100, b"own", 0x1000), also=(errno.ENOENT, errno.EXDEV)))
        got.append(attempt(lambda: os.pread(named, 10, 0), also=(errno.EBADF,)))
    got.append(attempt(lambda: os.open(v["folder"], os.O_TMPFILE | os.O_RDWR)))
    return " ".join(got)
    """,
    layer="Landlock",
)
case(
    909,
    "more of /proc, /sys and /dev",
    """
    got = []
    for path in ("/proc/thread-self/mem", "/proc/self/environ", "/proc/self/task", "/proc/self/ns", "/proc/self/oom_score_adj",
                 "/proc/self/coredump_filter", "/proc/self/timerslack_ns", "/proc/self/clear_refs", "/proc/sysrq-trigger",
                 "/proc/sys/kernel/core_pattern", "/sys/fs/cgroup", "/sys/kernel/debug", "/dev/tty", "/dev/ptmx", "/dev/fuse",
                 "/dev/kmsg", "/dev/mem", "/dev/net/tun", "/dev/loop-control", "/dev/userfaultfd", "/dev/zero"):
        for flags in (os.O_RDONLY, os.O_WRONLY):
            got.append(attempt(lambda: os.open(path, flags), also=(errno.ENOENT, errno.EROFS, errno.EISDIR, errno.ENXIO)))
    return "LEAK: " + " ".join(got) if any(one.startswith("LEAK") for one in got) else "held"
    """,
    layer="Landlock",
)
case(
    910,
    "processes by multiprocessing and asyncio",
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    async def attack(v):
        def pool():
            with ProcessPoolExecutor(1) as made:
                made.submit(print).result(2)
        def process(how):
            made = multiprocessing.get_context(how).Process(target=print)
            made.start()
            made.join()
        got = []
        for do in (lambda: process("fork"), lambda: process("spawn"), lambda: multiprocessing.Pool(1), pool):
            try:
                got.append(attempt(do))
            except Exception as error:
                got.append(f"held: {type(error).__name__}")
        try:
            await asyncio.create_subprocess_exec(sys.executable, "-c", "1")
            got.append("LEAK: a subprocess")
        except OSError:
            pass
        return "LEAK: " + " ".join(got) if any(one.startswith("LEAK") for one in got) else "held"
    """,
    policy={},
)
case(
    911,
    "clone with every other flag",
    """
    number = 56 if os.uname().machine == "x86_64" else 220
    got = []
    for flags in (0x11, 0x4111, 0x4100, 0x10000011, 0x20000011, 0x40000011, 0x7E020011, 0x8011, 0x800011, 0x1011, 0x20010F00, (1 << 32) | 17, (1 << 33) | 17):
        try:
            if syscall(number, flags, 0, 0, 0, 0) == 0:
                os._exit(0)
            got.append(hex(flags))
        except OSError:
            pass
    return f"LEAK: {got}" if got else "held"
    """,
    needs="seccomp",
)
case(
    912,
    "more addresses in disguise",
    """
    got = []
    for host in ("0x7f000001", "017700000001", "127.1", "0", "::ffff:7f00:1", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
                 "2002:7f00:1::", "::127.0.0.1", "::", "255.255.255.255", "localhost.", "LOCALHOST", "ip6-localhost", "[::1]", "::1%lo",
                 "fd00::1", "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "ff02::1", "fd00:ec2::254",
                 "::ffff:169.254.169.254", "\\u2460\\u2461\\u2466.0.0.1", "127\\u30020\\u30020\\u30021"):
        try:
            with socket.create_connection((host, v["tcp"]), 2) as client:
                got.append((host, client.getpeername()))
        except (OSError, UnicodeError):
            pass
    return f"LEAK: {got}" if got else "held"
    """,
    layer="egress broker",
    policy={"time_limit": {"pipe": 20, "first_chunk": 20}},
)
case(
    913,
    "names that are none",
    """
    got = []
    for name in ("a" * 5000, "\\x00", "a\\nb", "-", ".", "..", "a..b", "xn--", "*", "%s%n", "\\ud800", "\\u00e9" * 300, b"\\xff", 5, None,
                 "localhost\\x00.example.com", "127.0.0.1 x", " 127.0.0.1", "127.0.0.1\\n"):
        for port in (80, "http", -1, 70000, None, "0x50", b"80", 1 << 70):
            try:
                found = socket.getaddrinfo(name, port)
            except (OSError, UnicodeError, TypeError, ValueError, OverflowError):
                continue
            for info in found:
                try:
                    with socket.socket(info[0]) as client:
                        client.settimeout(1)
                        client.connect((info[4][0], v["tcp"]))
                        got.append((name, port))
                except (OSError, UnicodeError, TypeError, ValueError, OverflowError):
                    pass
    return f"LEAK: {got}" if got else "held"
    """,
    layer="egress broker",
    policy={"time_limit": {"pipe": 20, "first_chunk": 20}},
)
case(
    914,
    "another file in a socket's place while it connects",
    """
    for _ in range(100):
        client = socket.socket()
        number = client.fileno()
        racing = threading.Thread(target=lambda: os.dup2(0, number))
        racing.start()
        try:
            client.connect(("127.0.0.1", v["tcp"]))
        except OSError:
            pass
        racing.join()
        client.close()
    return "held"
    """,
    layer="egress broker",
    policy={"time_limit": {"pipe": 20, "first_chunk": 20}},
)
case(
    915,
    "long frames that are good for nothing",
    """
    main = sockets()[0]
    end, data = time.monotonic() + 2, frame(["event", 999_999, {"type": "x", "data": [{}] * 240_000}])
    rest = memoryview(data)
    while time.monotonic() < end:
        try:
            rest = rest[os.write(main, rest):] or memoryview(data)
        except BlockingIOError:
            time.sleep(0.001)
    os._exit(1)
    """,
    expect=(KILLED, *ANY_ERROR),
    layer="the server's checks of frames",
    seconds=2,
    policy={"output_mb": 16},
)
