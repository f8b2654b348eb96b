"""A zygote and its workers as processes: how they start, how they end, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline_app.runners import bubblewrap
from pipeline_app.runners.layers import Layers
from pipeline_app.runners.scratch import Scratch, started, sweep
from pipeline_app.runners.zygote import NotStarted, Zygote, ZygoteGone
from tests.pipeline_app.runners.talk import CONFIG, Talk, descriptors, run, worker, zygote
from tests.settings import CHECKOUT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="zygotes are for Linux")

PIPE = "class Pipe:\n    async def pipe(self):\n        return 'x'\n"
BUSY = """
import asyncio
class Pipe:
    async def pipe(self):
        yield "busy"
        await asyncio.sleep(0.1)
        while True: pass
"""


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the second when it ends between opening and reading
        return False


async def gone(*pids):
    async with asyncio.timeout(10):
        while any(map(lives, pids)):
            await asyncio.sleep(0.02)


def test_a_worker_is_forked_confined_and_told_of_when_it_ends():
    async def story():
        async with zygote() as made:
            assert made.up["threads"] == 1
            forked = await made.fork(CONFIG)
            assert lives(forked.pid)
            assert forked.folder.is_dir()
            assert forked.report["notes"] == []
            assert forked.notifications is None
            ends = []
            forked.on_exit = ends.append
            forked.kill()
            await gone(forked.pid)
            while not ends:
                await asyncio.sleep(0.01)
            assert ends == [signal.SIGKILL]
            assert forked.usage["maxrss_kb"] > 0
            while forked.folder.exists():
                await asyncio.sleep(0.01)
            forked.close()

    run(story)


def test_an_end_that_came_first_is_told_all_the_same():
    async def story():
        async with worker(PIPE) as talk:
            talk.forked.kill()
            await talk.gone()
            ends = []
            talk.forked.on_exit = ends.append
            await asyncio.sleep(0)
            assert ends == [signal.SIGKILL]

    run(story)


def test_a_worker_finds_nothing_of_the_server_in_its_process():
    async def story():
        source = """
            import os, sys

            def tried(what, *args):
                try:
                    return str(what(*args))[:40]
                except BaseException as trouble:
                    return type(trouble).__name__

            class Pipe:
                def pipes(self):
                    import pipeline_app
                    return {
                        "environment": sorted(os.environ),
                        "fds": sorted(int(n) for n in range(200) if tried(os.fstat, n) != "OSError"),
                        "django": tried(__import__, "django"),
                        "settings": tried(__import__, "webui_functions.settings"),
                        "parent": [list(pipeline_app.__path__), tried(__import__, "pipeline_app.models")],
                        "arguments": sys.argv[1:2],
                        "path": [p for p in sys.path if "site-packages" in p or p == ""],
                    }

                def event(self): ...
        """.replace("def pipes(self)", "def event(self, event)").replace("\n                def event(self): ...", "")
        source = source.replace("class Pipe", "class Event")
        async with worker(source) as talk:
            found = (await talk.call("event", {}))["value"]
            assert found["environment"] == sorted(
                [
                    "HOME",
                    "LANG",
                    "LOGNAME",
                    "MALLOC_ARENA_MAX",
                    "MKL_NUM_THREADS",
                    "OMP_NUM_THREADS",
                    "OPENBLAS_NUM_THREADS",
                    "PATH",
                    "PYTHONDONTWRITEBYTECODE",
                    "RES_OPTIONS",
                    "TMPDIR",
                    "USER",
                ]
            )
            assert found["django"] == found["settings"] == "ModuleNotFoundError"
            assert found["parent"] == [[], "ModuleNotFoundError"]
            assert found["path"] == []
            # standard streams, the two connections, the lifeline, and the loop's own three
            assert len(found["fds"]) <= 9

    run(story)


def test_a_worker_that_ends_when_no_thread_can_be_had_any_more_leaves_nothing():
    """As at the end of a command, whose threads end before its loop."""

    async def story():
        loop, complaints = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with zygote() as made:
            forked = await made.fork(CONFIG)
            closed = ThreadPoolExecutor()
            closed.shutdown()
            loop.set_default_executor(closed)
            forked.kill()
            while forked.folder.exists():
                assert not complaints, complaints
                await asyncio.sleep(0.01)
            loop.set_default_executor(ThreadPoolExecutor())
            forked.close()
        assert not complaints, complaints

    run(story)


def test_workers_outlive_their_zygote_and_can_be_ended():
    async def story():
        ends, told = [], []
        async with zygote(on_end=lambda: ends.append(True)) as made:
            talks = [Talk(await made.fork(CONFIG)) for _ in range(3)]
            for talk in talks:
                await talk.load(PIPE)
                talk.forked.on_exit = told.append
            os.kill(made.pid, signal.SIGKILL)
            while not ends:
                await asyncio.sleep(0.01)
            assert not made.alive
            with pytest.raises(ZygoteGone):
                await made.fork(CONFIG)
            assert (await talks[0].stream())[0] == ["x"]
            talks[0].forked.kill()
            await gone(talks[0].forked.pid)
            while not told:
                await asyncio.sleep(0.01)
            assert told == [None]
            talks[1].forked.main.shutdown(2)
            await gone(talks[1].forked.pid)
            await made.close()
            assert not lives(talks[2].forked.pid)
            assert told == [None] * 3
            for talk in talks:
                assert not talk.forked.folder.exists()
                talk.close()

    run(story)


def test_a_zygote_that_was_stopped_ends_with_everything():
    async def story():
        async with worker(BUSY) as talk:
            zygote_pid = int(Path(f"/proc/{talk.forked.pid}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(zygote_pid, signal.SIGSTOP)
            talk.forked.kill()
            await asyncio.sleep(0.1)
            assert lives(talk.forked.pid)
            talk.forked.kill()
            await gone(talk.forked.pid)

    asyncio.run(story())


def test_closing_ends_busy_workers():
    async def story():
        async with zygote() as made:
            talk = Talk(await made.fork(CONFIG))
            await talk.load(BUSY)
            await talk.begin_stream()
            await talk.until(lambda message: message[0] == "items")
            began = time.monotonic()
            await made.close()
            assert time.monotonic() - began < 3
            assert not lives(talk.forked.pid)
            assert not lives(made.pid)
            talk.close()

    run(story)


def test_no_descriptor_is_left_by_workers_that_came_and_went():
    """In a process of its own, where no thread of an earlier test opens one meanwhile."""
    program = f"import django; django.setup(); from {__name__} import count_descriptors; count_descriptors()"
    counted = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert counted.returncode == 0, counted.stderr


def count_descriptors():
    async def story():
        async with zygote() as made:
            first = descriptors()
            for _ in range(25):
                before = descriptors()
                forked = await made.fork({**CONFIG, "network": "brokered"})
                try:
                    new = descriptors() - before
                    assert len(new) <= 4, new
                finally:
                    forked.close()
                await gone(forked.pid)
                async with asyncio.timeout(10):  # its folder is opened to be removed
                    while forked.folder.exists() or descriptors() - first:
                        await asyncio.sleep(0.01)
            assert not descriptors() - first
            assert len(os.listdir(f"/proc/{made.pid}/fd")) < 10

    run(story)


def test_many_at_once():
    async def story():
        async with zygote() as made:
            forked = await asyncio.gather(*(made.fork(CONFIG) for _ in range(20)))
            assert len({worker.pid for worker in forked}) == 20
            for one in forked:
                one.close()

    run(story)


def test_a_module_that_starts_a_thread_is_not_preloaded(tmp_path, caplog):
    (tmp_path / "thready.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (tmp_path / "broken.py").write_text("raise RuntimeError('no')\n")
    (tmp_path / "fine.py").write_text("")

    async def story():
        async with zygote(preload=["thready", "broken", "fine"], site=[tmp_path]) as made:
            assert made.up["threads"] == 1
            assert made.up["failed"] == {"broken": "RuntimeError: no"}
            assert "thready starts a thread when it is imported, so it is not preloaded." in caplog.text
            talk = Talk(await made.fork(CONFIG))
            done = await talk.load(
                "import sys, fine\nclass Event:\n    def event(self, event):\n        return [m in sys.modules for m in ('fine', 'thready')]\n"
            )
            assert done["error"] is None
            assert (await talk.call("event", {}))["value"] == [True, False]
            talk.close()

    run(story)


NATIVE_THREAD = """
import ctypes
libc = ctypes.CDLL(None)
libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.pause, None)
"""


@pytest.mark.parametrize("bubble", [False, True])
def test_threads_of_native_code_count_too(tmp_path, caplog, bubble):
    if bubble and not bubblewrap.available():
        pytest.skip(str(bubblewrap.why_not()))
    (tmp_path / "native.py").write_text(NATIVE_THREAD)

    async def story():
        async with zygote(preload=["native"], site=[tmp_path], bubble=bubble) as made:
            assert made.up["threads"] == 1
            assert len(os.listdir(f"/proc/{made.pid}/task")) == 1
            assert "so it is not preloaded" in caplog.text or "so nothing is preloaded" in caplog.text

    run(story)


@pytest.mark.parametrize("prefix", [["/bin/false"], ["/no/such/program"]])
def test_what_cannot_be_started_says_so(prefix):
    async def story():
        scratch = Scratch()
        made = Zygote(scratch, layers=Layers(bubblewrap=False), prefix=prefix, preload=())
        with pytest.raises(NotStarted):
            await made.start()
        await made.close()
        scratch.close()

    run(story)


@pytest.mark.parametrize("after", [0.001, 0.03, 0.15])
def test_a_start_that_is_given_up_leaves_nothing(after):
    async def story():
        scratch = Scratch()
        made = Zygote(scratch, layers=Layers(bubblewrap=False), preload=("asyncio",))
        start = asyncio.create_task(made.start())
        await asyncio.sleep(after)
        start.cancel()
        await asyncio.wait([start])
        await made.close()
        scratch.close()
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        assert not [pid for pid in children.split() if "pipeline_app" in Path(f"/proc/{pid}/cmdline").read_text()]

    run(story)


def test_a_worker_that_cannot_be_confined_says_why():
    async def story():
        async with zygote() as made:
            with pytest.raises(NotStarted, match="KeyError"):
                await made.fork({**CONFIG, "limits": {}})
            forked = await made.fork(CONFIG)
            forked.close()

    run(story)


# --- Servers that are killed -----------------------------------------------------------------------------

SERVER = """
import asyncio, json, os, signal, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from tests.pipeline_app.runners.talk import CONFIG, Talk, zygote

async def main():
    async with zygote(bubble="bubble" in sys.argv) as made:
        talks = [Talk(await made.fork(CONFIG)) for _ in range(2)]
        for talk, source in zip(talks, json.loads(sys.argv[1])):
            await talk.load(source)
            await talk.begin_stream()
        await talks[1].until(lambda message: message[0] == "items")
        (talks[0].forked.folder / "left").write_text("x")
        pids = [made.pid, *(talk.forked.pid for talk in talks)]
        print(json.dumps([str(talks[0].forked.folder.parent), *pids]), flush=True)
        if "zygote" in sys.argv:
            made._on_packet = lambda: None
            os.kill(made.pid, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def killed_server(*arguments):
    """Returns the scratch folder and the processes of a server that has killed itself."""
    command = [sys.executable, "-c", SERVER, json.dumps([PIPE, BUSY]), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    folder, *pids = json.loads(ended.stdout)
    return Path(folder), pids


@pytest.mark.parametrize("how", ["", "zygote", "bubble", "zygote bubble"])
def test_nothing_is_left_of_a_server_that_was_killed(how):
    """Also when its zygote was killed with it, and of a worker that holds its loop."""
    if "bubble" in how and not bubblewrap.available():
        pytest.skip(str(bubblewrap.why_not()))

    async def story():
        folder, pids = await asyncio.to_thread(killed_server, *how.split())
        await gone(*pids)
        async with asyncio.timeout(10):
            while folder.exists():
                await asyncio.sleep(0.02)

    asyncio.run(story())


def test_in_a_bubble_everything_is_the_same():
    if not bubblewrap.available():
        pytest.skip(str(bubblewrap.why_not()))

    async def story():
        ends = []
        async with zygote(bubble=True, on_end=lambda: ends.append(True)) as made:
            talk = Talk(await made.fork({**CONFIG, "network": "brokered"}))
            assert lives(talk.forked.pid)
            assert talk.forked.notifications is not None
            await talk.load(PIPE)
            assert (await talk.stream())[0] == ["x"]
            os.kill(made.pid, signal.SIGKILL)
            while not ends:
                await asyncio.sleep(0.01)
            assert (await talk.stream())[0] == ["x"]
            await made.close()
            assert not lives(talk.forked.pid)
            talk.close()

    run(story)


def test_a_sweep_ends_what_lives_in_folders_nobody_holds_and_leaves_others_alone(tmp_path):
    mine = Scratch()
    left = Scratch()
    (left.path / "w1").mkdir()
    left._remover.kill()
    left._remover.wait()
    os.close(left._lock)
    os.close(left._life)
    inside = subprocess.Popen(["sleep", "60"], cwd=left.path / "w1")
    noted = subprocess.Popen(["sleep", "60"])
    reused = subprocess.Popen(["sleep", "60"])
    (left.path / "w2.pid").write_text(f"{noted.pid} {started(noted.pid)}")
    (left.path / "w3.pid").write_text(f"{reused.pid} 1")
    try:
        assert sweep() >= 1
        assert not left.path.exists()
        assert mine.path.exists()
        assert inside.wait(5) == noted.wait(5) == -signal.SIGKILL
        assert reused.poll() is None
    finally:
        for process in (inside, noted, reused):
            process.kill()
            process.wait()
        mine.close()
    assert not mine.path.exists()
