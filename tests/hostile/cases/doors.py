"""More doors to the kernel, other processes and other files than the list has."""

from __future__ import annotations

from tests.hostile.cases.case import (
    ANSWER,
    FAILED,
    HELD,
    KILLED,
    WORKS,
    Chapter,
)

case = Chapter("Further doors", layer="seccomp, Landlock")

for number, name, path in (
    (400, "the mounts of the machine", "/proc/self/mountinfo"),
    (401, "connections of the machine", "/proc/net/tcp"),
    (402, "connections by another way", "/proc/thread-self/net/unix"),
    (403, "the first process", "/proc/1/environ"),
    (404, "the container's file of mounts", "/etc/fstab"),
    (405, "keys of the machine", "/etc/ssh/ssh_host_rsa_key"),
    (406, "root's home", "/root/.bashrc"),
    (407, "the kernel's symbols", "/proc/kallsyms"),
    (408, "memory map of the worker itself", "/proc/self/maps"),
    (409, "descriptors of the worker itself", "/proc/self/fd"),
    (410, "devices", "/sys/class/net"),
    (411, "packages' configuration", "/etc/apt/sources.list"),
):
    case(
        number,
        name,
        f"do = os.listdir if os.path.isdir({path!r}) else read\nreturn attempt(do, {path!r})",
        layer="Landlock",
    )

case(
    412,
    "settings and secrets of the checkout",
    """
    import glob
    found = []
    for name in ('settings.py', 'asgi.py'):
        got = attempt(read, os.path.join(os.path.dirname(os.path.dirname(v['runtime'])), 'webui_functions', name))
        found.append(got)
    return ' '.join(found)
    """,
    layer="Landlock",
)
case(
    413,
    "the server's data folder",
    "return attempt(os.listdir, v['data']) + ' ' + attempt(read, v['data'] + '/db.sqlite3')",
    layer="Landlock",
)
case(
    414,
    "write into another function's folder",
    "return attempt(write, v['sibling_scratch'] + '/planted.txt')",
    layer="Landlock",
)
case(
    415,
    "make a folder beside one's own",
    "return attempt(os.mkdir, '../beside') + ' ' + attempt(os.rename, os.getcwd(), os.getcwd() + 'x', also=(errno.ENOENT, errno.EBUSY, errno.EXDEV, errno.EINVAL))",
    layer="Landlock",
)
case(
    416,
    "fork under a new name: clone with CLONE_VM and CLONE_VFORK",
    "return attempt(syscall, v['nr']['clone'], 0x4100 | int(signal.SIGCHLD), 0, 0, 0, 0) if v['layers_off'] == [] else 'held: not tried, it would break the worker'",
    layer="seccomp",
)
case(
    417,
    "a thread with namespaces of its own",
    "return attempt(syscall, v['nr']['clone'], 0x10000 | 0x800 | 0x100 | 0x40000000, 0, 0, 0, 0, also=(errno.EINVAL,))",
)
case(
    418,
    "upper halves of arguments: socket",
    "return attempt(syscall, 41 if __import__('platform').machine() == 'x86_64' else 198, (1 << 32) | 1, (1 << 32) | 1, 0)",
)
case(
    419,
    "upper halves of arguments: kill",
    "return attempt(syscall, 62 if __import__('platform').machine() == 'x86_64' else 129, (5 << 32) | v['host'], 0, also=(errno.ESRCH,))",
    layer="Landlock's signal scope, and seccomp",
)
case(420, "process group of nobody: kill(0)", "return attempt(os.kill, 0, 0)", needs="seccomp", expect=(HELD, ANSWER))
case(421, "own time slice made real-time", "return attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))")
case(422, "own priority raised", "return attempt(os.setpriority, os.PRIO_PROCESS, 0, -10)")
case(423, "everybody's priority lowered", "return attempt(os.setpriority, os.PRIO_USER, 0, 19)", needs="seccomp")
case(
    424,
    "reading another's memory: process_vm_writev",
    "return attempt(syscall, v['nr']['process_vm_writev'], v['sibling_pid'], None, 0, None, 0, 0, also=())",
)
case(
    425,
    "a descriptor out of the server: pidfd_getfd",
    "return attempt(syscall, v['nr']['pidfd_getfd'], -1, 0, 0, also=())",
)
case(
    426,
    "comparing with the server's memory: kcmp",
    "return attempt(syscall, v['nr']['kcmp'], os.getpid(), v['host'], 1, 0, 0, also=())",
)
case(427, "seccomp by prctl", "return attempt(syscall, v['nr']['prctl'], 22, 1, 0, 0, 0)", needs="seccomp")
case(
    428,
    "a debugger of one's own: PR_SET_PTRACER",
    "return attempt(syscall, v['nr']['prctl'], 0x59616D61, -1, 0, 0, 0, also=())",
    expect=(HELD, FAILED, ANSWER),
)
case(429, "orphans adopted: child subreaper", "return attempt(syscall, v['nr']['prctl'], 36, 1, 0, 0, 0)")
case(430, "memory layout rewritten: PR_SET_MM", "return attempt(syscall, v['nr']['prctl'], 35, 1, 0, 0, 0)")
case(
    431,
    "addresses of the network cards by ioctl",
    """
    import fcntl
    client = socket.socket()
    return attempt(fcntl.ioctl, client, 0x8912, struct.pack("iL", 0, 0) + bytes(8), also=(errno.ENOTTY,))
    """,
)
case(
    432,
    "typing into the server's terminal: TIOCSTI",
    """
    import fcntl
    got = [attempt(fcntl.ioctl, n, 0x5412, b'x', also=(errno.ENOTTY, errno.EBADF, errno.EIO)) for n in (0, 1, 2)]
    return ' '.join(got)
    """,
)
case(
    433,
    "a new mount by the new calls",
    "return attempt(syscall, v['nr']['fsopen'], b'tmpfs', 0, also=()) + attempt(syscall, v['nr']['open_tree'], -100, b'/', 1, also=()) + attempt(syscall, v['nr']['move_mount'], -1, b'', -1, b'', 0, also=())",
)
case(434, "secret memory", "return attempt(syscall, v['nr']['memfd_secret'], 0, also=())")
case(
    435,
    "openat2 out of the folder",
    """
    how = ctypes.create_string_buffer(struct.pack('QQQ', 0, 0, 0))
    return attempt(syscall, v['nr']['openat2'], -100, v['env_file'].encode(), how, 24)
    """,
    layer="Landlock",
)
case(
    436,
    "sendmmsg with fast open",
    """
    client = socket.socket()
    return attempt(syscall, v['nr']['sendmmsg'], client.fileno(), None, 0, 0x20000000, also=(errno.EOPNOTSUPP,))
    """,
)
case(
    437,
    "files by a library of one's own in C",
    """
    other = ctypes.CDLL(None, use_errno=True)
    number = other.open(v['env_file'].encode(), 0)
    if number >= 0:
        return f'LEAK: {os.read(number, 100)}'
    return f'held: {errno.errorcode[ctypes.get_errno()]}'
    """,
    layer="Landlock",
)
case(
    438,
    "core dump of the worker",
    """
    import resource
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    return f'held: {limits}' if max(limits) <= 1 else f'LEAK: core files of {limits}'
    """,
    layer="rlimits",
)
case(
    439,
    "machine code on a page of one's own",
    """
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b'\\xc3' * 16)
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    return 'works'
    """,
    expect=(WORKS, KILLED, FAILED),
    layer="(native code is expected; the boundary is the process)",
)
case(
    440,
    "shared memory between two workers by a file",
    """
    number = os.open('shared', os.O_RDWR | os.O_CREAT)
    os.ftruncate(number, 4096)
    room = mmap.mmap(number, 4096)
    room[0] = 1
    return attempt(os.open, v['sibling_file'], os.O_RDWR)
    """,
    layer="Landlock",
)
