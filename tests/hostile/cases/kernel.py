"""System calls that no function needs, each called with arguments that do no harm where they are let through."""

from __future__ import annotations

from tests.hostile.cases.case import HELD, KILLED, Chapter

case = Chapter("Kernel surface", layer="seccomp")

# An argument that the kernel itself would refuse with something else than "not permitted" shows that it was asked.
CALLS: tuple[tuple[int, str, str, str], ...] = (
    (80, "mount", "mount", "b'none', b'/nowhere', b'tmpfs', 0, None"),
    (81, "unshare user ns", "unshare", "0x10000000"),
    (82, "unshare net", "unshare", "0x40000000"),
    (83, "setns", "setns", "-1, 0"),
    (84, "chroot", "chroot", "b'/nowhere'"),
    (85, "pivot_root", "pivot_root", "b'/nowhere', b'/nowhere'"),
    (86, "keyctl", "keyctl", "0, -3, 0, 0, 0"),
    (87, "add_key", "add_key", "b'user', b'hostile', b'x', 1, -2"),
    (88, "bpf", "bpf", "0, ctypes.create_string_buffer(128), 128"),
    (89, "userfaultfd", "userfaultfd", "1"),
    (90, "io_uring_setup", "io_uring_setup", "1, ctypes.create_string_buffer(120)"),
    (91, "perf_event_open", "perf_event_open", "ctypes.create_string_buffer(128), 0, -1, -1, 0"),
    (92, "init_module", "init_module", "ctypes.create_string_buffer(16), 16, b''"),
    (93, "kexec_load", "kexec_load", "0, 0, None, 0"),
    (94, "reboot", "reboot", "0, 0, 0, 0"),  # without the magic numbers: permission alone is asked for
    (95, "syslog", "syslog", "3, ctypes.create_string_buffer(16), 16"),
    (96, "open_by_handle_at", "open_by_handle_at", "-1, ctypes.create_string_buffer(8), 0"),
    (
        97,
        "name_to_handle_at",
        "name_to_handle_at",
        "-100, b'.', ctypes.create_string_buffer(struct.pack('Ii', 128, 0), 136), ctypes.create_string_buffer(8), 0",
    ),
    (98, "personality", "personality", "0x0040000"),
    (99, "modify_ldt", "modify_ldt", "0, ctypes.create_string_buffer(16), 16"),
    # Asked for what is not there, so that nothing is made.
    (100, "shmget", "shmget", "0x4D4F4F47, 4096, 0"),
    (101, "msgget", "msgget", "0x4D4F4F47, 0"),
    (102, "mq_open", "mq_open", "b'hostile', 0, 0, None"),
    (103, "memfd_create", "memfd_create", "b'x', 0"),
    (104, "new seccomp filter", "seccomp", "1, 0, None"),
    (105, "landlock add", "landlock_create_ruleset", "None, 0, 1"),
    (106, "fanotify", "fanotify_init", "0x200, 0"),
    (107, "unknown syscall 600", "", ""),
    (108, "statmount", "statmount", "None, None, 0, 0"),
    (109, "clock_settime", "clock_settime", "99, None"),
    (110, "sethostname", "sethostname", "b'x', -1"),
    (111, "acct", "acct", "b'/nowhere'"),
    (112, "quotactl", "quotactl", "0, b'/nowhere', 0, None"),
    (113, "swapon", "swapon", "b'/nowhere', 0"),
)
NEEDS = {94: "seccomp"}

for number, name, called, arguments in CALLS:
    call = (
        f"return attempt(syscall, v['nr'][{called!r}], {arguments}, also=())"
        if called
        else "return attempt(syscall, 600, also=())"
    )
    case(
        number,
        f"syscall {name}",
        call,
        needs=NEEDS.get(number, ""),
    )

case(
    114,
    "syscall mlock 64MB",
    """
    room = mmap.mmap(-1, 64 << 20)
    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    return attempt(syscall, v["nr"]["mlock"], address, 64 << 20, also=(errno.ENOMEM,))
    """,
    layer="RLIMIT_MEMLOCK = 0",
)
case(
    115,
    "x32 ABI syscall",
    "return attempt(syscall, 0x40000000 + 39)",
    expect=(HELD, KILLED),
    layer="seccomp (wrong call table: killed)",
)
case(
    116,
    "32-bit int 0x80",
    """
    import platform
    if platform.machine() != "x86_64":
        return "held: there is no such door on this machine"
    # mov eax, 20 (getpid in the 32-bit table); int 0x80; ret
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")
    pid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    return f"LEAK: getpid says {pid}" if pid == os.getpid() else f"held: {pid}"
    """,
    expect=(HELD, KILLED),
    layer="seccomp (wrong call table: killed)",
)
