"""Word between server processes: an answer for a run that another process has, or to stop one.

A letter is a row. Every process looks for letters once a second, and more often while a run of its own asks something.
One that has no such run says so on the letter: when all have, its sender need not wait any longer. That a process is
there at all it says every few seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import Error

from pipeline_app.asking import QuestionAnswered, QuestionClosed, QuestionNotFound
from pipeline_app.database import in_database
from pipeline_app.errors import RequestError
from pipeline_app.models import Letter, Presence
from pipeline_app.models.presence import this_process
from pipeline_app.runners.base import Runner
from pipeline_app.runs import running, under_way
from pipeline_app.snapshot import Person

logger = logging.getLogger(__name__)

Json = dict[str, Any]

LOOK_SECONDS = 1.0
"""How often a process looks for letters."""
ASKED_SECONDS = 0.2
"""How often while a function waits for an answer; and how often a sender looks for the reply."""
PRESENT_SECONDS = 5.0
TAKEN_SECONDS = 4.0
"""How long a letter waits to be taken, by default: a few looks of a process that may be busy."""
REPLY_SECONDS = 15.0
SENDING_MOST = 64
SENDING_EACH = 8
"""How many letters of this process may be on their way, and how many of one person."""

_sending: Counter[str] = Counter()


def may_stop(person: Person, owner_id: str) -> bool:
    """Whether a person may stop a run, answer its questions and read what it says: their own, admins all."""
    return owner_id == person.id or person.is_admin


class Mailbox:
    """The letters to this process, while it serves."""

    def __init__(self, runner: Callable[[], Runner]) -> None:
        self._runner = runner
        self._handling: set[asyncio.Task[None]] = set()
        self._passed: set[int] | None = None
        """The waiting letters that were passed by; None before the first look."""
        self.is_open = False
        """Whether this process is known to others, and looks for letters."""

    async def keep_looking(self) -> None:
        """Looks for letters and says that this process is there, until cancelled."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        noted = looked - PRESENT_SECONDS
        try:
            while True:
                try:
                    if loop.time() - noted >= PRESENT_SECONDS:
                        await in_database(Presence.objects.note, this_process())
                        self.is_open, noted = True, loop.time()
                    if self._is_asked() or loop.time() - looked >= LOOK_SECONDS:
                        looked = loop.time()
                        await self._look()
                except Exception:  # it outlives whatever the database does: who says nothing is taken for gone
                    logger.exception("Letters of other processes can't be read; trying again in a moment")
                    await asyncio.sleep(LOOK_SECONDS)
                await asyncio.sleep(ASKED_SECONDS)
        finally:
            self.is_open = False
            for task in list(self._handling):
                task.cancel()
            await asyncio.shield(in_database(self._go))

    @staticmethod
    def _go() -> None:
        try:
            Presence.objects.filter(pk=this_process()).delete()
        except Error:
            pass  # it is taken for gone a little later

    @staticmethod
    def _is_asked() -> bool:
        return any(r.questions is not None and r.questions.waiting for r in list(running.values()))

    async def _look(self) -> None:
        waiting = await in_database(Letter.objects.waiting)
        # Those of before its first look do not count on this process: their senders may not know of it.
        passed = {letter.pk for letter in waiting} if self._passed is None else self._passed
        self._passed = {letter.pk for letter in waiting if letter.pk in passed}
        passing = []
        for letter in waiting:
            person = _sender(letter)
            if not under_way(letter.run, may_stop, person):
                if letter.pk not in passed:
                    passing.append(letter.pk)
                continue
            taken = await in_database(Letter.objects.take, letter)
            if taken is not None:
                task = asyncio.create_task(self._handle(taken, person), name="letter")
                self._handling.add(task)
                task.add_done_callback(self._handling.discard)
        if passing:
            await in_database(Letter.objects.pass_by, passing)
            self._passed.update(passing)

    async def _handle(self, letter: Letter, person: Person) -> None:
        try:
            if letter.kind == Letter.Kind.STOP:
                reply = {"id": await stop(letter.run, person, self._runner())}
            else:
                answer(letter.run, letter.event_id, letter.value, person)
                reply = {"id": letter.run}
        except RequestError as error:
            reply = {"error": error.code}
        except Exception:
            logger.exception("A letter for run %s could not be followed", letter.run)
            reply = {"error": "failed"}
        try:
            await in_database(Letter.objects.filter(pk=letter.pk).update, reply=reply)
        except Exception:
            logger.exception("Who sent a letter for run %s can't be told what became of it", letter.run)


def _sender(letter: Letter) -> Person:
    """Returns who sent a letter, as far as it matters to a run."""
    return Person(letter.sender, letter.is_admin, {}, frozenset(), None, frozenset(), None, {}, {})


# --- For who asks ---------------------------------------------------------------------------------------


async def stop(named: str, person: Person, runner: Runner) -> str | None:
    """Stops the runs of this process that an id names; returns the id of the first, None when there is none."""
    found = under_way(named, may_stop, person)
    for record in found:
        by = "its owner" if record.person.id == person.id else "an administrator"
        await record.stop(runner, by)
    return str(found[0].id) if found else None


def answer(run: str, question: str, value: Any, person: Person) -> bool:
    """Answers a question of a run of this process; False when it is not here. Raises the errors of ``asking``."""
    found = [record for record in under_way(run, may_stop, person) if str(record.id) == run]
    if not found:
        return False
    if found[0].questions is None:
        raise QuestionNotFound(run, question)
    found[0].questions.answer(question, value)
    return True


async def stop_elsewhere(named: str, person: Person) -> str | None:
    """Stops a run in another process; returns its id, None when no process took the word."""
    reply = await _send(Letter(run=named, kind=Letter.Kind.STOP, sender=person.id, is_admin=person.is_admin))
    return reply.get("id") if reply else None


async def answer_elsewhere(run: str, question: str, value: Any, person: Person) -> bool:
    """Answers a question of a run in another process; False when none took it. Raises the errors of ``asking``."""
    letter = Letter(run=run, kind=Letter.Kind.ANSWER, event_id=question, value=value)
    letter.sender, letter.is_admin = person.id, person.is_admin
    match await _send(letter, patience=2 * TAKEN_SECONDS):
        case None:
            return False
        case {"error": "question_not_found"}:
            raise QuestionNotFound(run, question)
        case {"error": "already_answered"}:
            raise QuestionAnswered(question)
        case {"error": _}:
            raise QuestionClosed(question)
    return True


async def _send(letter: Letter, patience: float = TAKEN_SECONDS) -> Json | None:
    """Returns the reply to a letter; None when no process took it in time, and at once when there is no other."""
    if _sending[letter.sender] >= SENDING_EACH or _sending.total() >= SENDING_MOST:
        raise RequestError(
            "Too much word is on its way to other server processes; try again in a moment.",
            status=429,
            code="rate_limit_exceeded",
            headers={"Retry-After": "1"},
        )
    _sending[letter.sender] += 1
    try:
        others = await in_database(_post, letter)
        if not others:
            return None
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            await asyncio.sleep(ASKED_SECONDS)
            taken, reply, passed = await in_database(_state, letter)
            if reply is not None:
                break
            # The row of a run that asks tells whether it goes on, a moment late: an answer waits until it is true.
            nobody = passed >= others and letter.kind == Letter.Kind.STOP
            if not taken and (nobody or loop.time() > until):
                # It may be taken this very moment: then its reply is waited for.
                if await in_database(Letter.objects.take, letter) is not None:
                    break
            elif loop.time() > until + REPLY_SECONDS:
                reply = {"error": "question_closed"} if letter.kind == Letter.Kind.ANSWER else None
                break
        await in_database(letter.delete)
        return reply
    finally:
        _sending[letter.sender] -= 1
        if not _sending[letter.sender]:
            del _sending[letter.sender]


def _post(letter: Letter) -> int:
    """Sends a letter off; returns how many processes look at it, or 0 when there is no other to take it."""
    if not Presence.objects.alive().exclude(pk=this_process()).exists():
        return 0
    letter.save(force_insert=True)
    # Counted afterwards: who comes later finds the letter at its first look, which it does not count.
    return Presence.objects.alive().count()


def _state(letter: Letter) -> tuple[Any, Json | None, int]:
    row = Letter.objects.filter(pk=letter.pk).values_list("taken_at", "reply", "passed").first()
    return row or (None, None, 0)
