"""What workers are made with on this machine: the layers, the zygote, their way out; and what all that is worth."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from functions_app.policy import Policy, is_enough
from pipeline_app.errors import FunctionUnavailable
from pipeline_app.runners import bubblewrap, exits
from pipeline_app.runners.attestation import Attestation, attest
from pipeline_app.runners.base import Code, Json
from pipeline_app.runners.destinations import Destinations, log
from pipeline_app.runners.egress import Broker
from pipeline_app.runners.environments import base_path
from pipeline_app.runners.launch import PRELOAD
from pipeline_app.runners.layers import FILES, Layers, readable, readable_in_worker, settle
from pipeline_app.runners.nativelog import NativeLog
from pipeline_app.runners.packages import brings, missing
from pipeline_app.runners.requests import HostCalls, Requests
from pipeline_app.runners.scratch import Scratch, sweep
from pipeline_app.runners.spawn import Spawner
from pipeline_app.runners.supervision import OnDemand, Supervisor
from pipeline_app.runners.workers import RunningWorker
from pipeline_app.runners.zygote import NotStarted, Zygote

if TYPE_CHECKING:
    from pipeline_app.runners.pool import Pool

logger = logging.getLogger(__name__)

MEGABYTE = 1024 * 1024
PROBE_SECONDS = 60.0


class TooLittleIsolation(Exception):
    """The machine gives less isolation than ``FUNCTIONS_MIN_ISOLATION`` asks for."""

    def __init__(self, message: str, attestation: Attestation) -> None:
        super().__init__(message)
        self.attestation = attestation


class Sandbox:
    """The machinery that starts workers; one per runner. ``forks`` says whether a zygote makes them.

    Most workers come from a zygote that has the base packages loaded. Those of functions with an environment of
    their own come from a second, empty one, which is there while they are: a zygote that served one environment
    alone could load its packages once for all workers, but whoever wrote these packages would then run code in a
    process that the server believes. Functions come from there too whose packages complete base packages (the
    extras of ``requests[socks]``, ``httpx[brotli]``), which look for them when they are loaded.
    """

    def __init__(
        self,
        host_calls: HostCalls | None = None,
        layers: Layers | None = None,
        forks: bool = sys.platform == "linux",
        idle_seconds: float = 600.0,
    ) -> None:
        self._host_calls = host_calls
        self._layers = layers
        self._forks = forks
        self._idle_seconds = idle_seconds
        self._scratch: Scratch | None = None
        self._supervisor: Supervisor | None = None
        self._empty: OnDemand | None = None
        self._base: list[str] = []
        self._renewing = asyncio.Lock()

    # --- opening and closing ------------------------------------------------------------------------

    async def open(self, pool: Pool) -> Attestation:
        """Starts the zygote and attests what holds in a real worker. Raises ``NotStarted``, ``TooLittleIsolation``."""
        await asyncio.to_thread(sweep)
        self._scratch = await asyncio.to_thread(Scratch)
        if self._layers is None:
            self._layers = await asyncio.to_thread(_layers)
        try:
            self._supervisor = Supervisor(self._zygote)
            await self._supervisor.start()
            self._empty = OnDemand(self._empty_zygote, self._idle_seconds)
            return await self._attest(pool)
        except BaseException:
            await self.close()
            raise

    def _zygote(self, on_end: Callable[[], None]) -> Zygote | Spawner:
        self._base = _base()
        return self._made(self._base, PRELOAD, on_end)

    def _empty_zygote(self, on_end: Callable[[], None]) -> Zygote | Spawner:
        return self._made([], [], on_end)

    def _made(self, packages: list[str], preload: Sequence[str], on_end: Callable[[], None]) -> Zygote | Spawner:
        assert self._layers is not None
        assert self._scratch is not None
        # A zygote may read all environments: what it can't, no worker could be allowed. A worker gets its own alone.
        paths = readable([_environments()])
        prefix = bubblewrap.prefix(paths, [str(self._scratch.path)]) if self._layers.bubblewrap else []
        if not self._forks:
            return Spawner(self._scratch, layers=self._layers, prefix=prefix, site=packages, readable=paths)
        return Zygote(
            self._scratch,
            layers=self._layers,
            prefix=prefix,
            site=packages,
            readable=paths,
            preload=preload,
            on_end=on_end,
        )

    async def _attest(self, pool: Pool) -> Attestation:
        code = Code("attestation", 0, "", "", Policy())
        # What the probes were refused is nobody's business.
        worker = await self.start(code, pool, Destinations(quiet=True))

        async def ask(targets: Json) -> Json:
            call = worker.begin("about", "probe", targets)
            call.limit(PROBE_SECONDS)
            await call.wait()
            if call.done is None or call.done.error is not None:
                why = call.failure.data["message"] if call.failure is not None else call.done and call.done.error
                raise NotStarted(f"The sandbox cannot be attested: {why}.")
            answers: Json = call.done.value
            return answers

        try:
            found = await attest(ask)
        finally:
            worker.kill(exits.closed_by_us("the attestation is over"))
        logger.info("%s", found)
        least = settings.FUNCTIONS_MIN_ISOLATION
        if not is_enough(found.level, least):
            raise TooLittleIsolation(
                f"FUNCTIONS_MIN_ISOLATION is '{least}', and this machine gives '{found.level}'. "
                "The layers that do not hold are named in the log; `manage.py check --deploy` says what they need.",
                found,
            )
        return found

    async def close(self) -> None:
        """Ends the zygotes and their workers, and removes their folders."""
        if self._empty is not None:
            await self._empty.close()
            self._empty = None
        if self._supervisor is not None:
            await self._supervisor.close()
            self._supervisor = None
        if self._scratch is not None:
            await asyncio.to_thread(self._scratch.close)
            self._scratch = None

    async def _take_base(self) -> None:
        """Lets workers begin with base packages that have been installed since the zygote began."""
        async with self._renewing:
            if not self._base and self._supervisor is not None and _base():
                with contextlib.suppress(NotStarted):  # which whoever asks for a worker is told
                    await self._supervisor.renew()

    # --- workers ------------------------------------------------------------------------------------

    async def start(self, code: Code, pool: Pool, destinations: Destinations = log) -> RunningWorker:
        """Returns a new worker with its connections open and nothing loaded. Raises ``FunctionUnavailable``."""
        if self._supervisor is None or self._empty is None:
            raise FunctionUnavailable(code.function_id, "load", "the server is stopping.", code="stopping")
        if gone := missing(code):
            raise FunctionUnavailable(code.function_id, "load", gone[0].lower() + gone[1:])
        await self._take_base()
        base, site = [] if code.environment else self._base, [os.path.realpath(folder) for folder in code.folders]
        maker: Supervisor | OnDemand = self._supervisor
        if code.environment or brings(code, self._supervisor.missed):
            maker, site = self._empty, [*base, *site]
        try:
            forked = await maker.fork({**_config(code), "site": site, "readable": readable_in_worker(base)})
        except NotStarted as error:
            logger.error("No worker for '%s': %s", code.function_id, error)
            message = f"its worker cannot be started: {error}"
            raise FunctionUnavailable(code.function_id, "load", message, retry_after=5) from None
        try:
            with contextlib.suppress(ProcessLookupError):  # it has gone already, which is noticed at its sockets
                settle(forked.pid)
        except OSError as error:
            forked.close()
            forked.kill()
            raise _unreachable(code, error) from error
        policy, notifications = code.policy, forked.notifications
        broker = Broker(code.function_id, policy, notifications, forked.pid, destinations=destinations)
        broker.start()
        worker = RunningWorker(
            code,
            forked,
            Requests(self._host_calls, broker),
            NativeLog(forked.log),
            on_idle=pool.consider,
            on_retire=pool.on_retire,
            on_end=pool.on_end,
        )
        worker.shared_mb = maker.shared_mb
        try:
            await worker.open()
        except BaseException as error:
            # Nobody knows of it yet, so nobody else would ever end it.
            worker.kill(exits.closed_by_us("whoever wanted it has left"))
            if isinstance(error, OSError):
                raise _unreachable(code, error) from error
            raise
        return worker


def _unreachable(code: Code, error: OSError) -> FunctionUnavailable:
    return FunctionUnavailable(code.function_id, "load", f"its worker cannot be reached: {error}.", retry_after=5)


def _config(code: Code) -> Json:
    policy = code.policy
    return {
        "network": "none" if policy.network == "none" and not policy.allow else "brokered",
        "limits": {
            "memory_mb": policy.memory_mb,
            "disk_mb": policy.disk_mb,
            "threads": policy.threads,
            "files": FILES,
        },
        "environment": {},
        "function": code.function_id,
    }


def _base() -> list[str]:
    base = base_path()
    return [] if base is None else [os.path.realpath(base)]


def _environments() -> Path:
    """Returns the folder of all packages, made when it is missing: what a zygote did not find it never sees."""
    folder = Path(os.path.realpath(settings.FUNCTIONS_ENVIRONMENTS))
    with contextlib.suppress(OSError):  # a disk that cannot be written may hold all there is to read
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _layers() -> Layers:
    """Returns the layers of this machine that the settings do not leave out."""
    wanted = Layers.without(settings.FUNCTIONS_SANDBOX_LAYERS)
    if wanted.bubblewrap and (why := bubblewrap.why_not()) is not None:
        logger.info("The sandbox does without bubblewrap: %s", why)
        return Layers(False, wanted.landlock, wanted.seccomp, wanted.capabilities)
    return wanted


def quarter_of_memory_mb() -> float:
    """Returns a quarter of the machine's memory in MB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MEGABYTE / 4
