"""Reaching other processes, making new ones, and rising above one's own limits.

What would do harm if it came through is tried in a form that shows the same permission without the harm: signal 0,
``prlimit`` that only reads, a child that ends at once.
"""

from __future__ import annotations

from tests.hostile.cases.case import FAILED, HELD, KILLED, MEMORY, THREADS, Chapter

case = Chapter("Processes and signals", layer="seccomp")
BOTH = "Landlock's signal scope, and seccomp"
PTRACE = "Landlock's ptrace scope, and seccomp"
EXEC = "Landlock (no execute right), and seccomp"

case(47, "kill parent", "return attempt(os.kill, os.getppid(), 0, also=(errno.ESRCH,))", layer=BOTH)
case(48, "kill host", "return attempt(os.kill, v['host'], 0, also=(errno.ESRCH,))", layer=BOTH)
case(
    49,
    "kill(-1)",
    """
    got = attempt(os.kill, -1, 0)
    if got.startswith("held"):
        got = attempt(os.kill, -1, signal.SIGCONT)
    return got
    """,
    needs="seccomp",
)
case(50, "kill sibling worker", "return attempt(os.kill, v['sibling_pid'], 0, also=(errno.ESRCH,))", layer=BOTH)
case(51, "killpg host group", "return attempt(os.killpg, v['host_group'], 0, also=(errno.ESRCH,))", layer=BOTH)
case(
    52,
    "tkill host",
    "return attempt(syscall, v['nr']['tkill'], v['host'], 0) + attempt(syscall, v['nr']['tgkill'], v['host'], v['host'], 0)",
    layer=BOTH,
)
case(
    53,
    "sigqueue host",
    """
    info = ctypes.create_string_buffer(128)
    struct.pack_into('iii', info, 0, signal.SIGCONT, 0, -1)
    return attempt(syscall, v['nr']['rt_sigqueueinfo'], v['host'], signal.SIGCONT, info)
    """,
    layer=BOTH,
)
case(54, "pidfd_open host", "return attempt(os.pidfd_open, v['host'])")
case(
    55,
    "F_SETOWN sigio to host",
    """
    import fcntl
    a, b = socket.socketpair()
    return attempt(fcntl.fcntl, a, 8, v["host"])
    """,
)
case(
    56,
    "FIOSETOWN ioctl",
    """
    import fcntl
    a, b = socket.socketpair()
    return attempt(fcntl.ioctl, a, 0x8901, struct.pack("i", v["host"]), also=(errno.ENOTTY,))
    """,
)
case(57, "ptrace parent", "return attempt(syscall, v['nr']['ptrace'], 16, os.getppid(), 0, 0)", layer=PTRACE)
case(58, "ptrace host", "return attempt(syscall, v['nr']['ptrace'], 16, v['host'], 0, 0)", layer=PTRACE)
READ_OTHER = """
    class Part(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    buffer = ctypes.create_string_buffer(64)
    here = Part(ctypes.cast(buffer, ctypes.c_void_p), 64)
    there = Part({address}, 64)
    def peek():
        syscall(v["nr"]["process_vm_readv"], {pid}, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        return buffer.raw
    return attempt(peek)
"""
case(
    59,
    "process_vm_readv host",
    READ_OTHER.format(pid="v['host']", address="v['host_address']"),
    layer=PTRACE,
)
FORK = """
    def fork():
        child = {fork}
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return f"a child {{child}}"
    return attempt(fork)
"""
case(60, "fork", FORK.format(fork="os.fork()"))
case(
    61,
    "vfork/clone raw",
    """
    def fork():
        child = syscall(v["nr"]["clone"], int(signal.SIGCHLD), 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child
    got = attempt(fork)
    return got
    """,
)
case(
    62,
    "clone3 raw",
    """
    arguments = ctypes.create_string_buffer(struct.pack("QQQQQQQQ", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0))
    def fork():
        child = syscall(v["nr"]["clone3"], arguments, 64)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child
    return attempt(fork)
    """,
)
case(
    63,
    "fork bomb",
    """
    made = 0
    for _ in range(200):
        try:
            child = os.fork()
        except OSError as error:
            refused = error
            continue
        if child == 0:
            os._exit(0)
        made += 1
    return f"LEAK: {made} children" if made else f"held: {refused}"
    """,
    needs="seccomp",
)
case(
    64,
    "subprocess",
    """
    import subprocess
    return attempt(lambda: subprocess.run(["/bin/id"], capture_output=True).stdout)
    """,
    layer=EXEC,
)
case(
    65,
    "os.system",
    """
    ended = os.system("/bin/id > system.txt")
    return "held: no shell" if ended != 0 and not os.path.exists("system.txt") else f"LEAK: {ended}"
    """,
    layer=EXEC,
)
case(
    66,
    "posix_spawn",
    """
    def spawn():
        child = os.posix_spawn("/bin/true", ["true"], {})
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended == 127:
            raise PermissionError(errno.EACCES, "not executed")
        return ended
    return attempt(spawn)
    """,
    layer=EXEC,
)
case(67, "execve in place", "return attempt(os.execve, '/bin/true', ['true'], {})", layer=EXEC)
case(
    68,
    "setuid binary",
    "return attempt(os.execve, '/bin/su', ['su', '--version'], {}) + attempt(os.execve, '/bin/mount', ['mount'], {})",
    layer=EXEC,
)
case(
    69,
    "memfd + fexecve",
    """
    def run():
        number = os.memfd_create("program")
        os.write(number, b"#!/bin/sh\\necho hostile\\n")
        os.execve(number, ["program"], {})
    return attempt(run)
    """,
    layer="seccomp; Landlock has no execute right either",
)
case(
    70,
    "thread bomb",
    """
    stop = threading.Event()
    started = 0
    try:
        while started < 5000:
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    except (RuntimeError, MemoryError) as error:
        stop.set()
        return f"held: {error} after {started}"
    return f"LEAK: {started} threads"
    """,
    expect=(HELD, KILLED, THREADS, MEMORY, FAILED),
    layer="RLIMIT_DATA + thread watch",
    policy={"threads": 40},
)
case(71, "renice host", "return attempt(os.setpriority, os.PRIO_PROCESS, v['host'], 19, also=(errno.ESRCH,))")
case(72, "pin host to one cpu", "return attempt(os.sched_setaffinity, v['host'], {0}, also=(errno.ESRCH,))")
case(
    73,
    "prlimit host",
    """
    import resource
    return attempt(resource.prlimit, v["host"], resource.RLIMIT_NOFILE, also=(errno.ESRCH,))
    """,
    needs="seccomp",
)
case(
    74,
    "raise own limits",
    """
    import resource
    for which in (resource.RLIMIT_DATA, resource.RLIMIT_AS, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        try:
            resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return f"LEAK: limit {which} raised"
        except (OSError, ValueError):
            pass
    return "held"
    """,
    layer="hard rlimits + seccomp",
)
case(
    75,
    "drop parent-death signal",
    "return attempt(syscall, v['nr']['prctl'], 1, 0, 0, 0, 0)",
)
case(76, "set dumpable", "return attempt(syscall, v['nr']['prctl'], 4, 1, 0, 0, 0)")
case(
    77,
    "setuid 0",
    "return attempt(os.setuid, 0) + attempt(os.setresuid, 0, 0, 0) + attempt(os.setgroups, [0])",
    layer="no capabilities + seccomp",
)
case(
    78,
    "ptrace a sibling worker",
    "return attempt(syscall, v['nr']['ptrace'], 16, v['sibling_pid'], 0, 0)",
    layer=PTRACE,
)
case(
    79,
    "/proc/<sibling>/mem",
    "return attempt(read, f\"/proc/{v['sibling_pid']}/mem\", also=(errno.ENOENT, errno.EIO))",
    layer=PTRACE,
)
