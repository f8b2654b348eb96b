"""The system calls of a worker: every one the kernel has is allowed, allowed under conditions, ignored or refused here.

What this page does not name fails as on a kernel that does not have it, so that libraries take their older way. A
name may stand in one group only (``test_seccomp.py`` looks). ``connect`` is not decided here: it waits for the
server, which opens the connection itself (``runners/egress.py``).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Literal

from . import bpf
from .bpf import NoneOf, Null, OneOf, Pair, Test, When, Without
from .kernel import MACHINE, NUMBER, PR_CAP_AMBIENT, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_PTRACER, call, prctl

Network = Literal["none", "brokered", "unbrokered"]

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_CALLS = 0x40000000
_OWN_PID = 0x5EC0FFEE
"""Stands in a filter for the id of the process that will load it."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- Allowed -----------------------------------------------------------------------------------------------

ALLOWED = _names(
    """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close dup dup2 dup3
    open openat openat2 creat stat fstat lstat newfstatat statx statfs fstatfs access faccessat faccessat2
    readlink readlinkat getdents getdents64 getcwd chdir fchdir umask
    mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink unlinkat symlink symlinkat
    truncate ftruncate fsync fdatasync sync_file_range flock fadvise64 readahead sendfile copy_file_range
    pipe pipe2 poll ppoll select pselect6 eventfd eventfd2 signalfd signalfd4
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    timerfd_create timerfd_settime timerfd_gettime
    munmap mprotect mremap msync mincore brk mlock mlock2 munlock mlockall munlockall mseal map_shadow_stack
    pkey_alloc pkey_free pkey_mprotect get_mempolicy
    exit exit_group wait4 waitid futex set_robust_list set_tid_address rseq restart_syscall
    getpid getppid gettid getpgrp getuid geteuid getresuid getgid getegid getresgid getgroups
    getrlimit getrusage sysinfo uname times getcpu getrandom sched_yield sched_get_priority_max sched_get_priority_min
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause
    alarm getitimer setitimer nanosleep gettimeofday time timer_settime timer_gettime timer_getoverrun timer_delete
    recvfrom recvmsg recvmmsg shutdown getsockname getpeername
    """
)

# --- Allowed under conditions --------------------------------------------------------------------------------

_ITSELF = (0, _OWN_PID)

_CLONE_A_THREAD = 0x10000 | 0x800 | 0x400 | 0x200 | 0x100  # THREAD, SIGHAND, FILES, FS, VM
_CLONE_NAMESPACES = 0x7E020080
_CLONE_PTRACE = 0x2000

_FAST_OPEN_OR_URGENT = 0x20000001
"""Connecting with the first data, which no ``connect`` announces; and urgent data, in which Unix sockets had holes."""

_PROCESS_CLOCKS, _OTHER_CLOCKS = 0x80000004, (0, 4, 0x80000004)
"""The clock that counts another process's CPU time is a negative number without the bit that makes it a thread's;
the kernel gives a thread's only to its own process."""

_MAP_HUGETLB, _MAP_GROWSDOWN = 0x40000, 0x100
"""Pages of a reserve that all share, and memory that does not count as data."""

_MAP_PRIVATE, _MAP_ANONYMOUS, _MAP_KIND = 2, 0x20, 0xF
"""What is shared and no file lives on when it is mapped no longer, or not all of it, and counts as nobody's then. There
is nobody to share it with (``mappings.py`` has Python ask for private memory)."""

_MADV_MERGEABLE, _MADV_HWPOISON, _MADV_SOFT_OFFLINE = 12, 100, 101
_CLOSE_RANGE_UNSHARE = 2
_UNIX, _INET, _INET6, _STREAM, _TCP = 1, 2, 10, 1, 6
_KIND_OF_SOCKET = 0xF
_ASK_ONLY = 0xFFFFFFFF

_PRCTL = (
    3,  # GET_DUMPABLE
    15,  # SET_NAME
    16,  # GET_NAME
    21,  # GET_SECCOMP
    23,  # CAPBSET_READ
    27,  # GET_SECUREBITS
    29,  # SET_TIMERSLACK
    30,  # GET_TIMERSLACK
    38,  # SET_NO_NEW_PRIVS
    39,  # GET_NO_NEW_PRIVS
    42,  # GET_THP_DISABLE
    0x53564D41,  # SET_VMA: names of mappings
)
_IOCTL = (
    0x5401,  # TCGETS, how isatty asks
    0x5413,  # TIOCGWINSZ
    0x541B,  # FIONREAD
    0x5421,  # FIONBIO
    0x5450,  # FIONCLEX
    0x5451,  # FIOCLEX
)
_LOCKS = (6, 7)
"""SETLK and SETLKW pretend success: a process never waits for its own locks, and nobody else has its files. The kernel
would keep each of them, by the million, in memory that counts as nobody's."""
_FCNTL = (
    *range(6),  # DUPFD, GETFD, SETFD, GETFL, SETFL, GETLK
    1025,  # GETLEASE
    1027,  # DUPFD_QUERY
    1028,  # CREATED_QUERY
    1030,  # DUPFD_CLOEXEC
    1032,  # GETPIPE_SZ; a larger pipe would come off what all processes of the user may have
    1034,  # GET_SEALS
)
_SIGNAL_OF_A_FILE = (8, 10)
"""SETOWN and SETSIG: with them a worker ties its life to its server's (``lifeline.py``), before it loses them."""

_ARCH_PRCTL = (0x1001, 0x1002, 0x1003, 0x1004, 0x1011, 0x1021, 0x1022, 0x1023)
"""Thread-local storage, reading whether CPUID faults, and the larger registers that numerical libraries ask for."""

_MEMBARRIER = (0, 8, 16, 32, 64, 128, 256, 512)
"""Barriers among the threads of the process itself; those that interrupt every processor are left out."""

_SOCKET_OPTIONS = {
    # REUSEADDR, TYPE, ERROR, KEEPALIVE, OOBINLINE, PRIORITY, LINGER, REUSEPORT, RCVLOWAT, timeouts
    1: (2, 3, 4, 9, 10, 12, 13, 15, 18, 20, 21, 66, 67),
    # NODELAY, MAXSEG, CORK, KEEPIDLE, KEEPINTVL, KEEPCNT, SYNCNT, LINGER2, WINDOW_CLAMP, QUICKACK, CONGESTION,
    # USER_TIMEOUT, NOTSENT_LOWAT, INQ
    6: (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 18, 25, 36),
    0: (1, 2, 10, 11, 24),  # TOS, TTL, MTU_DISCOVER, RECVERR, BIND_ADDRESS_NO_PORT
    41: (16, 23, 25, 26, 67),  # UNICAST_HOPS, MTU_DISCOVER, RECVERR, V6ONLY, TCLASS
}
"""Options by level. What is left out opens ways round the server (fast open, IP options with routes, upper layers,
devices) or is more kernel than a client needs (filters, zero copy)."""

_NOT_ASKED = (33, 35, 59, 77)
"""TCP_FASTOPEN_KEY (the machine's), TCP_ZEROCOPY_RECEIVE (it maps memory), PEERGROUPS and PEERPIDFD: the server as a
descriptor. At other levels these numbers are for datagrams."""

_BUFFER_SIZES = {1: (7, 8)}
"""SNDBUF and RCVBUF: what lies in sockets counts as nobody's memory, so the kernel's own sizes stay."""

TESTED: Mapping[str, Sequence[Test]] = {
    # Those that are called most come first: a filter is walked through from the top.
    "clock_gettime": [OneOf(0, _OTHER_CLOCKS, errno.EINVAL, _PROCESS_CLOCKS)],
    "sendto": [Without(3, _FAST_OPEN_OR_URGENT, errno.EOPNOTSUPP)],
    "sendmsg": [Without(2, _FAST_OPEN_OR_URGENT, errno.EOPNOTSUPP)],
    "sendmmsg": [Without(3, _FAST_OPEN_OR_URGENT, errno.EOPNOTSUPP)],
    "mmap": [
        Without(3, _MAP_HUGETLB | _MAP_GROWSDOWN, errno.ENOMEM),
        When(_MAP_ANONYMOUS, OneOf(3, (_MAP_PRIVATE,), errno.ENOMEM, _MAP_KIND)),
    ],
    "madvise": [NoneOf(2, (_MADV_MERGEABLE, _MADV_HWPOISON, _MADV_SOFT_OFFLINE), errno.EINVAL)],
    "ioctl": [OneOf(1, _IOCTL, errno.ENOTTY)],
    "fcntl": [NoneOf(1, _LOCKS, 0), OneOf(1, _FCNTL, errno.EPERM)],
    "clone": [OneOf(0, (_CLONE_A_THREAD,), errno.EPERM, _CLONE_A_THREAD | _CLONE_NAMESPACES | _CLONE_PTRACE)],
    "close_range": [Without(2, _CLOSE_RANGE_UNSHARE, errno.EINVAL)],
    "socket": [
        OneOf(0, (_INET, _INET6), errno.EACCES),
        OneOf(1, (_STREAM,), errno.EACCES, _KIND_OF_SOCKET),
        OneOf(2, (0, _TCP), errno.EACCES),
    ],
    # A pair of datagram sockets can be aimed at any other socket afterwards.
    "socketpair": [OneOf(0, (_UNIX,), errno.EPERM), OneOf(1, (_STREAM,), errno.EPERM, _KIND_OF_SOCKET)],
    "setsockopt": [Pair(1, _SOCKET_OPTIONS, errno.ENOPROTOOPT, _BUFFER_SIZES)],
    "getsockopt": [NoneOf(2, _NOT_ASKED, errno.ENOPROTOOPT)],
    "prctl": [OneOf(0, _PRCTL, errno.EPERM)],
    "arch_prctl": [OneOf(0, _ARCH_PRCTL, errno.EINVAL)],
    "membarrier": [OneOf(0, _MEMBARRIER, errno.EINVAL)],
    "personality": [OneOf(0, (_ASK_ONLY,), errno.EPERM)],
    "clock_getres": [OneOf(0, _OTHER_CLOCKS, errno.EINVAL, _PROCESS_CLOCKS)],
    "clock_nanosleep": [OneOf(0, _OTHER_CLOCKS, errno.EINVAL, _PROCESS_CLOCKS)],
    "timer_create": [OneOf(0, _OTHER_CLOCKS, errno.EINVAL, _PROCESS_CLOCKS)],
    # To itself only. Asking too: the answers tell which processes there are.
    "kill": [OneOf(0, (_OWN_PID,), errno.EPERM)],
    "tgkill": [OneOf(0, (_OWN_PID,), errno.EPERM)],
    "getpgid": [OneOf(0, _ITSELF, errno.EPERM)],
    "getsid": [OneOf(0, _ITSELF, errno.EPERM)],
    "prlimit64": [OneOf(0, _ITSELF, errno.EPERM), Null(2, errno.EPERM)],
    "setpriority": [OneOf(0, (0,), errno.EPERM), OneOf(1, _ITSELF, errno.EPERM)],
    "ioprio_set": [OneOf(0, (1,), errno.EPERM), OneOf(1, _ITSELF, errno.EPERM)],
    "sched_setaffinity": [OneOf(0, _ITSELF, errno.EPERM)],
    "getpriority": [OneOf(0, (0,), errno.EPERM), OneOf(1, _ITSELF, errno.EPERM)],
    "ioprio_get": [OneOf(0, (1,), errno.EPERM), OneOf(1, _ITSELF, errno.EPERM)],
    "sched_getaffinity": [OneOf(0, _ITSELF, errno.EPERM)],
    "sched_getattr": [OneOf(0, _ITSELF, errno.EPERM)],
    "sched_getparam": [OneOf(0, _ITSELF, errno.EPERM)],
    "sched_getscheduler": [OneOf(0, _ITSELF, errno.EPERM)],
    "sched_rr_get_interval": [OneOf(0, _ITSELF, errno.EPERM)],
}
"""The tests that a call must pass; it is allowed when it passes all."""

# --- Ignored and refused ----------------------------------------------------------------------------------------

IGNORED = _names(
    """
    chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat sync syncfs
    """
)
"""Calls that pretend success: libraries make them on their own files, and Landlock does not know them. ``sync``
would write out the disks of the whole machine."""

UNSUPPORTED = _names(
    """
    getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat
    setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat
    file_getattr file_setattr fallocate
    """
)
"""Calls that say "not supported". Landlock does not know extended attributes; ``fallocate`` takes room on the disk
faster than anyone can measure it, past the limit of a file's size."""

REFUSED = _names(
    """
    fork vfork execve execveat setsid setpgid ptrace process_vm_readv process_vm_writev process_madvise
    process_mrelease kcmp pidfd_open pidfd_getfd pidfd_send_signal tkill rt_sigqueueinfo rt_tgsigqueueinfo
    get_robust_list setrlimit sched_setattr sched_setparam sched_setscheduler
    mbind set_mempolicy set_mempolicy_home_node migrate_pages move_pages
    setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capget capset
    bind listen accept accept4 mknod mknodat
    mount umount2 pivot_root chroot unshare setns fsopen fsmount fsconfig fspick move_mount mount_setattr
    open_tree open_tree_attr statmount listmount name_to_handle_at open_by_handle_at quotactl quotactl_fd
    seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self lsm_set_self_attr
    bpf perf_event_open userfaultfd keyctl add_key request_key fanotify_init fanotify_mark
    kexec_load kexec_file_load init_module finit_module delete_module create_module query_module get_kernel_syms
    reboot swapon swapoff acct syslog nfsservctl sysfs ustat uselib _sysctl lookup_dcookie vhangup
    settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname iopl ioperm modify_ldt
    shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
    mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr remap_file_pages
    """
)
"""Calls that are not permitted: they reach beyond the process, or nobody who needs them belongs here."""

ABSENT = _names(
    """
    clone3 io_uring_setup io_uring_enter io_uring_register io_setup io_destroy io_submit io_cancel io_getevents
    io_pgetevents memfd_create memfd_secret inotify_init inotify_init1 inotify_add_watch inotify_rm_watch
    splice tee vmsplice futex_waitv futex_wait futex_wake futex_requeue cachestat lsm_get_self_attr lsm_list_modules
    uretprobe uprobe vserver afs_syscall tuxcall security getpmsg putpmsg epoll_ctl_old epoll_wait_old
    set_thread_area get_thread_area
    """
)
"""Calls that fail as where the kernel has none, because libraries then do without (``clone3`` hides its flags)."""

ZYGOTE_NEEDS = _names(
    """
    fork vfork kill tgkill setsid setrlimit capset seccomp landlock_create_ruleset landlock_add_rule
    landlock_restrict_self sched_setaffinity
    getpgid getsid getpriority ioprio_get sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval
    """
)
"""What the zygote keeps: it forks, confines and ends workers. Nor may its filter ask for a process id that it cannot
know, its workers' own. It may not execute programs either."""

_ZYGOTE_TESTED: Mapping[str, Sequence[Test]] = {
    "fcntl": [NoneOf(1, _LOCKS, 0), OneOf(1, (*_FCNTL, *_SIGNAL_OF_A_FILE), errno.EPERM)],
    "clone": [Without(0, _CLONE_NAMESPACES | _CLONE_PTRACE, errno.EPERM)],
    "prctl": [OneOf(0, (*_PRCTL, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_SET_PTRACER), errno.EPERM)],
    "prlimit64": [OneOf(0, (0,), errno.EPERM)],
}

_OPEN_FOR_WRITING, _ACCESS_MODE, _O_TRUNC = (1, 2), 3, 0o1000
"""Landlock before version 3 does not see that an open empties the file: it must be an open for writing then."""


def _program(tested: Mapping[str, Sequence[Test]], verdicts: Mapping[str, int]) -> bytes:
    if not is_known():
        raise OSError(errno.ENOSYS, f"There is no table of system calls for {MACHINE}")
    return bpf.program(
        _ARCHITECTURES[MACHINE],
        _X32_CALLS if MACHINE == "x86_64" else None,
        {NUMBER[name]: tests for name, tests in tested.items() if name in NUMBER and name not in verdicts},
        {NUMBER[name]: verdict for name, verdict in verdicts.items() if name in NUMBER},
        bpf.fail(errno.ENOSYS),
    )


def _verdicts() -> dict[str, int]:
    return {
        **dict.fromkeys(ALLOWED, bpf.ALLOW),
        **dict.fromkeys(IGNORED, bpf.IGNORE),
        **dict.fromkeys(UNSUPPORTED, bpf.fail(errno.EOPNOTSUPP)),
        **dict.fromkeys(REFUSED, bpf.fail(errno.EPERM)),
        **dict.fromkeys(ABSENT, bpf.fail(errno.ENOSYS)),
    }


@functools.cache
def zygote_filter() -> bytes:
    """Returns the zygote's filter. ``connect`` stays: what it refused, no worker's filter could send to the server."""
    verdicts = {**_verdicts(), **dict.fromkeys(ZYGOTE_NEEDS, bpf.ALLOW), "connect": bpf.ALLOW}
    return _program({**TESTED, **_ZYGOTE_TESTED}, verdicts)


@functools.cache
def _worker_template(network: Network, landlock: int) -> bytes:
    verdicts = _verdicts()
    tested = dict(TESTED)
    match network:
        case "none":
            verdicts |= {"connect": bpf.fail(errno.EACCES), "socket": bpf.fail(errno.EACCES)}
        case "brokered":
            verdicts["connect"] = bpf.NOTIFY
        case "unbrokered":
            verdicts["connect"] = bpf.ALLOW
    if landlock < 3:
        verdicts |= {"truncate": bpf.fail(errno.EACCES), "openat2": bpf.fail(errno.ENOSYS)}
        for name, flags in (("open", 1), ("openat", 2)):
            tested[name] = [When(_O_TRUNC, OneOf(flags, _OPEN_FOR_WRITING, errno.EACCES, _ACCESS_MODE))]
            del verdicts[name]
    return _program(tested, verdicts)


def worker_filter(network: Network, pid: int, landlock: int) -> bytes:
    """Returns the filter of the worker with process id ``pid``, under the given version of Landlock."""
    return _worker_template(network, landlock).replace(struct.pack("=I", _OWN_PID), struct.pack("=I", pid))


# --- Loading -----------------------------------------------------------------------------------------------------

_SET_FILTER, _IS_AVAILABLE = 1, 2
_ALL_THREADS, _WITH_LISTENER = 1, 8


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def is_known() -> bool:
    """Returns whether there is a table of this processor's system calls."""
    return MACHINE in _ARCHITECTURES and bool(NUMBER)


def offers(verdict: int) -> bool:
    """Returns whether the kernel has filters, and knows a verdict such as ``bpf.NOTIFY``."""
    try:
        call("seccomp", _IS_AVAILABLE, 0, struct.pack("=I", verdict))
    except OSError:
        return False
    return True


def load(program: bytes, listener: bool = False) -> int | None:
    """Puts all threads of this process under a filter, for good.

    With ``listener`` (only the calling thread then, so it must be the only one) returns the descriptor on which
    trapped calls arrive.
    """
    steps = ctypes.create_string_buffer(program, len(program))
    packed = _Program(len(program) // 8, ctypes.cast(steps, ctypes.c_void_p))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    flags = _WITH_LISTENER if listener else _ALL_THREADS
    descriptor = call("seccomp", _SET_FILTER, flags, bytes(packed))
    if not listener:
        return None
    os.set_inheritable(descriptor, False)
    return descriptor
