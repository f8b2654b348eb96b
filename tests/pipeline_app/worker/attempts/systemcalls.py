"""What author code might ask of the kernel."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

from pipeline_app.worker import kernel


def call(name, *arguments):
    return kernel.call(name, *arguments)


def opened(name, *arguments):
    os.close(kernel.call(name, *arguments))


# --- The kernel ---------------------------------------------------------------------------------------------


def make_a_file_in_memory(targets):
    opened("memfd_create", b"x\0", 0)


def make_secret_memory(targets):
    opened("memfd_secret", 0)


def watch_a_folder(targets):
    opened("inotify_init1", 0)


def set_up_io_uring(targets):
    opened("io_uring_setup", 1, bytes(120))


def set_up_old_asynchronous_io(targets):
    call("io_setup", 1, bytes(8))


def handle_page_faults(targets):
    opened("userfaultfd", 1)


def leave_namespaces(targets):
    call("unshare", 0)


def enter_namespaces(targets):
    call("setns", 0, 0)


def share_no_descriptors_any_more(targets):
    call("close_range", 900, 1000, 2)


def use_a_key_ring(targets):
    call("keyctl", 0, 2**32 - 3, 0)


def add_a_key(targets):
    call("add_key", b"user\0", b"probe\0", b"x", 1, 2**32 - 3)


def load_a_program_into_the_kernel(targets):
    call("bpf", 0, bytes(72), 72)


def count_events(targets):
    opened("perf_event_open", bytes(112), 0, 2**64 - 1, 2**64 - 1, 0)


def add_a_filter(targets):
    call("seccomp", 2, 0, struct.pack("I", 0x7FFF0000))


def add_a_landlock_layer(targets):
    call("landlock_create_ruleset", 0, 0, 1)


def make_a_handle_of_a_file(targets):
    handle = ctypes.create_string_buffer(struct.pack("Ii", 120, 0), 128)
    call("name_to_handle_at", 2**64 - 100, b".\0", handle, ctypes.create_string_buffer(8), 0)


def share_memory_by_number(targets):
    call("shmctl", call("shmget", 0, 4096, 0o1600), 0, 0)


def open_a_message_queue(targets):
    call("msgctl", call("msgget", 0, 0o1600), 0, 0)


def change_the_personality(targets):
    call("personality", 0x0400000)


def reserve_huge_pages(targets):
    mmap.mmap(-1, 1 << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)


def map_memory_that_grows_down(targets):
    mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100)


def offer_memory_for_merging(targets):
    mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).madvise(12)


def interrupt_all_processors(targets):
    call("membarrier", 1, 0, 0)


def lock_memory(targets):
    address = ctypes.create_string_buffer(1 << 20)
    call("mlock", ctypes.addressof(address), 1 << 20)


def set_a_memory_policy(targets):
    call("set_mempolicy", 0, 0, 0)


def splice(targets):
    (reader, writer), (_, end) = os.pipe(), os.pipe()
    os.write(writer, b"x")
    os.splice(reader, end, 1)


def ask_for_a_call_of_the_future(targets):
    ctypes.CDLL(None, use_errno=True)
    kernel._checked(kernel._libc.syscall(ctypes.c_long(600)))


def ask_for_a_call_between_the_tables(targets):
    kernel._checked(kernel._libc.syscall(ctypes.c_long(390)))


# --- What ends the process ----------------------------------------------------------------------------------


def crash(targets):
    ctypes.string_at(0)


def call_by_another_table(targets):
    kernel._libc.syscall(ctypes.c_long(0x40000000 + 39))


def interrupt_as_on_32_bits(targets):
    # mov eax, 20 (getpid); int 0x80; ret
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    code = mmap.mmap(-1, 4096, kind, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
