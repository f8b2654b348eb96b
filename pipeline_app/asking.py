"""What functions ask of the person behind a run (``__event_call__``), and what they get when nobody answers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings

from pipeline_app.errors import RequestError
from pipeline_app.worker.answers import Event
from pipeline_app.worker.emitter import Unanswered

Json = dict[str, Any]

DIALOGS = frozenset({"confirmation", "input", "request:user_input", "request:elicitation"})
"""Questions whose data carries the ``interaction_id``, by which Open WebUI's clients know their dialogs."""
DONE = "request:interaction:done"
"""A question needs no answer any more: data has its ``interaction_id``. For all who listen."""

LEFT = "Client session disconnected."
TIMED_OUT = "Event call timed out. The browser tab may be inactive or closed."
TOO_MANY = "This run has asked too many questions."
QUESTIONS_MOST = 200
"""How often one run may ask: each question stops the clock, so their number has to end."""
OWN_SECONDS = 120.0
LEAST_SECONDS, MOST_SECONDS = 60.0, 240.0
ORDER_SECONDS = 0.02
"""A question waits so long for what was said before it, which takes another way."""


class QuestionNotFound(RequestError):
    """The run asks nothing under this id."""

    status = 404

    def __init__(self, run: str, question: str) -> None:
        super().__init__(
            f"Run '{run}' has asked nothing under the id '{question}'.", param="event_id", code="question_not_found"
        )


class QuestionAnswered(RequestError):
    """Somebody has answered already; the first answer counts."""

    status = 409

    def __init__(self, question: str) -> None:
        super().__init__(f"Question '{question}' was answered before.", param="event_id", code="already_answered")


class QuestionClosed(RequestError):
    """Nobody waits for the answer any more."""

    status = 410

    def __init__(self, question: str, why: str = "its time was up, or its function has ended") -> None:
        super().__init__(f"Nobody waits for an answer to '{question}' any more: {why}.", code="question_closed")


def patience(question: Json) -> float:
    """Returns the seconds that a question may wait: some kinds say so themselves, within bounds."""
    data = question.get("data")
    data = data if isinstance(data, dict) else {}
    kind = str(question.get("type"))
    if not kind.startswith("request:") and not (kind == "confirmation" and data.get("tool_call")):
        return float(settings.FUNCTIONS_ANSWER_SECONDS)
    wanted = data.get("timeout_ms")
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        return OWN_SECONDS
    return float(min(MOST_SECONDS * 1000, max(LEAST_SECONDS * 1000, wanted))) / 1000


class Questions:
    """The questions of one run. ``tell`` sends an event to whoever listens to it."""

    def __init__(self, run: uuid.UUID, tell: Callable[[Event], object]) -> None:
        self.run = str(run)
        self._tell = tell
        self._open: dict[str, asyncio.Future[Any]] = {}
        self._past: dict[str, bool] = {}
        """Those of before, and whether they were answered."""
        self._left = False

    @property
    def waiting(self) -> bool:
        """Whether a function waits for an answer now."""
        return bool(self._open)

    async def ask(self, question: Json) -> Any:
        """Returns the answer to an event of any type; ``Unanswered`` when none comes in time, or nobody is there."""
        if self._left:
            return Unanswered(error=LEFT)
        if len(self._open) + len(self._past) >= QUESTIONS_MOST:
            return Unanswered(error=TOO_MANY)
        name = str(uuid.uuid4())
        answer = self._open[name] = asyncio.get_running_loop().create_future()
        try:
            await asyncio.sleep(ORDER_SECONDS)
            self._tell(self._told(name, question))
            async with asyncio.timeout(patience(question)):
                return await answer
        except TimeoutError:
            return Unanswered(error=TIMED_OUT)
        finally:
            if self._open.pop(name, None) is not None:
                self._past[name] = False
            self._tell(Event(type=DONE, data={"interaction_id": name}))

    def _told(self, name: str, question: Json) -> Event:
        data = question.get("data")
        if question.get("type") in DIALOGS and isinstance(data, dict):
            data = {**data, "interaction_id": name}
        return Event({**question, "data": data, "id": name, "run": self.run, "call": True})

    def answer(self, name: str, value: Any) -> None:
        """Hands an answer over. Raises ``QuestionNotFound``, ``QuestionAnswered`` or ``QuestionClosed``."""
        waiting = self._open.pop(name, None)
        if waiting is not None:
            self._past[name] = True
            self._give(waiting, value)
        elif name not in self._past:
            raise QuestionNotFound(self.run, name)
        elif self._past[name]:
            raise QuestionAnswered(name)
        else:
            raise QuestionClosed(name)

    def leave(self) -> None:
        """Nobody is there any more: who waits for an answer is told so, and who asks from now on too."""
        self._left = True
        waiting, self._open = self._open, {}
        for name, answer in waiting.items():
            self._past[name] = False
            self._give(answer, Unanswered(error=LEFT))

    @staticmethod
    def _give(waiting: asyncio.Future[Any], value: Any) -> None:
        def give() -> None:
            if not waiting.done():
                waiting.set_result(value)

        waiting.get_loop().call_soon_threadsafe(give)
