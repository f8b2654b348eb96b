"""A second function and the health page, asked all the time: whoever they wait for has harmed the server."""

from __future__ import annotations

import threading
import time

from tests.hostile.answers import Client

SOURCE = """
class Pipe:
    def pipe(self, body):
        return "here " + body["messages"][-1]["content"]
"""
PAUSE = 0.1
PATIENCE = 40


class Neighbour:
    """Asks in a thread until it is stopped."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._waits: list[float] = []
        self._stopped = threading.Event()
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._keep_asking, name="neighbour", daemon=True)
        self._thread.start()

    def mark(self) -> int:
        """Returns the moment as ``worst`` takes it."""
        return len(self._waits)

    def worst(self, since: int) -> float:
        """Asks once more and returns the longest wait in seconds since a mark.

        Raises when an answer was not the right one, or did not come.
        """
        self._ask()
        if self._trouble is not None:
            raise AssertionError(self._trouble)
        return max(self._waits[since:])

    def _ask(self) -> None:
        began = time.monotonic()
        answered = self._client.ask("bystander", "still", timeout=PATIENCE)
        if answered != (200, "here still"):
            self._trouble = f"the second function answered {answered[0]}: {answered[1][:500]}"
        status, _ = self._client.get("/healthz", timeout=PATIENCE)
        if status != 200:
            self._trouble = f"the health page answered {status}"
        self._waits.append(time.monotonic() - began)

    def _keep_asking(self) -> None:
        while not self._stopped.wait(PAUSE):
            try:
                self._ask()
            except Exception as error:
                if not self._stopped.is_set():
                    self._trouble = f"the second function or the health page does not answer: {error!r}"
                return

    def stop(self) -> None:
        """Stops asking."""
        self._stopped.set()
        self._thread.join(PATIENCE + 5)
