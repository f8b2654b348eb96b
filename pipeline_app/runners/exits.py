"""Why a worker ended, in words: for its calls, for the log, and for who looks after the function."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import dataclass

from pipeline_app.errors import FunctionError, SandboxLimit, WorkerDied
from pipeline_app.runners.disk import DEEPEST, FILES_MOST

SIGNALS = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGBUS: "a bus error",
    signal.SIGABRT: "abort()",
    signal.SIGFPE: "an arithmetic fault in native code",
    signal.SIGILL: "an illegal instruction",
    signal.SIGSYS: "a system call that no function may make",
    signal.SIGXCPU: "the CPU time limit of the system",
    signal.SIGKILL: "SIGKILL, sent from outside or by the system when memory ran out",
    signal.SIGTERM: "SIGTERM, sent from outside",
}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker ended. ``code`` is that of the errors its calls get; a ``crash`` counts for the breaker."""

    code: str
    sentence: str
    crash: bool = False
    culprit: int | None = None
    """The number of the call that broke a limit, where one can be told from the others."""

    def error(self, function_id: str, hook: str, number: int) -> FunctionError:
        """Returns what a call of the worker fails with."""
        if self.code == "worker_died" or self.culprit not in (None, number):
            return WorkerDied(function_id, hook, self.sentence)
        status = 504 if self.code in ("cpu_limit", "time_limit") else 502
        return SandboxLimit(function_id, hook, self.sentence, code=self.code, status=status)


def died(status: int | None) -> Exit:
    """Returns the exit of a worker that nobody ended, by its wait status; None where that is not known."""
    if status is None:
        return Exit("worker_died", "it ended, and how is not known", crash=True)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        by = SIGNALS.get(signal.Signals(number)) if number in set(signal.Signals) else None
        return Exit("worker_died", f"it was ended by {by or f'signal {number}'}", crash=True)
    code = os.waitstatus_to_exitcode(status)
    return Exit("worker_died", f"it left by itself with exit status {code}", crash=True)


def closed_by_us(why: str) -> Exit:
    """Returns the exit of a worker that the server ended for no fault of the function."""
    return Exit("worker_died", why)


def protocol_broken(why: str) -> Exit:
    """Returns the exit of a worker that was ended because it did not keep to the protocol."""
    return Exit("worker_died", f"it was ended, because it sent what no worker may send: {why}", crash=True)


HEADLESS = Exit("worker_died", "its main thread ended, and others went on without it", crash=True)


def over_memory(used_mb: float, limit_mb: int) -> Exit:
    """Returns the exit of a worker with more memory than its policy allows."""
    used = f"its worker used {used_mb:.0f} MB of memory"
    return Exit("memory_limit", f"{used}, and memory_mb of its policy is {limit_mb}", crash=True)


def over_disk(used_mb: float, limit_mb: int) -> Exit:
    """Returns the exit of a worker whose temporary files are larger than its policy allows, or beyond counting."""
    if math.isinf(used_mb):
        many = f"more than {FILES_MOST:,}, in folders more than {DEEPEST} deep, or on their way through a socket"
        sentence = f"its worker's temporary files can't be counted against disk_mb of its policy: they are {many}"
        return Exit("disk_limit", sentence, crash=True)
    used = f"its worker's temporary files took {used_mb:.0f} MB"
    return Exit("disk_limit", f"{used}, and disk_mb of its policy is {limit_mb}", crash=True)


def over_threads(count: int, limit: int) -> Exit:
    """Returns the exit of a worker with more threads than its policy allows."""
    return Exit("threads_limit", f"its worker had {count} threads, and threads of its policy is {limit}", crash=True)


def over_cpu(limit: float, culprit: int) -> Exit:
    """Returns the exit of a worker in which one call used more CPU time than its policy allows."""
    sentence = f"a call used more than {limit:g} s of CPU time (cpu_limit of its policy)"
    return Exit("cpu_limit", sentence, culprit=culprit)


def busy_without_calls(share: float) -> Exit:
    """Returns the exit of a worker that computed although nobody had asked it for anything."""
    return Exit("cpu_limit", f"its worker used {share:.0%} of a processor although no call was running", crash=True)
