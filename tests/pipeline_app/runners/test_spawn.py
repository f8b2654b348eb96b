"""Workers that are started one by one, as where nothing can be forked; here without the layers of this machine too."""

from __future__ import annotations

import asyncio
import signal

import pytest

from pipeline_app.runners.forked import NotStarted
from pipeline_app.runners.layers import Layers, readable
from pipeline_app.runners.scratch import Scratch
from pipeline_app.runners.spawn import Spawner
from pipeline_app.runners.zygote import ZygoteGone
from tests.pipeline_app.runners.talk import CONFIG, Talk, run

BARE = Layers(bubblewrap=False, landlock=False, seccomp=False, capabilities=False)
PIPE = "import os\nclass Pipe:\n    def pipe(self):\n        yield os.getcwd()\n"


def spawner(scratch, **given):
    return Spawner(scratch, layers=BARE, readable=readable(), **given)


def test_a_worker_is_started_serves_and_ends():
    async def story():
        scratch = Scratch()
        made = spawner(scratch)
        await made.start()
        talk = Talk(await made.fork(CONFIG))
        assert (await talk.load(PIPE))["error"] is None
        items, done = await talk.stream()
        assert items == [str(talk.forked.folder)]
        assert done["error"] is None
        ends = []
        talk.forked.on_exit = ends.append
        talk.forked.kill()
        assert await talk.gone() == signal.SIGKILL
        assert ends == [signal.SIGKILL]
        assert not talk.forked.folder.exists()
        talk.close()
        await made.close()
        with pytest.raises(ZygoteGone):
            await made.fork(CONFIG)
        scratch.close()

    run(story)


def test_a_worker_that_holds_its_loop_ends_with_the_connection():
    async def story():
        scratch = Scratch()
        made = spawner(scratch)
        await made.start()
        talk = Talk(await made.fork(CONFIG))
        await talk.load("class Pipe:\n    async def pipe(self):\n        while True: pass\n")
        await talk.begin_stream()
        await asyncio.sleep(0.1)
        talk.forked.sync.shutdown(2)
        assert await talk.gone() == 0
        talk.close()
        await made.close()
        scratch.close()

    run(story)


def test_closing_ends_all_of_them():
    async def story():
        scratch = Scratch()
        made = spawner(scratch)
        await made.start()
        forked = await asyncio.gather(*(made.fork(CONFIG) for _ in range(2)))
        await made.close()
        assert [worker.ended for worker in forked] == [True, True]
        for worker in forked:
            worker.close()
        scratch.close()

    run(story)


def test_what_cannot_be_started_says_so():
    async def story():
        scratch = Scratch()
        made = spawner(scratch, prefix=["/no/such/program"])
        await made.start()
        with pytest.raises(NotStarted, match="No such file"):
            await made.fork(CONFIG)
        assert made.workers == []
        await made.close()
        scratch.close()

    run(story)
