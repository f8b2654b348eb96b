"""What author code might try in a worker, one attempt a function. Runs inside (``confined.py``), never in the tests.

An attempt raises ``OSError`` when it is refused. ``targets`` name what it is aimed at.
"""

from __future__ import annotations

import inspect

from tests.pipeline_app.worker.attempts import files, ordinary, processes, sockets, systemcalls

_FUTURE = "from __future__ import annotations\n"

SOURCE = _FUTURE + "".join(
    inspect.getsource(module).replace(_FUTURE, "") for module in (files, processes, systemcalls, sockets, ordinary)
)
"""All attempts in one text, as a worker gets them."""
