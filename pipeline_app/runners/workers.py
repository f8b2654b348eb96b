"""One worker process as the server sees it: what is sent to it, what it says, what it uses, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline_app.runners import exits
from pipeline_app.runners.base import Code, Task
from pipeline_app.runners.calls import RemoteCall
from pipeline_app.runners.connection import Connection
from pipeline_app.runners.exits import Exit
from pipeline_app.runners.headcount import cpu_seconds
from pipeline_app.runners.messages import Done, check_end, done
from pipeline_app.runners.nativelog import NativeLog
from pipeline_app.runners.requests import Requests
from pipeline_app.runners.scratch import started
from pipeline_app.worker.protocol import MEGABYTE, WINDOW, ProtocolError, frame_limit, unpacked

if TYPE_CHECKING:
    from pipeline_app.runners.forked import Forked

logger = logging.getLogger(__name__)

PONG_SECONDS = 2.0
WAITING_MOST = 32 * MEGABYTE
"""Bytes of one worker that may wait for their consumers before the server stops reading it."""
TOLD_MOST = 512 * MEGABYTE
CREDIT_SECONDS = 0.02
LAST_WORDS_SECONDS = 0.2
STATUS_SECONDS = 1.0
"""How long a worker that closed its connection has to be gone, before it is made to."""
IDLE_BURN = 0.25
IDLE_BURN_SECONDS = 2.0


class RunningWorker:
    """A process that holds one version, from its fork to its end. ``on_end`` is called once, with why."""

    def __init__(
        self,
        code: Code,
        forked: Forked,
        requests: Requests,
        log: NativeLog,
        on_idle: Callable[[RunningWorker], None],
        on_retire: Callable[[RunningWorker], None],
        on_end: Callable[[RunningWorker, Exit], None],
    ) -> None:
        self.code = code
        self.forked = forked
        self.pid: int = forked.pid
        self.began = started(forked.pid)
        """When the process began, in the kernel's own count: with its number it names it for ever."""
        self.scratch = str(forked.folder)
        self.calls: dict[int, RemoteCall] = {}
        self.holders = 0
        self.retired = False
        self.is_aside = False
        """Whether it was started for one question, and is none of its function's workers."""
        self.exit: Exit | None = None
        """Why it ended or is being ended; None while it may be used."""
        self.memory_mb: float | None = None
        self.shared_mb = 0.0
        """How much of its memory it has in common with the zygote, or had when it began."""
        self.disk_mb = 0.0
        self.threads = 0
        self.headless = 0
        """How many looks in a row found its main thread ended and others going on."""
        self.cpu = 0.0
        self.waiting_bytes = 0
        self.told_bytes = 0
        """What the calls under way have answered: whoever waits for their ends may keep it until then."""
        self.started = self.idle_since = time.monotonic()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the process has ended."""
        self._loop = asyncio.get_running_loop()
        self._requests = requests
        self._log = log
        self._on_idle, self._on_retire, self._on_end = on_idle, on_retire, on_end
        self._numbers = 0
        self._main = Connection(self._on_frame, self._main_ended, frame_limit(code.policy.output_mb))
        self._sync = Connection(self._on_request, self._sync_ended, frame_limit(code.policy.output_mb))
        self._death: Exit | None = None
        self._share = 0.0
        self._burnt: tuple[float, float] | None = None
        self._pings = 0
        self._pong: asyncio.TimerHandle | None = None
        self._crediting = False
        self._owed: dict[int, RemoteCall] = {}
        forked.on_exit = self._exited

    async def open(self) -> None:
        """Takes the sockets of the fork into use."""
        await self._loop.create_unix_connection(lambda: self._main, sock=self.forked.main)
        await self._loop.create_unix_connection(lambda: self._sync, sock=self.forked.sync)

    @property
    def log(self) -> str:
        """The last lines that the process itself wrote."""
        return self._log.text

    # --- calls --------------------------------------------------------------------------------------

    def begin(
        self, kind: str, *rest: Any, task: Task | None = None, on_end: Callable[[], None] | None = None
    ) -> RemoteCall:
        """Sends the frame ``[kind, number, *rest]`` that begins a call. Raises as ``protocol.encode`` does."""
        self._account()
        self._numbers += 1
        call = RemoteCall(self, self._numbers, task, on_end)
        call.share_at_start, call.cpu_at_start = self._share, self.cpu
        if self.exit is not None:
            call.end(None, self.exit.error(self.code.function_id, call.hook, call.number))
            return call
        self.send([kind, call.number, *rest])  # first: what can't be sent must not stay among the calls for ever
        self.calls[call.number] = call
        self._burnt = None
        return call

    def send(self, message: list[Any]) -> None:
        self._main.send(message)

    @property
    def crowded(self) -> bool:
        """Whether so much is on its way to the worker that a call with more should wait for ``room``."""
        return self._main.crowded

    async def room(self) -> None:
        await self._main.room()

    @property
    def idle(self) -> bool:
        """Whether nobody uses it or holds it."""
        return not self.calls and not self.holders

    @property
    def own_mb(self) -> float:
        """The memory that would be free without it, as far as is known."""
        return max(0.0, (self.memory_mb or 0.0) - self.shared_mb)

    def share_of(self, call: RemoteCall) -> float:
        """Returns the CPU seconds that are charged to a call: its share of what the worker used while it ran."""
        return self._share - call.share_at_start

    def cpu_since(self, call: RemoteCall) -> float:
        """Returns the CPU seconds that the whole worker has used since a call began."""
        return self.cpu - call.cpu_at_start

    def took(self, call: RemoteCall, size: int) -> None:
        """Gives credit for items that a consumer took: much at once, a little of it a moment later."""
        self.unload(size)
        call.taken += size
        if call.taken >= WINDOW // 4:
            self._credit(call)
        elif not self._crediting:
            self._crediting = True
            self._owed[call.number] = call
            self._loop.call_later(CREDIT_SECONDS, self._credit_all)
        else:
            self._owed[call.number] = call

    def unload(self, size: int) -> None:
        """Takes note that fewer bytes wait for consumers."""
        before, self.waiting_bytes = self.waiting_bytes, self.waiting_bytes - size
        if before > WAITING_MOST >= self.waiting_bytes:
            self._main.go_on()

    def _credit(self, call: RemoteCall) -> None:
        taken, call.taken = call.taken, 0
        if taken and not call.over:
            call.outstanding -= taken
            self.send(["credit", call.number, taken])

    def _credit_all(self) -> None:
        self._crediting = False
        owed, self._owed = self._owed, {}
        for call in owed.values():
            self._credit(call)

    # --- what it says -------------------------------------------------------------------------------

    def _on_frame(self, message: list[Any], size: int) -> bool:
        match message:
            case ["items", int() as number, items]:
                call = self.calls.get(number)
                if call is None:
                    return True
                call.receive(unpacked(items), size)
                if self.told_bytes > TOLD_MOST:
                    raise ProtocolError("more in answers at once than the server keeps for one function")
                if self.waiting_bytes > WAITING_MOST:
                    self._main.hold()
                return False
            case ["done", int() as number, told]:
                call = self.calls.get(number)
                if call is None:
                    return True
                self._end_call(call, done(told))
                return False
            case ["event", int() as number, told]:
                call = self.calls.get(number)
                if call is not None:
                    call.tell(told, size)
            case ["host", int() as n, int() as number, str() as method, params]:
                self._requests.answer(self._main, n, self.calls.get(number), method, params, streamed=True)
            case ["take", int() as n, int() as taken]:
                self._requests.took(n, taken)
            case ["drop", int() as n]:
                self._requests.drop(n)
            case ["pong", int() as n]:
                if n == self._pings and self._pong is not None:
                    self._pong.cancel()
                    self._pong = None
            case _:
                raise ProtocolError(f"a message of an unknown kind: {str(message[0])[:40]!r}")
        return True

    def _on_request(self, message: list[Any], size: int) -> bool:
        match message:
            case [int() as n, int() as number, str() as method, params]:
                self._requests.answer(self._sync, n, self.calls.get(number), method, params, streamed=False)
            case _:
                raise ProtocolError("a request of an unknown shape")
        return True

    def _end_call(self, call: RemoteCall, told: Done) -> None:
        if call.task is not None:
            check_end(call.task.hook, call.task.payload, told)
        self._account()
        call.cpu = self.share_of(call)
        del self.calls[call.number]
        call.end(told)
        if not self.calls:
            self.idle_since = time.monotonic()
        if self.exit is None:
            self._on_idle(self)

    # --- stopping -----------------------------------------------------------------------------------

    def ping(self) -> None:
        """Asks for a sign of life. A worker whose loop gives none within two seconds holds up all: it is ended."""
        if self._pong is None and self.exit is None:
            self._pings += 1
            self.send(["ping", self._pings])
            self._pong = self._loop.call_later(PONG_SECONDS, self._silent)

    def _silent(self) -> None:
        self._pong = None
        self.kill(exits.closed_by_us(f"its event loop did not answer within {PONG_SECONDS:g} s of a stop"))

    def retire(self, why: str) -> None:
        """Gives it no new calls; the pool ends it when its other calls are done."""
        if not self.retired and self.exit is None:
            self.retired = True
            logger.warning("A worker of '%s' (pid %s) is retired: %s", self.code.function_id, self.pid, why)
            self._on_retire(self)

    @property
    def drained(self) -> bool:
        """Whether only calls that nobody waits for any more are left."""
        return not self.holders and all(call.over for call in self.calls.values())

    def refuse(self, wrong: str) -> None:
        """Ends it because it told what no worker may tell."""
        self.kill(exits.protocol_broken(wrong))

    def kill(self, why: Exit) -> None:
        """Ends the process now. Its calls fail at once; ``gone`` is done when it has really ended."""
        if self.exit is None:
            self._fail(why)
            self.forked.kill()
            self._loop.call_later(STATUS_SECONDS, self._kill_again)

    def _kill_again(self) -> None:
        if not self.gone.done():
            self.forked.kill()

    # --- the end ------------------------------------------------------------------------------------

    def _main_ended(self, wrong: str | None) -> None:
        if self.exit is not None:
            return
        if wrong is not None:
            self.kill(exits.protocol_broken(wrong))
        elif self._death is not None:
            self._fail(self._death)
        else:
            # Its exit status comes in a moment and says more.
            self._loop.call_later(STATUS_SECONDS, self._closed)

    def _sync_ended(self, wrong: str | None) -> None:
        if wrong is not None:
            self.kill(exits.protocol_broken(wrong))

    def _closed(self) -> None:
        if self.exit is None:
            self.kill(Exit("worker_died", "it closed its connection to the server", crash=True))

    def _exited(self, status: int | None) -> None:
        crowded = self.threads > self.code.policy.threads  # and was killed for it (``headcount.py``)
        self._death = exits.over_threads(self.threads, self.code.policy.threads) if crowded else exits.died(status)
        if not self.gone.done():
            self.gone.set_result(None)
        if self._main.ended:
            self._fail(self._death)
        else:  # what it said last is still on its way
            self._loop.call_later(LAST_WORDS_SECONDS, self._fail, self._death)

    def _fail(self, why: Exit) -> None:
        if self.exit is not None:
            return
        self.exit = why
        self._main.close()
        self._sync.close()
        if self._pong is not None:
            self._pong.cancel()
        self._requests.close()
        self._log.close()
        calls, self.calls = self.calls, {}
        for call in calls.values():
            call.cpu = self.share_of(call)
            call.end(None, why.error(self.code.function_id, call.hook, call.number))
        self._on_end(self, why)

    # --- what it uses -------------------------------------------------------------------------------

    def _account(self) -> None:
        """Shares out the CPU time used since the last look among the calls that ran."""
        now = cpu_seconds(self.pid)
        if now is None or now < self.cpu:
            return
        used, self.cpu = now - self.cpu, now
        if self.calls:
            self._share += used / len(self.calls)

    def look(self) -> None:
        """Ends the worker when it uses more than it may. Called a few times a second."""
        if self.exit is not None:
            return
        policy = self.code.policy
        self._account()
        for call in self.calls.values():
            if self.share_of(call) > policy.cpu_limit:
                self.kill(exits.over_cpu(policy.cpu_limit, call.number))
                return
        if self.memory_mb is not None and self.memory_mb > policy.memory_mb * 1.15:
            self.kill(exits.over_memory(self.memory_mb, policy.memory_mb))
        elif self.headless > 1:
            self.kill(exits.HEADLESS)
        elif self.threads > policy.threads:
            self.kill(exits.over_threads(self.threads, policy.threads))
        elif self.disk_mb > policy.disk_mb:
            self.kill(exits.over_disk(self.disk_mb, policy.disk_mb))
        elif self._main.stalled() or self._sync.stalled():
            self.kill(Exit("worker_died", "it did not read what was sent to it", crash=True))
        elif not self.calls:
            self._look_at_idle()

    def _look_at_idle(self) -> None:
        now = self._loop.time()
        if self._burnt is None:
            self._burnt = (now, self.cpu)
            return
        since, cpu = self._burnt
        if now - since >= IDLE_BURN_SECONDS:
            share = (self.cpu - cpu) / (now - since)
            self._burnt = (now, self.cpu)
            if share > IDLE_BURN:
                self.kill(exits.busy_without_calls(share))
