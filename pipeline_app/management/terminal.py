"""A try of a hook as it looks on a terminal: the answer on standard output, everything else on standard error."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from django.core.management.base import OutputWrapper

from pipeline_app.context import Caller
from pipeline_app.events import Channel
from pipeline_app.runners.base import Code, Runner
from pipeline_app.trial import Given, Trial

Json = dict[str, Any]

PROFILE_SHOWN = 25


class Terminal:
    """Shows one try. ``output`` gets what the hook answers, ``errors`` events, questions, what it printed, failures."""

    def __init__(self, output: OutputWrapper, errors: OutputWrapper) -> None:
        self._output = output
        self._errors = errors
        self._wrote = False
        self._in_line = False

    async def run(self, runner: Runner, code: Code, hook: str, caller: Caller, given: Given) -> Json:
        """Tries a hook, showing what it tells as it comes; returns the answer of ``Trial.run``."""
        channel = Channel()
        trial = Trial(runner, code, hook, caller, given, channel)

        async def work() -> Json:
            error: BaseException | None = None
            try:
                return await trial.run()
            except BaseException as failure:
                error = failure
                raise
            finally:
                channel.end(error)

        task = asyncio.create_task(work(), name="try")
        try:
            async for batch in channel.batches():
                for frame in batch:
                    self._show(frame)
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def finish(self, answer: Json) -> None:
        """Shows what is known at the end: a result that was not streamed, what was printed, the failure, the time."""
        if answer["error"] is None and not self._wrote:
            result = answer["result"]
            text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, indent=2)
            self._output.write(text)
        elif self._in_line:
            self._end_line()
        for line in answer["logs"]:
            self.say(f"{line.get('stream') or line.get('level')}: {line['text']}")
        error, timing = answer["error"], answer["timing"]
        if error is not None:
            self.say(str(error["traceback"] or "").rstrip())
            line = f" (line {error['line']})" if error["line"] else ""
            self.say(f"{error['type']}: {error['message']}{line}")
        cpu = "" if timing["cpu_ms"] is None else f", {timing['cpu_ms']:.1f} ms of CPU"
        memory = "" if timing["memory_mb"] is None else f", its worker has {timing['memory_mb']:.0f} MB"
        self.say(f"It took {timing['wall_ms']:.1f} ms{cpu}{memory}.")
        if "profile" in answer:
            self._show_profile(answer["profile"])

    def say(self, text: str) -> None:
        """Writes a line about the try, below whatever is being written of the answer."""
        if not text:
            return
        if self._in_line:
            self._end_line()
        self._errors.write(text)
        self._errors.flush()

    def _end_line(self) -> None:
        self._output.write("")
        self._output.flush()
        self._in_line = False

    async def ask(self, question: Json) -> Any:
        """Asks whoever sits there; what cannot be asked on a terminal gets False, as if the dialog had been closed."""
        data = question.get("data")
        told: Json = data if isinstance(data, dict) else {}
        kind = question.get("type")
        for text in (told.get("title"), told.get("message")):
            if isinstance(text, str):
                self.say(text)
        if kind == "confirmation":
            return (await _typed("Yes or no? [y/N] ")).strip().lower() in ("y", "yes")
        if kind == "input":
            return await _typed("> ")
        self.say(f"The function asks its client to {kind}, which cannot be done here: {json.dumps(told)[:500]}")
        return False

    def _show(self, frame: Json) -> None:
        if "item" in frame:
            text = text_of(frame["item"])
            if text:
                self._output.write(text, ending="")
                self._output.flush()
                self._wrote, self._in_line = True, not text.endswith("\n")
        elif "event" in frame:
            event = frame["event"]
            self.say(f"event {event.get('type')}: {json.dumps(event.get('data'), ensure_ascii=False)}")
        elif "call" in frame:
            call = frame["call"]
            answer = json.dumps(call["answer"], ensure_ascii=False)
            self.say(f"asked {call.get('type')}: {json.dumps(call.get('data'), ensure_ascii=False)}, answered {answer}")

    def _show_profile(self, rows: list[Json]) -> None:
        self.say("")
        if not rows:
            self.say("There is no profile: no code of the function ran, or it did not end.")
            return
        self.say(f"{'in all ms':>10} {'own ms':>10} {'times':>7}  {'line':>5}  what")
        for row in rows[:PROFILE_SHOWN]:
            name = row["name"] if row["is_own"] else f"-> {row['name']}"
            figures = f"{row['total_ms']:>10.2f} {row['own_ms']:>10.2f} {row['times']:>7}"
            self.say(f"{figures}  {row['line']:>5}  {name}")
        self.say(
            "The function's own code by the line it begins at, and with -> what that calls, by the line of the call. A "
            "coroutine or generator counts once for each step; time it waits in await is in none of them. Watching "
            "makes Python code slower."
        )


def text_of(item: Any) -> str:
    """Returns the text of a piece of an answer: itself, or what a chunk adds."""
    if isinstance(item, str):
        return item
    choices = item.get("choices") if isinstance(item, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    content = delta.get("content") if isinstance(delta, dict) else None
    return content if isinstance(content, str) else ""


async def _typed(prompt: str) -> str:
    try:
        return await asyncio.to_thread(input, prompt)
    except EOFError:
        return ""
