"""One's own folder, turned against whoever measures and removes it."""

from __future__ import annotations

from tests.hostile.cases.case import ANSWER, DISK, FAILED, HELD, KILLED, MEMORY, UNHARMED, WORKS, Chapter

case = Chapter(
    "Own folder", expect=UNHARMED, layer="disk watch, removal that follows nothing", policy={"time_limit": {"pipe": 8}}
)

case(
    450,
    "links out of the folder, then death",
    """
    os.symlink(v["folder"], "link")
    os.symlink("/", "root")
    os.symlink("loop", "loop")
    os.mkdir("a")
    os.symlink("../a", "a/again")
    os._exit(1)
    """,
    expect=(KILLED, FAILED),
)
case(
    451,
    "a folder deeper than any path may be",
    """
    for _ in range(4000):
        os.mkdir("d" * 60)
        os.chdir("d" * 60)
    os._exit(1)
    """,
    expect=(KILLED, DISK, FAILED),
)
case(
    452,
    "names that are no text",
    """
    for name in (b"\\xff\\xfe", b"new\\nline", b"\\x1b[2Jescape", b"-rf", b" ", b"a" * 255, b"%s%n", b"'; DROP", b"\\xe2\\x80\\xae"):
        with open(name, "wb") as file:
            file.write(b"x")
        os.mkdir(name + b"d" if len(name) < 250 else b"dd")
    os._exit(1)
    """,
    expect=(KILLED,),
)
case(
    453,
    "folders that cannot be opened",
    """
    for n in range(50):
        os.mkdir(f'closed{n}')
        open(f'closed{n}/file', 'w').close()
        os.mkdir(f'closed{n}/sub', 0)
    old = os.umask(0o777)
    os.mkdir('shut')
    os._exit(1)
    """,
    expect=(KILLED,),
)
case(
    454,
    "files that no directory shows (unlinked, but open)",
    """
    kept = []
    for number in range(150):
        file = open(f"hidden{number}", "wb")
        os.unlink(f"hidden{number}")
        file.write(b"x" * (4 << 20))
        file.flush()
        kept.append(file)
        time.sleep(0.01)
    time.sleep(2)
    return "LEAK: 600 MB on the disk where 32 are allowed"
    """,
    expect=(DISK, KILLED, FAILED, HELD, MEMORY),
    seconds=4,
    layer="disk watch that asks the file system or counts open files",
)
case(
    455,
    "a sparse file of a terabyte",
    """
    with open('sparse', 'wb') as file:
        os.ftruncate(file.fileno(), 1 << 40)
    return 'LEAK: beyond the limit of one file'
    """,
    expect=(FAILED, DISK, KILLED, HELD),
    layer="RLIMIT_FSIZE",
)
case(
    456,
    "room reserved without writing",
    """
    for n in range(100):
        number = os.open(f'r{n}', os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(number, 0, 8 << 20)
        os.close(number)
        time.sleep(0.01)
    time.sleep(2)
    return 'LEAK: 800 MB reserved'
    """,
    expect=(DISK, KILLED, FAILED),
    seconds=2,
)
case(
    457,
    "hundreds of thousands of empty files",
    """
    made = 0
    end = time.monotonic() + 6
    while time.monotonic() < end:
        os.mkdir(f"{made}")
        made += 1
    return f"LEAK: {made} folders" if made > 120_000 else f"held: only {made}"
    """,
    expect=(DISK, KILLED, FAILED, HELD),
    policy={"time_limit": {"pipe": 10}},
    seconds=6,
    layer="disk watch counts entries too",
)
case(
    458,
    "hard links by the thousand",
    """
    open('one', 'wb').write(b'x' * 65536)
    try:
        for n in range(5000):
            os.link('one', f'l{n}')
    except OSError as error:
        return f'held: {error}'
    time.sleep(1)
    return 'works'
    """,
    expect=UNHARMED,
)
case(
    459,
    "memory by mapping files of the folder",
    """
    kept = []
    for n in range(20):
        number = os.open(f'm{n}', os.O_CREAT | os.O_RDWR)
        os.ftruncate(number, 32 << 20)
        room = mmap.mmap(number, 32 << 20)
        for at in range(0, 32 << 20, 4096):
            room[at] = 1
        kept.append(room)
        time.sleep(0.05)
    time.sleep(1)
    return 'LEAK: 640 MB of pages'
    """,
    expect=(DISK, KILLED, FAILED, MEMORY),
    seconds=2,
    layer="disk watch, memory watch",
)
case(
    460,
    "a tree that changes while it is walked",
    """
    stop = time.monotonic() + 3
    while time.monotonic() < stop:
        os.makedirs('x/y/z', exist_ok=True)
        try:
            os.rename('x/y', 'moved')
            os.symlink(v['folder'], 'x/y')
            os.unlink('x/y')
            os.rename('moved', 'x/y')
            os.removedirs('x/y/z')
        except OSError:
            pass
    return 'works'
    """,
    seconds=3,
)
case(
    461,
    "pipes and sockets in the folder",
    """
    got = [attempt(os.mkfifo, 'fifo'), attempt(os.mknod, 'node'), attempt(lambda: socket.socket(socket.AF_UNIX).bind('sock'))]
    return ' '.join(got)
    """,
    expect=(HELD,),
)
case(
    462,
    "the folder left for another",
    """
    own = os.getcwd()
    os.chdir('/')
    try:
        os.rmdir(own)
    except OSError:
        pass
    import tempfile
    return 'works' if os.path.isdir(tempfile.gettempdir()) else 'gone'
    """,
    expect=(WORKS, ANSWER, FAILED),
)
case(
    463,
    "files on their way between two sockets",
    """
    a, b = socket.socketpair()
    for number in range(12):
        with open("flying", "wb") as file:
            os.unlink("flying")
            for _ in range(24):
                file.write(bytes(1 << 20))
            file.flush()
            socket.send_fds(a, [b"x"], [file.fileno()])
        time.sleep(0.05)
    time.sleep(3)
    return "LEAK: 288 MB on the disk where 32 are allowed"
    """,
    expect=(DISK, KILLED, FAILED),
    seconds=4,
    layer="disk watch that knows of files in flight",
)
case(
    464,
    "deleted files that live on as mappings",
    """
    kept = []
    for number in range(12):
        with open("mapped", "w+b") as file:
            os.unlink("mapped")
            for _ in range(24):
                file.write(bytes(1 << 20))
            file.flush()
            kept.append(libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file.fileno(), ctypes.c_long(0)))
        time.sleep(0.05)
    time.sleep(3)
    return "LEAK: 288 MB on the disk where 32 are allowed"
    """,
    expect=(DISK, KILLED, FAILED),
    seconds=4,
    layer="disk watch that knows of deleted mappings",
)
case(
    465,
    "other workers' folders by guessed names",
    """
    root = os.path.dirname(os.getcwd())
    names = [f"w{n}{end}" for n in range(5000) for end in ("", ".pid")]
    found = [name for name in names if os.path.lexists(os.path.join(root, name))]
    return f"LEAK: {found}" if found else "held: none of them is there"
    """,
    expect=(HELD,),
    layer="a random part in the name",
)
