"""
title: OpenAI-compatible
author: webui-functions
version: 1.0.0
license: MIT
description: Offers the models of any server that speaks OpenAI's API: OpenAI, Ollama, vLLM, LiteLLM and others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from weakref import WeakKeyDictionary

import httpx
from fastapi import HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field


class Pipe:
    class Valves(BaseModel):
        base_url: str = Field(
            default="https://api.openai.com/v1",
            pattern=r"^https?://",
            description="Where the upstream's API begins, for example http://localhost:11434/v1 for Ollama.",
        )
        api_key: str = Field(
            default="",
            description="Sent to the upstream as a bearer token; leave it empty for servers that need none.",
            json_schema_extra={"input": {"type": "password"}},
        )
        prefix: str = Field(default="", description="Put before the name of each model in the list.")
        models: list[str] = Field(
            default_factory=list,
            description="The models to offer; when empty, all that the upstream lists.",
        )
        timeout: float = Field(
            default=120.0,
            gt=0,
            description="Seconds to wait for the upstream: for its answer to begin, and between two pieces of it.",
        )

    def __init__(self) -> None:
        self.valves = self.Valves()
        # Open connections belong to the event loop that opened them, so each loop has a client of its own.
        self.clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    async def pipes(self) -> list[dict[str, str]]:
        """Lists the upstream's models."""
        models = self.valves.models or await self.discover()
        return [{"id": model, "name": f"{self.valves.prefix}{model}"} for model in models]

    async def discover(self) -> list[str]:
        response = await self.send("GET", "models")
        answer = await self.read(response)
        try:
            return [model["id"] for model in answer["data"]]
        except (KeyError, TypeError) as error:
            raise HTTPException(502, f"{response.url} did not answer with a list of models.") from error

    async def pipe(self, body: dict[str, Any]) -> dict[str, Any] | StreamingResponse:
        """Passes the request on as it is, and the answer back as it comes.

        Whatever the upstream says about tool calls, reasoning and usage thus reaches the client. An upstream that
        refuses keeps its status code.
        """
        function_id, _, model = body["model"].partition(".")
        response = await self.send("POST", "chat/completions", {**body, "model": model or function_id})
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return StreamingResponse(self.pieces(response), media_type="text/event-stream")
        return await self.read(response)

    async def read(self, response: httpx.Response) -> dict[str, Any]:
        """Returns the JSON object that the answer consists of."""
        try:
            answer = json.loads(b"".join([piece async for piece in self.pieces(response)]))
        except ValueError as error:
            raise HTTPException(502, f"{response.url} did not answer with JSON.") from error
        if not isinstance(answer, dict):
            raise HTTPException(502, f"{response.url} did not answer with a JSON object.")
        return answer

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yields the body as it arrives. A client that leaves early ends the upstream's work too."""
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.TimeoutException as error:
            raise HTTPException(504, f"{response.url} sent nothing for {self.valves.timeout:g} seconds.") from error
        except httpx.RequestError as error:
            raise HTTPException(502, f"{response.url} broke off in the middle of its answer.") from error
        finally:
            await response.aclose()

    async def send(self, method: str, path: str, payload: dict[str, Any] | None = None) -> httpx.Response:
        """Returns the upstream's answer with its body still unread; raises HTTPException when it is not a success."""
        client, key = self.client(), self.valves.api_key.strip()
        request = client.build_request(
            method,
            f"{self.valves.base_url.rstrip('/')}/{path}",
            json=payload,
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=httpx.Timeout(self.valves.timeout, connect=min(10.0, self.valves.timeout)),
        )
        try:
            response = await client.send(request, stream=True)
            if response.is_success:
                return response
            await response.aread()
        except httpx.TimeoutException as error:
            raise HTTPException(504, f"{request.url} did not answer within {self.valves.timeout:g} seconds.") from error
        except httpx.RequestError as error:
            raise HTTPException(502, f"{request.url} cannot be reached: {error}") from error
        raise HTTPException(
            response.status_code if response.is_error else 502,
            f"{request.url} answered {response.status_code}: {reason(response)}",
        )

    def client(self) -> httpx.AsyncClient:
        """Returns the client of the running loop, which keeps its connections open for the next request."""
        loop = asyncio.get_running_loop()
        if loop not in self.clients:
            self.clients[loop] = httpx.AsyncClient(limits=httpx.Limits(max_connections=None))
        return self.clients[loop]


def reason(response: httpx.Response) -> str:
    """Returns what an error answer says about itself: OpenAI's message if it has one, else the start of its text."""
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return response.text.strip()[:500] or response.reason_phrase
