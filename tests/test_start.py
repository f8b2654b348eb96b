"""What the server says when it cannot start."""

from __future__ import annotations

import contextlib

from pipeline_app.runners.attestation import Attestation
from pipeline_app.runners.sandbox import TooLittleIsolation
from webui_functions import asgi


async def test_too_little_isolation_is_said_in_a_sentence_without_a_traceback(monkeypatch, caplog):
    sentence = "FUNCTIONS_MIN_ISOLATION is 'standard', and this machine gives 'basic'."

    @contextlib.asynccontextmanager
    async def serving():
        raise TooLittleIsolation(sentence, Attestation.of({}))
        yield

    async def receive():
        return {"type": "lifespan.startup"}

    sent = []

    async def send(message):
        sent.append(message)

    monkeypatch.setattr(asgi.engine, "serving", serving)
    await asgi.Application()({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": sentence}]
    [record] = [record for record in caplog.records if record.name == asgi.logger.name]
    assert sentence in record.getMessage() and record.exc_info is None
