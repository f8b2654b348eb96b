"""What an author's exception has to do with the sandbox, where it has: the sentence that the exception itself lacks.

``MemoryError`` or ``[Errno 13] Permission denied`` say nothing of the rule behind them. Only words: nothing is
decided here, and author code that raises such an exception by itself gets the same sentence.
"""

from __future__ import annotations

import re
from typing import Any

from functions_app.policy import Policy
from pipeline_app.runners.layers import FILES

_REFUSED_ADDRESS = re.compile(r"\[Errno 13\] (?:Permission denied(?!: ['\"b])|Connect call failed)")
_REFUSED_FILE = re.compile(r"\[Errno (?:13|30)\] [^:\n]*: ['\"b]")
_NOT_PERMITTED = "[Errno 1] Operation not permitted"
_DISK = re.compile(r"\[Errno (?:27|28)\] ")
_TOO_MANY = "[Errno 24] Too many open files"
_THREAD = "can't start new thread"


def with_advice(data: dict[str, Any], policy: Policy) -> dict[str, Any]:
    """Returns a failure as a worker told it (``worker.errors``), its message followed by the rule it ran into."""
    advice = _advice(data, policy)
    if advice is None or isinstance(data.get("status"), int):
        return data  # words that the author chose for the client stay as they are
    message = str(data.get("message") or data.get("type")).rstrip()
    return {**data, "message": f"{message}{'' if message.endswith('.') else '.'} {advice}"}


def _advice(data: dict[str, Any], policy: Policy) -> str | None:
    kind, said = str(data.get("type")), str(data.get("message"))
    # Libraries wrap the exception that the system gave them: the chain in the traceback still has it.
    told = f"{said}\n{data.get('traceback') or ''}"
    if kind == "MemoryError":
        return f"Its worker may use {policy.memory_mb} MB (memory_mb of its policy)."
    if _THREAD in said:
        return f"Its worker may have {policy.threads} threads (threads of its policy), each with 1 MiB of memory_mb."
    if _DISK.search(said):
        return f"Its temporary files may take {policy.disk_mb} MB (disk_mb of its policy)."
    if _TOO_MANY in told:
        return f"A worker may have {FILES} files and connections open at once: close what is no longer used."
    if _NOT_PERMITTED in told:
        return "Functions can't start programs or processes, listen, or use UDP; only TCP connections and threads."
    if _REFUSED_FILE.search(said):
        return "Functions can write only in their own temporary folder (tempfile), and read nothing of the server."
    if _REFUSED_ADDRESS.search(told):
        return (
            f"Functions connect over TCP only, where their policy lets them (network: {policy.network}, and allow): "
            "its activity page lists what was refused and why."
        )
    return None
