"""The rules themselves: every call has one place, and the programs decide alike on both processors."""

from __future__ import annotations

import errno
import itertools
import re
import struct
from pathlib import Path

import pytest

from pipeline_app.worker import bpf, seccomp
from pipeline_app.worker.syscalls import NUMBERS

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OWN, SERVER = 4711, 1234
GROUPS = {
    "allowed": seccomp.ALLOWED,
    "tested": frozenset(seccomp.TESTED),
    "ignored": seccomp.IGNORED,
    "unsupported": seccomp.UNSUPPORTED,
    "refused": seccomp.REFUSED,
    "absent": seccomp.ABSENT,
    "the server's": frozenset({"connect"}),
}


class Filter:
    """Runs a filter as the kernel does."""

    def __init__(self, program, machine):
        self.steps = list(struct.iter_unpack("=HBBI", program))
        self.machine = machine

    def __call__(self, name, *arguments, architecture=None, number=None):
        number = NUMBERS[self.machine][name] if number is None else number
        padded = [value & 0xFFFFFFFFFFFFFFFF for value in (*arguments, 0, 0, 0, 0, 0, 0)[:6]]
        data = struct.pack(
            "=IIQ6Q", number, ARCHITECTURES[self.machine] if architecture is None else architecture, 0, *padded
        )
        position = accumulator = 0
        while True:
            code, if_true, if_false, value = self.steps[position]
            position += 1
            match code:
                case 0x20:
                    (accumulator,) = struct.unpack_from("=I", data, value)
                case 0x54:
                    accumulator &= value
                case 0x06:
                    return value
                case _:
                    holds = {
                        0x15: accumulator == value,
                        0x25: accumulator > value,
                        0x35: accumulator >= value,
                        0x45: bool(accumulator & value),
                    }[code]
                    position += if_true if holds else if_false


@pytest.fixture(params=sorted(NUMBERS))
def machine(request, monkeypatch):
    monkeypatch.setattr(seccomp, "MACHINE", request.param)
    monkeypatch.setattr(seccomp, "NUMBER", NUMBERS[request.param])
    return request.param


def worker(machine, network="brokered", landlock=7):
    template = seccomp._worker_template.__wrapped__(network, landlock)
    return Filter(template.replace(struct.pack("=I", seccomp._OWN_PID), struct.pack("=I", OWN)), machine)


def zygote(machine):
    return Filter(seccomp.zygote_filter.__wrapped__(), machine)


# --- The tables -----------------------------------------------------------------------------------------------


def test_a_call_has_one_place():
    for (one, calls), (other, more) in itertools.combinations(GROUPS.items(), 2):
        assert not calls & more, f"both {one} and {other}"


def test_every_call_of_the_kernel_has_a_place():
    known = {name for numbers in NUMBERS.values() for name in numbers}
    assert known - frozenset().union(*GROUPS.values()) == set()


def test_no_rule_is_about_a_call_that_does_not_exist():
    known = {name for numbers in NUMBERS.values() for name in numbers}
    assert frozenset().union(*GROUPS.values(), seccomp.ZYGOTE_NEEDS, seccomp._ZYGOTE_TESTED) - known == set()


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "/usr/include/asm-generic/unistd.h")],
)
def test_the_numbers_are_those_of_the_kernel_s_headers(machine, header):
    if not Path(header).exists():
        pytest.skip(f"there is no {header}")
    defined = re.findall(r"^#define __NR3?_?(\w+)\s+(\d+)$", Path(header).read_text(), re.MULTILINE)
    # What the generic header has beside this: calls of 32-bit machines.
    numbers = {name: int(number) for name, number in defined if name in NUMBERS[machine]}
    assert len(numbers) > 250
    assert {name: NUMBERS[machine][name] for name in numbers} == numbers


# --- Decisions ------------------------------------------------------------------------------------------------


def test_each_group_is_answered_as_it_says(machine):
    decide = worker(machine)
    for names, verdict in (
        (seccomp.ALLOWED, bpf.ALLOW),
        (seccomp.IGNORED, bpf.IGNORE),
        (seccomp.UNSUPPORTED, bpf.fail(errno.EOPNOTSUPP)),
        (seccomp.REFUSED, bpf.fail(errno.EPERM)),
        (seccomp.ABSENT, bpf.fail(errno.ENOSYS)),
        ({"connect"}, bpf.NOTIFY),
    ):
        for name in names & set(NUMBERS[machine]):
            assert decide(name) == verdict, name


def test_numbers_without_a_name_are_no_calls(machine):
    decide = worker(machine)
    for number in set(range(1200)) - set(NUMBERS[machine].values()):
        assert decide("", number=number) == bpf.fail(errno.ENOSYS), number


@pytest.mark.parametrize("architecture", [0x40000003, 0x40000028, 0, 0xFFFFFFFF])
def test_another_architecture_ends_the_process(machine, architecture):
    for decide in (worker(machine), zygote(machine)):
        assert decide("read", architecture=architecture) == bpf.KILL


def test_the_second_call_table_of_x86_ends_the_process(monkeypatch):
    monkeypatch.setattr(seccomp, "MACHINE", "x86_64")
    monkeypatch.setattr(seccomp, "NUMBER", NUMBERS["x86_64"])
    decide = worker("x86_64")
    assert [decide("", number=0x40000000 + number) for number in (0, 39, 512, 547)] == [bpf.KILL] * 4
    assert decide("", number=0xFFFFFFFF) == bpf.KILL


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        (("kill", OWN, 9), True),
        (("kill", SERVER, 0), False),
        (("kill", 0, 9), False),
        (("kill", -1, 9), False),
        (("kill", -OWN, 9), False),
        (("kill", OWN + (1 << 32), 9), True),  # the kernel looks at the same half
        (("tgkill", OWN, 5, 9), True),
        (("tgkill", SERVER, 5, 9), False),
        (("prlimit64", 0, 7, 0, 1), True),
        (("prlimit64", OWN, 7, 0, 1), True),
        (("prlimit64", 0, 7, 1 << 32, 0), False),
        (("prlimit64", 0, 7, 4096, 0), False),
        (("prlimit64", SERVER, 7, 0, 1), False),
        (("sched_setaffinity", 0), True),
        (("sched_setaffinity", SERVER), False),
        (("setpriority", 0, 0, 5), True),
        (("setpriority", 0, SERVER, 5), False),
        (("setpriority", 1, 0, 5), False),
        (("setpriority", 2, 0, 5), False),
        (("ioprio_set", 1, 0), True),
        (("ioprio_set", 2, 0), False),
        (("ioprio_set", 3, 0), False),
        (("getpgid", 0), True),
        (("getpriority", 0, SERVER), False),
        (("getpriority", 2, 0), False),
        *(((name, SERVER), False) for name in ("sched_getaffinity", "sched_getscheduler", "sched_getattr")),
        *(((name, OWN), True) for name in ("sched_getaffinity", "sched_getparam", "sched_rr_get_interval")),
        (("clock_gettime", 0), True),
        (("clock_gettime", 11), True),
        (("clock_gettime", ~4242 << 3 | 6), True),  # a thread's: the kernel looks whose
        *(((name, ~SERVER << 3 | 2), False) for name in ("clock_gettime", "clock_getres", "timer_create")),
        *(((name, ~SERVER << 3 | which), False) for name in ("clock_nanosleep",) for which in (0, 1, 2)),
        (("getsid", SERVER), False),
        (("clone", 0x3D0F00), True),  # what the C library starts a thread with
        (("clone", 17), False),
        (("clone", 0x3D0F00 | 0x10000000), False),
        (("clone", 0x3D0F00 | 0x2000), False),
        (("clone", 0x3D0F00 & ~0x400), False),
        (("clone", 0x3D0F00 & ~0x10000), False),
        (("socket", 2, 1, 0), True),
        (("socket", 10, 1 | 0o4000 | 0o2000000, 6), True),
        (("socket", 2, 1, 262), False),
        (("socket", 2, 1, 132), False),
        (("socket", 2, 2, 0), False),
        (("socket", 2, 3, 1), False),
        *((("socket", family, 1, 0), False) for family in (0, 1, 3, 15, 16, 17, 21, 30, 31, 38, 40, 43, 44)),
        (("socketpair", 1, 1 | 0o2000000), True),
        (("socketpair", 1, 2), False),
        (("socketpair", 1, 5), False),
        (("socketpair", 30, 1), False),
        (("sendto", 3, 0, 0, 0x4000), True),
        (("sendto", 3, 0, 0, 0x20000000), False),
        (("sendto", 3, 0, 0, 0x20004000), False),
        (("sendto", 3, 0, 0, 1), False),
        (("sendmsg", 3, 0, 0x20000000), False),
        (("sendmmsg", 3, 0, 1, 0x20000000), False),
        (("ioctl", 1, 0x5401), True),
        (("ioctl", 1, 0x5421), True),
        *((("ioctl", 1, request), False) for request in (0x5412, 0x541C, 0x5452, 0x8901, 0x8902, 0x8912, 0x5423)),
        (("fcntl", 1, 4), True),
        (("fcntl", 1, 1030), True),
        *((("fcntl", 1, command), False) for command in (8, 10, 15, 1024, 1026, 1031, 1033, 1036)),
        (("prctl", 15), True),
        (("prctl", 39), True),
        *((("prctl", option), False) for option in (1, 4, 8, 22, 24, 28, 35, 36, 41, 47, 55, 67, 78, 0x59616D61)),
        (("setsockopt", 3, 6, 1), True),
        (("setsockopt", 3, 1, 9), True),
        (("setsockopt", 3, 41, 26), True),
        *((("setsockopt", 3, 6, option), False) for option in (9, 14, 19, 23, 30, 31, 35, 38)),
        *((("setsockopt", 3, 1, option), False) for option in (16, 25, 26, 27, 32, 33, 36, 46, 50, 51, 60, 61, 76)),
        *((("setsockopt", 3, 0, option), False) for option in (4, 8, 19, 35, 36, 41)),
        *((("setsockopt", 3, 41, option), False) for option in (1, 2, 50, 57, 60, 75)),
        (("setsockopt", 3, 282, 1), False),
        (("mmap", 0, 4096, 7, 0x22), True),
        (("mmap", 0, 4096, 7, 0x40022), False),
        (("mmap", 0, 4096, 3, 1, 5), True),
        *((("mmap", 0, 4096, 3, kind | 0x20), False) for kind in (1, 3, 0x8001)),
        (("getsockopt", 3, 1, 4), True),
        (("getsockopt", 3, 1, 17), True),
        (("getsockopt", 3, 6, 11), True),
        *((("getsockopt", 3, *which), False) for which in ((1, 77), (1, 59), (6, 33), (6, 35))),
        (("mmap", 0, 4096, 7, 0x122), False),
        (("madvise", 0, 4096, 4), True),
        (("madvise", 0, 4096, 12), False),
        (("close_range", 3, 9, 4), True),
        (("close_range", 3, 9, 2), False),
        (("close_range", 3, 9, 6), False),
        (("membarrier", 8), True),
        (("membarrier", 1), False),
        (("personality", 0xFFFFFFFF), True),
        (("personality", 0x20000), False),
    ],
)
def test_arguments_decide(machine, call, allowed):
    assert (worker(machine)(*call) == bpf.ALLOW) is allowed


def test_sizes_of_buffers_are_only_pretended(machine):
    decide = worker(machine)
    assert [decide("setsockopt", 3, 1, option) for option in (7, 8)] == [bpf.IGNORE] * 2
    assert [decide("setsockopt", 3, 6, option) for option in (7, 8)] == [bpf.ALLOW] * 2  # of TCP: other options


def test_locks_on_ranges_of_a_file_are_only_pretended(machine):
    decide = worker(machine)
    assert [decide("fcntl", 3, command) for command in (6, 7)] == [bpf.IGNORE] * 2
    assert decide("fcntl", 3, 5) == bpf.ALLOW  # asking who has one: nobody
    assert [decide("fcntl", 3, command) for command in (36, 37, 38)] == [bpf.fail(errno.EPERM)] * 3


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [(0, True), (0o1, True), (0o2, True), (0o1001, True), (0o1002, True), (0o1000, False), (0o1003, False)],
)
def test_before_its_third_version_landlock_needs_help_with_emptied_files(machine, flags, allowed):
    assert (worker(machine, landlock=2)("openat", 3, 0, flags) == bpf.ALLOW) is allowed
    assert worker(machine, landlock=2)("truncate") == bpf.fail(errno.EACCES)
    assert worker(machine, landlock=2)("openat2") == bpf.fail(errno.ENOSYS)
    assert worker(machine, landlock=3)("openat", 3, 0, flags) == bpf.ALLOW


@pytest.mark.parametrize(
    ("network", "verdict"),
    [("none", bpf.fail(errno.EACCES)), ("brokered", bpf.NOTIFY), ("unbrokered", bpf.ALLOW)],
)
def test_who_connects(machine, network, verdict):
    assert worker(machine, network)("connect", 3) == verdict


def test_the_zygote_can_fork_and_confine_and_cannot_execute(machine):
    decide = zygote(machine)
    allowed = [("kill", SERVER, 9), ("setsid",), ("capset",), ("seccomp", 1), ("clone", 17), ("connect", 3)]
    allowed += [("prctl", 24), ("prctl", 47), ("prlimit64", 0, 7, 4096, 0), ("fcntl", 3, 8), ("fcntl", 3, 10)]
    for call in allowed:
        assert decide(*call) == bpf.ALLOW, call
    for name in ("getpgid", "sched_getaffinity", "sched_setaffinity", "getpriority"):
        assert decide(name, OWN, OWN) == bpf.ALLOW, name  # a worker's own filter asks
    refused = [("execve",), ("ptrace",), ("clone", 17 | 0x10000000), ("prlimit64", SERVER, 7, 4096, 0), ("bind",)]
    refused += [
        ("setns",),
        ("unshare",),
        ("bpf",),
        ("mount",),
        ("socket", 1, 1, 0),
        ("prctl", 4),
        ("process_vm_readv",),
    ]
    for call in refused:
        assert decide(*call) != bpf.ALLOW, call


def test_a_processor_without_a_table_has_no_filter(monkeypatch):
    monkeypatch.setattr(seccomp, "MACHINE", "riscv64")
    monkeypatch.setattr(seccomp, "NUMBER", {})
    assert not seccomp.is_known()
    with pytest.raises(OSError, match="no table of system calls for riscv64"):
        seccomp.zygote_filter.__wrapped__()
