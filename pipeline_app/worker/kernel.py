"""What Linux offers only by system call: capabilities, the memory of another process, and trapped calls (seccomp).

The worker uses it to confine itself, the server to answer what a worker's filter has trapped. Every function
raises ``OSError`` with the kernel's reason.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Mapping
from typing import NamedTuple

from .syscalls import NUMBERS

MACHINE = os.uname().machine
NUMBER: Mapping[str, int] = NUMBERS.get(MACHINE, {}) if sys.platform == "linux" else {}
"""The numbers of system calls here; empty on another system, or a processor that nobody has made a table for."""

PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_SET_PTRACER = 0x59616D61

_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION = 0x20080522
_MOST_CAPABILITIES = 64

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _number(name: str) -> int:
    if name not in NUMBER:
        raise OSError(errno.ENOSYS, f"The number of {name} on {MACHINE} is not known")
    return NUMBER[name]


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Makes a system call by name and returns its result. Bytes and buffers are passed by address."""
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return _checked(_libc.syscall(ctypes.c_long(_number(name)), *words))


def prctl(option: int, *arguments: int) -> int:
    """Calls ``prctl``; arguments left out are 0, as newer options demand."""
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(ctypes.c_int(option), *words))


# --- Capabilities ------------------------------------------------------------------------------------------


def capabilities() -> int:
    """Returns the capabilities this thread has or could take back, as a bit mask; 0 is none."""
    header = struct.pack("Ii", _CAPABILITY_VERSION, 0)
    buffer = ctypes.create_string_buffer(24)
    call("capget", header, buffer)
    effective, permitted, inheritable, *high = struct.unpack("6I", buffer.raw)
    return int(effective | permitted | inheritable | (high[0] | high[1] | high[2]) << 32)


def drop_capabilities() -> None:
    """Gives up every capability for good, also those that a program started later could get."""
    for capability in range(_MOST_CAPABILITIES):
        try:
            if prctl(PR_CAPBSET_READ, capability):
                prctl(PR_CAPBSET_DROP, capability)
        except OSError as error:
            if error.errno == errno.EINVAL:
                break  # the kernel knows no more of them
            if error.errno != errno.EPERM:
                raise
            break  # without the right to shrink the set there is no capability to lose, and nothing here may exec
    prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    call("capset", struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24))


# --- The memory of another process --------------------------------------------------------------------------


class _Span(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Returns up to ``size`` bytes of a process's memory, fewer where its mapping ends."""
    buffer = ctypes.create_string_buffer(size)
    here = _Span(ctypes.cast(buffer, ctypes.c_void_p), size)
    there = _Span(address, size)
    one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
    number = ctypes.c_long(_number("process_vm_readv"))
    got = _checked(_libc.syscall(number, ctypes.c_int(pid), ctypes.byref(here), one, ctypes.byref(there), one, none))
    return buffer.raw[:got]


# --- Trapped calls ---------------------------------------------------------------------------------------------


class Trapped(NamedTuple):
    """A system call that waits for an answer. ``thread`` is the caller's id, as this process sees it."""

    id: int
    thread: int
    number: int
    arguments: tuple[int, ...]


_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=QqiI")
_DESCRIPTOR = struct.Struct("=QIIII")
_ID = struct.Struct("=Q")

_READS, _WRITES = 2, 1
_SET_DESCRIPTOR = 1


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("!") << 8 | number


_RECEIVE = _request(_READS | _WRITES, 0, _NOTIFICATION.size)
_SEND = _request(_READS | _WRITES, 1, _ANSWER.size)
_IS_VALID = _request(_WRITES, 2, _ID.size)
_ADD_DESCRIPTOR = _request(_WRITES, 3, _DESCRIPTOR.size)


def _ioctl(descriptor: int, request: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    return _checked(_libc.ioctl(ctypes.c_int(descriptor), ctypes.c_ulong(request), buffer))


def receive_trapped(listener: int) -> Trapped | None:
    """Returns the next trapped call of a listener that polls readable; None when its thread has gone meanwhile."""
    buffer = ctypes.create_string_buffer(_NOTIFICATION.size)
    try:
        _ioctl(listener, _RECEIVE, buffer)
    except FileNotFoundError:
        return None
    id, thread, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer.raw)
    return Trapped(id, thread, number, tuple(arguments))


def still_waits(listener: int, id: int) -> bool:
    """Returns whether a trapped call still waits: what was read of its process before this is really its own."""
    try:
        _ioctl(listener, _IS_VALID, ctypes.create_string_buffer(_ID.pack(id), _ID.size))
    except FileNotFoundError:
        return False
    return True


def answer_trapped(listener: int, id: int, value: int = 0, error: int = 0) -> None:
    """Lets a trapped call return ``value``, or fail with an error number. ``FileNotFoundError``: it has gone."""
    _ioctl(listener, _SEND, ctypes.create_string_buffer(_ANSWER.pack(id, value, -error, 0), _ANSWER.size))


def give_descriptor(listener: int, id: int, mine: int, theirs: int, close_on_exec: bool = True) -> None:
    """Puts a copy of this process's descriptor ``mine`` in the place of ``theirs`` in the caller of a trapped call.

    The call itself still waits. ``FileNotFoundError``: it has gone.
    """
    flags = os.O_CLOEXEC if close_on_exec else 0
    packed = _DESCRIPTOR.pack(id, _SET_DESCRIPTOR, mine, theirs, flags)
    _ioctl(listener, _ADD_DESCRIPTOR, ctypes.create_string_buffer(packed, _DESCRIPTOR.size))
