"""What author code might try against other processes, and with its own identity."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import sys
import time

from pipeline_app.worker import kernel

NULL = 0


def call(name, *arguments):
    return kernel.call(name, *arguments)


def opened(name, *arguments):
    os.close(kernel.call(name, *arguments))


def fork(targets):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def fork_by_number(targets):
    child = call("clone", signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def vfork(targets):
    os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], {}), 0)


def fork_with_the_newest_call(targets):
    child = call("clone3", struct.pack("8Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def thread_with_files_of_its_own(targets):
    # VM, FS, SIGHAND and THREAD, but not FILES. Nothing but a refusal may come back: it would have no stack.
    call("clone", 0x100 | 0x200 | 0x800 | 0x10000 | 0x40000000, 0, 0, 0, 0)


def execute(targets):
    call("execve", b"/nowhere\0", NULL, NULL)


def signal_the_server(targets):
    os.kill(targets["pid"], 0)


def signal_everybody(targets):
    os.kill(-1, 0)


def signal_the_server_s_group(targets):
    os.killpg(targets["group"], 0)


def signal_the_own_group(targets):
    os.kill(0, 0)


def signal_a_thread_of_the_server(targets):
    call("tgkill", targets["pid"], targets["pid"], 0)


def signal_a_thread_by_the_old_call(targets):
    call("tkill", targets["pid"], 0)


def signal_with_data(targets):
    call("rt_sigqueueinfo", targets["pid"], 0, bytes(128))


def open_a_handle_on_the_server(targets):
    opened("pidfd_open", targets["pid"], 0)


def be_told_of_io_in_the_server_s_name(targets):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, targets["pid"])


def own_a_file_by_ioctl(targets):
    one, _ = socket.socketpair()
    fcntl.ioctl(one, 0x8901, struct.pack("i", targets["pid"]))


def choose_the_signal_of_a_file(targets):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, 10, 9)


def watch_a_folder_by_fcntl(targets):
    fcntl.fcntl(os.open(".", os.O_RDONLY), fcntl.F_NOTIFY, 1)


def lease_a_file(targets):
    with open("leased", "w") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)


def enlarge_a_pipe(targets):
    reader, _ = os.pipe()
    fcntl.fcntl(reader, 1031, 1 << 20)


def push_a_character_into_a_terminal(targets):
    fcntl.ioctl(os.open("/dev/null", os.O_RDWR), 0x5412, b"x")


def trace_the_server(targets):
    call("ptrace", 0x4206, targets["pid"], 0, 0)


def read_the_memory_of_the_server(targets):
    return kernel.read_memory(targets["pid"], targets["address"], 4)


def compare_with_the_server(targets):
    call("kcmp", targets["pid"], os.getpid(), 0, 0, 0)


def renice_the_server(targets):
    os.setpriority(os.PRIO_PROCESS, targets["pid"], os.getpriority(os.PRIO_PROCESS, targets["pid"]))


def renice_its_group(targets):
    os.setpriority(os.PRIO_PGRP, 0, os.nice(0))


def pin_the_server(targets):
    os.sched_setaffinity(targets["pid"], os.sched_getaffinity(targets["pid"]))


def read_the_server_s_limits(targets):
    return resource.prlimit(targets["pid"], resource.RLIMIT_NOFILE)


def lower_the_server_s_limits(targets):
    limits = resource.prlimit(targets["pid"], resource.RLIMIT_NOFILE)
    resource.prlimit(targets["pid"], resource.RLIMIT_NOFILE, limits)


def change_its_own_limits(targets):
    call("prlimit64", 0, resource.RLIMIT_CORE, struct.pack("QQ", 0, 0), 0)


def find_out_groups_of_processes(targets):
    return os.getpgid(targets["pid"])


def find_out_priorities(targets):
    return os.getpriority(os.PRIO_PROCESS, targets["pid"])


def find_out_processors(targets):
    return os.sched_getaffinity(targets["pid"])


def find_out_schedulers(targets):
    return os.sched_getscheduler(targets["pid"])


def find_out_capabilities(targets):
    call("capget", struct.pack("Ii", 0x20080522, targets["pid"]), ctypes.create_string_buffer(24))


def read_the_server_s_cpu_time(targets):
    return time.clock_gettime(~targets["pid"] << 3 | 2)


def set_a_timer_on_the_server_s_cpu_time(targets):
    call("timer_create", ~targets["pid"] << 3 | 2, NULL, ctypes.create_string_buffer(8))


def leave_its_group(targets):
    os.setpgid(0, 0)


def become_traceable(targets):
    kernel.prctl(kernel.PR_SET_PTRACER, 2**32 - 1)


def become_undumpable(targets):
    kernel.prctl(4, 0)


def outlive_its_parent(targets):
    kernel.prctl(1, 0)


def adopt_orphans(targets):
    kernel.prctl(36, 1)


def move_its_memory_map(targets):
    kernel.prctl(35, 1, 0)


def merge_its_memory(targets):
    kernel.prctl(67, 1)


def become_root(targets):
    os.setresuid(0, 0, 0)


def change_the_file_system_user(targets):
    call("setfsuid", 12345)


def raise_capabilities(targets):
    call("capset", struct.pack("Ii", 0x20080522, 0), struct.pack("6I", 1, 1, 0, 0, 0, 0))
