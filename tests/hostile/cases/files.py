"""Reaching files that are not the function's: reading, writing, listing, linking, filling."""

from __future__ import annotations

from tests.hostile.cases.case import DISK, FAILED, HELD, KILLED, WORKS, Chapter

case = Chapter("File system", layer="Landlock")

case(1, "read /etc/shadow", "return attempt(read, '/etc/shadow')")
case(2, "read /etc/passwd", "return attempt(read, '/etc/passwd')")
case(3, "read host .env", "return attempt(read, v['env_file'])")
case(4, "read host sqlite db", "return attempt(read, v['database'])")
case(
    5,
    "sqlite ATTACH host db",
    """
    import sqlite3
    connection = sqlite3.connect("own.db")
    try:
        connection.execute("ATTACH ? AS host", (v["database"],))
        return f"LEAK: {connection.execute('SELECT * FROM host.secrets').fetchall()}"
    except sqlite3.Error as error:
        return f"held: {error}"
    """,
)
case(
    6,
    "own environ holds no secret",
    """
    names = {name.upper() for name in os.environ}
    bad = [n for n in names if any(word in n for word in ("SECRET", "KEY", "DATABASE", "DJANGO", "DATA_DIR", "VICTIM"))]
    raw = ctypes.c_char_p.in_dll(libc, "environ") and (ctypes.POINTER(ctypes.c_char_p)).in_dll(libc, "environ")
    number = 0
    while raw[number]:
        if b"VICTIM" in raw[number] or b"SECRET" in raw[number]:
            bad.append(raw[number].decode())
        number += 1
    return f"LEAK: {bad}" if bad else "held: clean"
    """,
    layer="exec with a clean environment",
)
case(7, "/proc/<host>/environ", "return attempt(read, f\"/proc/{v['host']}/environ\")")
case(
    8,
    "/proc/<parent>/environ",
    """
    try:
        with open(f"/proc/{os.getppid()}/environ", "rb") as file:
            names = [pair.partition(b"=")[0] for pair in file.read().split(b"\\0")]
    except OSError as error:
        return f"held: {error}"
    bad = [n for n in names if any(word in n for word in (b"SECRET", b"KEY", b"DATABASE", b"DJANGO", b"DATA_DIR"))]
    return f"LEAK: {bad}" if bad else "held: readable, and without a secret"
    """,
    layer="Landlock; the zygote holds no secret",
)
case(9, "/proc/<host>/mem", "return attempt(read, f\"/proc/{v['host']}/mem\", also=(errno.ENOENT, errno.EIO))")
case(
    10,
    "/proc/<parent>/mem",
    """
    def look():
        with open(f"/proc/{os.getppid()}/maps") as maps:
            start = int(maps.readline().split("-")[0], 16)
        with open(f"/proc/{os.getppid()}/mem", "rb", 0) as memory:
            memory.seek(start)
            return memory.read(16)
    return attempt(look)
    """,
)
case(11, "/proc/<host>/cmdline", "return attempt(read, f\"/proc/{v['host']}/cmdline\")")
case(12, "list /proc", "return attempt(os.listdir, '/proc')")
case(13, "list /", "return attempt(os.listdir, '/')")
case(14, "list host dir", "return attempt(os.listdir, v['folder'])")
case(15, "write /tmp", "return attempt(write, v['in_tmp'])")
case(16, "write home", "return attempt(write, v['home'] + '/.profile')")
case(17, "write site-packages", "return attempt(write, v['in_site'], also=(errno.ENOENT, errno.EROFS))")
case(18, "write runtime code", "return attempt(write, v['in_runtime'], also=(errno.ENOENT, errno.EROFS))")
case(
    19,
    "symlink to /etc/shadow",
    """
    try:
        os.symlink('/etc/shadow', 'link')
    except OSError:
        return 'held: no links'
    return attempt(read, 'link')
    """,
)
case(
    20,
    "symlink dir to host",
    """
    try:
        os.symlink(v["folder"], "there")
    except OSError:
        return "held: no links"
    return attempt(read, "there/" + os.path.basename(v["env_file"]))
    """,
)
case(
    21,
    "hardlink host file",
    "return attempt(os.link, v['notes'], 'mine', also=(errno.ENOENT, errno.EXDEV))",
)
case(22, "/proc/self/root", "return attempt(read, '/proc/self/root' + v['env_file'])")
case(
    23,
    "/proc/self/cwd/..",
    "return attempt(os.listdir, '/proc/self/cwd/../..') + attempt(read, '/proc/self/cwd/../../../etc/passwd')",
)
case(
    24,
    "dot-dot from scratch",
    "return attempt(os.listdir, '..') + ' ' + attempt(read, '../' * 12 + v['env_file'])",
)
case(
    25,
    "openat via dir fd",
    """
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    def climb():
        return os.read(os.open("../" * 12 + v["env_file"].lstrip("/"), os.O_RDONLY, dir_fd=here), 64)
    return attempt(climb)
    """,
)
case(
    26,
    "inherited descriptors",
    """
    found = []
    for number in range(1024):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        import stat
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            found.append(number)
        elif stat.S_ISSOCK(status.st_mode):
            with socket.socket(fileno=os.dup(number)) as copy:
                if copy.family != socket.AF_UNIX:
                    found.append((number, str(copy)))
    return f"LEAK: {found}" if found else "held: only pipes and the worker's own channel"
    """,
    layer="descriptors closed before author code",
)
case(
    27,
    "stat host file (metadata oracle)",
    """
    try:
        return f"LEAK: {os.stat(v['env_file'])}"
    except FileNotFoundError:
        return "held: not in view"
    """,
    layer="bubblewrap's view of the file system only",
    open_without="bubblewrap",
)
case(
    28,
    "chmod host file",
    """
    os.chmod(v['notes'], 0o777)
    return 'held: no effect'
    """,
    layer="seccomp (pretends success)",
)
case(
    29,
    "utime host file",
    """
    os.utime(v['notes'], (1, 1))
    return 'held: no effect'
    """,
    layer="seccomp (pretends success)",
)
case(
    30,
    "chown host file",
    """
    os.chown(v['notes'], os.getuid(), os.getgid())
    return 'held: no effect'
    """,
    layer="seccomp (pretends success)",
)
case(
    31,
    "setxattr host file",
    "return attempt(os.setxattr, v['notes'], 'user.hostile', b'1', also=(errno.ENOENT, errno.EOPNOTSUPP))",
    layer="seccomp",
)
case(32, "truncate host file", "return attempt(os.truncate, v['notes'], 0)")
case(
    33,
    "O_TRUNC through a read-only grant",
    "return attempt(os.open, v['granted'], os.O_RDONLY | os.O_TRUNC, also=(errno.ENOENT, errno.EROFS))",
)
case(34, "creat through a read-only grant", "return attempt(write, v['granted'], also=(errno.ENOENT, errno.EROFS))")
case(35, "unlink host file", "return attempt(os.unlink, v['notes'])")
case(
    36,
    "rename over host file",
    """
    open('mine', 'w').write('hostile')
    return attempt(os.rename, 'mine', v['notes'], also=(errno.ENOENT, errno.EXDEV))
    """,
)
case(
    37,
    "mknod device",
    """
    import stat
    return attempt(os.mknod, 'disk', 0o600 | stat.S_IFBLK, os.makedev(1, 1))
    """,
    layer="seccomp + Landlock",
)
case(38, "mkfifo", "return attempt(os.mkfifo, 'pipe')", layer="seccomp + Landlock")
case(
    39,
    "raw disk",
    """
    for name in ("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/root", "/dev/mem", "/dev/kmsg", "/dev/port"):
        got = attempt(read, name, also=(errno.ENOENT, errno.ENXIO))
        if not got.startswith("held"):
            return got
    return got
    """,
)
case(40, "/dev/shm file", "return attempt(write, '/dev/shm/' + v['token'])")
case(
    41,
    "multiprocessing shm",
    """
    from multiprocessing.shared_memory import SharedMemory
    return attempt(lambda: SharedMemory(v["token"] + "m", create=True, size=4096).name)
    """,
)
case(
    42,
    "inotify on host dir",
    """
    def watch():
        fd = libc.inotify_init1(0)
        if fd < 0 or libc.inotify_add_watch(fd, v["folder"].encode(), 0xFFF) < 0:
            raise OSError(ctypes.get_errno(), "")
        return fd
    return attempt(watch)
    """,
    layer="seccomp",
)
case(
    43,
    "other function scratch",
    "return attempt(read, v['sibling_file']) + ' ' + attempt(os.listdir, v['sibling_scratch'])",
)
case(
    44,
    "fill scratch (many files)",
    """
    for number in range(100_000):
        with open(f"f{number}", "wb") as file:
            file.write(b"x" * 65536)
        time.sleep(0.0005)
    return "LEAK: no end to the disk"
    """,
    expect=(DISK, KILLED, FAILED),
    layer="disk watch",
    policy={"time_limit": 20, "disk_mb": 8},
    seconds=1,
)
case(
    45,
    "one huge file",
    """
    with open("huge", "wb") as file:
        try:
            for _ in range(4096):
                file.write(b"x" * 1048576)
        except OSError as error:
            return f"held: {error}"
    return "LEAK: 4 GB written"
    """,
    expect=(HELD, DISK, KILLED),
    layer="RLIMIT_FSIZE",
)
case(
    46,
    "normal temp file use works",
    """
    import shutil, tempfile, pathlib
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write("text")
        file.seek(0)
        assert file.read() == "text"
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "a").mkdir()
    (folder / "a" / "b.txt").write_text("b")
    (folder / "a" / "b.txt").rename(folder / "c.txt")
    os.chmod(folder / "c.txt", 0o600)
    assert sorted(os.listdir(folder)) == ["a", "c.txt"]
    shutil.rmtree(folder)
    assert not folder.exists()
    import sqlite3
    connection = sqlite3.connect(tempfile.gettempdir() + "/mine.db")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    return "works"
    """,
    expect=WORKS,
    layer="(must work)",
)
