"""The API in this process, for tests of what it answers; what needs a real server asks for ``server``."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync

from tests.builders import make_function


class Answer:
    """A response with what tests look at."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text

    @property
    def json(self) -> Any:
        return self.response.json()

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def content(self) -> Any:
        """The text of the first choice of a completion."""
        return self.json["choices"][0]["message"]["content"]

    @property
    def frames(self) -> list[Any]:
        """The data of a stream's frames; the end mark as text. Comments are left out."""
        assert self.text.endswith("\n\n"), self.text[-200:]
        data = [part.removeprefix("data: ") for part in self.text.split("\n\n") if part.startswith("data: ")]
        return [part if part == "[DONE]" else json.loads(part) for part in data]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if isinstance(frame, dict)]

    @property
    def streamed(self) -> str:
        """The text of the first choice of a stream."""
        deltas = [c["choices"][0]["delta"].get("content") for c in self.chunks if c.get("choices")]
        return "".join(delta for delta in deltas if delta)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [chunk["event"] for chunk in self.chunks if "event" in chunk]


class API:
    """A client of the application in this process."""

    def __init__(self, key: str | None) -> None:
        self.key = key

    def request(self, method: str, path: str, **given: Any) -> Answer:
        headers = {**({"Authorization": f"Bearer {self.key}"} if self.key else {}), **given.pop("headers", {})}

        async def call() -> httpx.Response:
            from webui_functions.asgi import application

            transport = httpx.ASGITransport(app=application)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                return await client.request(method, path, headers=headers, **given)

        return Answer(async_to_sync(call)())

    def get(self, path: str, **given: Any) -> Answer:
        return self.request("GET", path, **given)

    def post(self, path: str, body: Any = None, **given: Any) -> Answer:
        return self.request("POST", path, **({"json": body} if body is not None else {}), **given)

    def chat(
        self,
        model: str,
        text: Any = "hello",
        *,
        path: str = "/v1/chat/completions",
        extra_headers: Any = None,
        **more: Any,
    ) -> Answer:
        messages = text if isinstance(text, list) else [{"role": "user", "content": text}]
        return self.post(path, {"model": model, "messages": messages, **more}, headers=extra_headers or {})


@pytest.fixture
def fresh_snapshot(db):
    """Forgets what other tests left in memory; changes made by the test count as committed."""
    from pipeline_app import snapshot as module
    from pipeline_app.runs import log

    module.snapshot.__init__()  # type: ignore[misc]
    log.__init__()  # type: ignore[misc]
    yield
    module.snapshot.__init__()  # type: ignore[misc]


@pytest.fixture
def api(fresh_snapshot, base_packages, alice) -> API:
    """Alice's way in: an administrator's key."""
    from pipeline_app.models import ApiKey

    return API(ApiKey.objects.issue(alice, "tests")[1])


@pytest.fixture
def bobs_api(fresh_snapshot, base_packages, bob) -> API:
    from pipeline_app.models import ApiKey

    return API(ApiKey.objects.issue(bob, "tests")[1])


@pytest.fixture
def changed(fresh_snapshot):
    """Tells this process that rows changed, as a commit would: a test's own transaction never commits."""
    from functions_app import generation

    def tell() -> None:
        for half in generation.HALVES:
            generation.publication().publish(half, generation.secrets.token_bytes(16))

    return tell


@pytest.fixture
def pipe(base_packages, changed):
    """Stores an active pipe: ``pipe("name", "return 'text'")`` or with whole source."""

    def store(name: str, body: str, *, signature: str = "self, body", is_async: bool = False, **more: Any) -> Any:
        source = body
        if "class Pipe" not in body:
            lines = "\n".join("        " + line for line in body.splitlines())
            prefix = "async " if is_async else ""
            source = f"class Pipe:\n    {prefix}def pipe({signature}):\n{lines}\n"
        function = make_function(name, source, is_active=True, **more)
        assert function.live is not None, function.newest.error
        changed()
        return function

    return store


@pytest.fixture
def inline(monkeypatch, settings):
    """Lets this process run functions inline, whichever runner the tests are run with."""
    from pipeline_app.runners.inline import InlineRunner
    from pipeline_app.runtime import engine

    settings.FUNCTIONS_RUNNER = settings.FUNCTIONS_MIN_ISOLATION = "inline"
    runner = InlineRunner()
    monkeypatch.setattr(engine, "_runner", runner)
    yield runner
    async_to_sync(runner.close)()
