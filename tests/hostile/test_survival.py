"""The server outlives whatever happens to workers and zygote, loses no request of others, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hostile import processes
from tests.hostile.answers import classify
from tests.hostile.arena import Arena
from tests.hostile.cases import BY_NUMBER
from tests.hostile.cases import case as outcomes
from tests.hostile.cases.case import Chapter

extra = Chapter("Survival", expect=outcomes.UNHARMED)
for number in range(9000, 9040):
    extra(number, "crash", f"os.abort()  # {number}")
extra(9100, "pid", "return str(os.getpid())")
extra(
    9101,
    "slow",
    """
    time.sleep(1.5)
    return str(os.getpid())
    """,
    policy={"time_limit": 30},
)
extra(
    9102,
    "a gigabyte",
    """
    for _ in range(16_384):
        yield 'x' * 65_536
    """,
    policy={"time_limit": 120, "output_mb": 16},
)
extra(
    9103,
    "stops reading",
    """
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)
    """,
    policy={"time_limit": {"pipe": 3}},
)
extra(
    9104,
    "another",
    """
    class Pipe:
        def pipe(self, body):
            return 'another'
    """,
)
extra(
    9105,
    "leaves a mess",
    """
    class Pipe:
        def pipe(self, body):
            if body["messages"][-1]["content"] == "where":
                return os.getcwd()
            v = victim(body)
            for target, name in ((v["folder"], "victim"), ("/", "root"), ("self", "self"), ("/etc/passwd", "passwd")):
                os.symlink(target, name)
            here = os.getcwd()
            os.mkdir("deep")
            os.chdir("deep")
            for _ in range(3000):
                os.mkdir("d" * 100)
                os.chdir("d" * 100)
            os.chdir(here)
            for number in range(20):
                os.mkdir(f"closed{number}")
                open(f"closed{number}/file", "w").close()
                os.mkdir(f"closed{number}/sub", 0)
            with open(b"\\xff\\n\\x1b[2J", "wb") as file:
                file.write(b"x")
            os.umask(0o777)
            os.makedirs("shut")
            os._exit(1)
    """,
    policy={"time_limit": 20},
)
extra(
    9106,
    "clings on",
    """
    class Pipe:
        def pipe(self, body):
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
            for number in range(1, 65):
                libc.signal(number, 1)
            def cling():
                while True:
                    try:
                        time.sleep(0.05)
                    except BaseException:
                        pass
            for _ in range(5):
                threading.Thread(target=cling).start()
            os.chdir("/")
            os.closerange(3, 256) if "let go" in str(body["messages"][-1]["content"]) else None
            libc.prctl(15, b"innocent", 0, 0, 0)
            return str(os.getpid())
    """,
    policy={"time_limit": 5},
)
CASES = [*extra, BY_NUMBER[63], BY_NUMBER[117]]


@pytest.fixture(scope="module")
def arena(tmp_path_factory, base_packages, empty_database):
    made = Arena(tmp_path_factory.mktemp("survival"), empty_database, CASES)
    yield made
    made.close()


@pytest.fixture
def fresh_arena(tmp_path, base_packages, empty_database):
    """An arena that a test may end in its own way."""
    made = Arena(tmp_path / "arena", empty_database, [case for case in extra if case.number >= 9100])
    yield made
    made.close()


def ask(arena, number, **more):
    return arena.client.ask(f"case_{number}", arena.message, **more)


@contextmanager
def requests_of_others(arena):
    """Calls other functions all the time meanwhile; fails when one request is lost."""
    stop, lost, served = threading.Event(), [], [0]

    def go_on(model, wanted):
        while not stop.is_set():
            answered = arena.client.ask(model, "still", timeout=60)
            if answered[0] != 200 or wanted not in answered[1]:
                lost.append((model, answered))
            served[0] += 1

    threads = [
        threading.Thread(target=go_on, args=given)
        for given in (("bystander", "here still"), ("case_9104", "another"), ("bystander", "here still"))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
    assert not lost, lost[:3]
    assert served[0] > 3


def test_a_hundred_crashes_in_a_row(arena):
    """Three of each function, so that no breaker saves the server from the fourth."""

    def crash(number):
        outcome, detail = classify(*ask(arena, number))
        assert outcome == outcomes.KILLED or "503" in outcome, detail
        return outcome == outcomes.KILLED

    with requests_of_others(arena), ThreadPoolExecutor(4) as pool:
        crashes = sum(sum(pool.map(crash, range(9000, 9040))) for _ in range(3))
    assert crashes >= 100


def test_a_worker_that_is_killed_during_a_call_fails_it_clearly(arena):
    with requests_of_others(arena), ThreadPoolExecutor() as pool:
        status, pid = ask(arena, 9101)
        assert status == 200, pid
        slow = pool.submit(ask, arena, 9101)
        time.sleep(0.5)
        os.kill(int(pid), signal.SIGKILL)
        outcome, detail = classify(*slow.result())
        assert outcome == outcomes.KILLED, detail
        again = ask(arena, 9101)
    assert again[0] == 200 and again[1] != pid


def arena_zygote(arena):
    status, pid = ask(arena, 9100)
    assert status == 200, pid
    return processes.parent_of(int(pid))


def test_the_zygote_is_killed_and_no_call_is_lost(arena):
    with requests_of_others(arena), ThreadPoolExecutor() as pool:
        slow = pool.submit(ask, arena, 9101)
        time.sleep(0.5)
        zygote = arena_zygote(arena)
        os.kill(zygote, signal.SIGKILL)
        assert slow.result()[0] == 200, "a call that ran lost its worker with the zygote"
        status, pid = ask(arena, 9100)
        assert status == 200, pid
        arena.server.shell("from functions_app.models import Function; Function.objects.get(pk='case_9100').restart()")
        status, pid = ask(arena, 9100)
        assert status == 200, pid
        assert processes.parent_of(int(pid)) != zygote


@pytest.mark.parametrize("number", [63, 117], ids=["fork bomb", "memory bomb"])
def test_bombs_harm_nobody_else(arena, number):
    with requests_of_others(arena), ThreadPoolExecutor() as pool:
        for future in [pool.submit(ask, arena, number) for _ in range(3)]:
            outcome, detail = classify(*future.result())
            assert outcome in (*BY_NUMBER[number].expect, outcomes.KILLED) or "503" in outcome, (outcome, detail)


@pytest.mark.parametrize("how", ["stream", "chat"])
def test_a_gigabyte_of_output_stays_out_of_the_server(arena, how):
    before = processes.memory_mb(arena.server.pid)
    most = [before]
    done = threading.Event()

    def look():
        while not done.wait(0.05):
            most[0] = max(most[0], processes.memory_mb(arena.server.pid))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with requests_of_others(arena):
            status, text = ask(arena, 9102, how=how, timeout=120)
    finally:
        done.set()
        looking.join()
    assert status != 200 or len(text) < 1 << 30
    # What may wait in the server: 32 MB of one worker and, of an answer given in one piece, 4 times output_mb.
    assert most[0] - before < (150 if how == "stream" else 600), (
        f"the server grew from {before:.0f} to {most[0]:.0f} MB"
    )


def test_a_worker_that_stops_reading_is_ended(arena):
    before = processes.memory_mb(arena.server.pid)
    big = "x" * (2 << 20)
    with requests_of_others(arena), ThreadPoolExecutor(12) as pool:
        first = pool.submit(ask, arena, 9103)
        time.sleep(0.5)
        more = [pool.submit(arena.client.ask, "case_9103", big) for _ in range(10)]
        for future in [first, *more]:
            status, text = future.result()
            assert status >= 500 or status == 429, text[:300]
    assert processes.memory_mb(arena.server.pid) - before < 200


def test_what_a_worker_left_in_its_folder_is_removed(arena):
    status, folder = arena.client.ask("case_9105", "where")
    assert status == 200, folder
    arena.victim.changes()
    assert ask(arena, 9105)[0] != 200
    deadline = time.monotonic() + 20
    while os.path.lexists(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.lexists(folder), "the folder of a worker that has gone is still there"
    assert not arena.victim.changes()
    assert arena.victim.env_file.exists()


def test_the_server_has_no_more_descriptors_and_threads_afterwards(arena):
    def counted():
        return processes.descriptors(arena.server.pid), processes.threads(arena.server.pid)

    def round_of_harm():
        for number in (9010, 9011, 9012):
            ask(arena, number)
        for _ in range(3):
            ask(arena, 9104)
            arena.client.ask("case_9102", arena.message, how="leave")

    round_of_harm()
    time.sleep(1)
    before = counted()
    for _ in range(10):
        round_of_harm()
        arena.server.process.poll()
    deadline = time.monotonic() + 15
    while (now := counted()) > (before[0] + 6, before[1] + 4) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert now[0] <= before[0] + 6, f"descriptors: {before[0]} before, {now[0]} after"
    assert now[1] <= before[1] + 4, f"threads: {before[1]} before, {now[1]} after"


# --- The end of the server --------------------------------------------------------------------------------


def populated(arena):
    """Lets hostile workers cling on and returns all processes of the server."""
    for number, text in ((9100, ""), (9104, ""), (9106, "x")):
        status, said = arena.client.ask(f"case_{number}", text or arena.message)
        assert status == 200, said
    found = processes.descendants(arena.server.pid)
    assert len(found) >= 4
    return found


def assert_nothing_is_left(arena, found):
    left = processes.wait_gone(found)
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text()[:200] for pid in left}
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"processes were left behind: {commands}"
    deadline = time.monotonic() + 10
    while arena.scratch_root.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not arena.scratch_root.exists(), f"{arena.scratch_root} was left behind"


def test_nothing_is_left_when_the_server_stops(fresh_arena):
    found = populated(fresh_arena)
    fresh_arena.neighbour_rests()
    began = time.monotonic()
    assert fresh_arena.server.stop() is not None
    assert time.monotonic() - began < 10
    assert_nothing_is_left(fresh_arena, found)


def test_nothing_is_left_when_the_server_is_killed(fresh_arena):
    found = populated(fresh_arena)
    fresh_arena.neighbour_rests()
    os.kill(fresh_arena.server.pid, signal.SIGKILL)
    fresh_arena.server.process.wait()
    assert_nothing_is_left(fresh_arena, found)


def test_nothing_is_left_when_zygote_and_server_are_killed(fresh_arena):
    """The worker has let go of everything that ties it to them; the next server ends it and clears up."""
    arena = fresh_arena
    status, clinging = arena.client.ask("case_9106", "let go")
    found = populated(arena) | ({int(clinging)} if status == 200 else set())
    arena.neighbour_rests()
    os.kill(arena_zygote(arena), signal.SIGKILL)
    os.kill(arena.server.pid, signal.SIGKILL)
    arena.server.process.wait()
    arena.server.start()
    assert_nothing_is_left(arena, found)
