"""What must work for author code, and what it finds around it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import tempfile
import threading
import time

from pipeline_app.worker import kernel

# --- What must work -----------------------------------------------------------------------------------------


def use_temporary_files(targets):
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/a", "w+") as file:
        file.write("text")
        os.rename(f"{folder}/a", f"{folder}/b")
        os.mkdir(f"{folder}/c")
        os.link(f"{folder}/b", f"{folder}/d")
        os.chmod(f"{folder}/b", 0o644)
        file.seek(0)
        return file.read()


def run_threads(targets):
    seen = []
    threads = [threading.Thread(target=lambda number=number: seen.append(number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(seen)


def run_an_event_loop(targets):
    async def twice(value):
        await asyncio.sleep(0)
        return 2 * await asyncio.to_thread(lambda: value)

    return asyncio.run(twice(21))


def signal_itself(targets):
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append("signal"))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    signal.signal(signal.SIGALRM, lambda *_: got.append("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.1)
    return got


def read_what_python_needs(targets):
    import zoneinfo

    os.urandom(8)
    with open("/dev/null", "w") as nothing, open("/dev/urandom", "rb") as random:
        nothing.write("x")
        assert len(random.read(4)) == 4
    with open("/etc/hosts") as hosts, open(targets["readable"]) as shared:
        assert hosts.read()
        assert shared.read() == "shared"
    assert len(os.sched_getaffinity(0)) > 0
    assert os.cpu_count()
    return str(zoneinfo.ZoneInfo("Europe/Berlin"))


def trust_certificates(targets):
    import ssl

    return len(ssl.create_default_context().get_ca_certs()) > 0


def use_a_database(targets):
    import sqlite3

    with sqlite3.connect("data.db") as connection:
        connection.execute("create table t (a)")
        connection.execute("insert into t values (1)")
        return connection.execute("select count(*) from t").fetchone()[0]


def set_up_a_client_socket(targets):
    with socket.socket(socket.AF_INET6), socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        before = client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before
        client.settimeout(1)
        return os.isatty(client.fileno())


def name_threads_and_read_limits(targets):
    kernel.prctl(15, ctypes.addressof(ctypes.create_string_buffer(b"name")))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def get_nicer(targets):
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + 1)
    return os.nice(0)


def pin_itself(targets):
    os.sched_setaffinity(os.getpid(), os.sched_getaffinity(os.getpid()))
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    return os.getpgid(os.getpid()) == os.getpgrp()


def tell_the_time(targets):
    clocks = (time.time(), time.monotonic(), time.process_time(), time.thread_time(), time.clock_getres(2))
    assert all(value >= 0 for value in clocks)
    elapsed = []

    def work():
        elapsed.append(time.clock_gettime(time.pthread_getcpuclockid(threading.get_ident())))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    time.sleep(0.001)
    return elapsed[0] > 0


# --- Capabilities, where there are any ----------------------------------------------------------------------


def open_a_file_against_its_mode(targets):
    os.close(os.open("closed", os.O_CREAT | os.O_WRONLY, 0))
    os.close(os.open("closed", os.O_RDONLY))


def take_precedence(targets):
    os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)


# --- What it was left with ----------------------------------------------------------------------------------


def descriptors(targets):
    found = []
    for number in range(1024):
        with contextlib.suppress(OSError):
            os.fstat(number)
            found.append(number)
    return found


def environment(targets):
    return dict(os.environ)


def limits(targets):
    names = ("DATA", "AS", "FSIZE", "NOFILE", "CORE", "MEMLOCK", "MSGQUEUE", "STACK", "SIGPENDING", "NPROC")
    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in names}


def circumstances(targets):
    return {
        "no_new_privs": kernel.prctl(kernel.PR_GET_NO_NEW_PRIVS),
        "session": os.getsid(0) == os.getpid(),
        "nice": os.nice(0),
        "umask": os.umask(0o077),
        "folder": os.getcwd(),
        "blocked": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
        "uid": os.getuid(),
    }


def use_too_much_memory(targets):
    return len(bytearray(1 << 29))


def write_too_large_a_file(targets):
    with open("too-large", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))


def open_too_many_files(targets):
    held = []
    with contextlib.ExitStack() as stack:
        while True:
            held.append(stack.enter_context(open("/dev/null")))


def probe(targets):
    from pipeline_app.worker import probes

    return probes.run(targets)
