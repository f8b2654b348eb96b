from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.upstream import Upstream

QUESTION = "Grüße aus Köln 🎉"


@pytest.fixture
def connected(example: Callable[..., Any], upstream: Upstream) -> Callable[..., Any]:
    """``async with connected() as pipe`` gives a pipe set up for the upstream, and closes its connections."""

    @asynccontextmanager
    async def connection(**valves: Any) -> AsyncIterator[Any]:
        settings = {"base_url": upstream.base_url, "api_key": "sk-right", "timeout": 5, **valves}
        pipe = example("openai_compatible", **settings)
        try:
            yield pipe
        finally:
            for client in pipe.clients.values():
                await client.aclose()

    return connection


def body(model, **extra) -> dict[str, Any]:
    return {"model": f"openai_compatible.{model}", "messages": [{"role": "user", "content": QUESTION}], **extra}


async def streamed(pipe, model, **extra) -> list[dict[str, Any]]:
    """Returns the chunks, as a client would read them."""
    response = await pipe.pipe(body(model, stream=True, **extra))
    text = b"".join([piece async for piece in response.body_iterator]).decode()
    frames = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]
    assert frames.pop() == "[DONE]"
    return [json.loads(frame) for frame in frames]


def joined(chunks, field="content") -> str:
    return "".join(choice["delta"].get(field) or "" for chunk in chunks for choice in chunk["choices"])


async def refusal(answer) -> tuple[int, str]:
    with pytest.raises(Exception) as raised:
        await answer
    return raised.value.status_code, raised.value.detail


# --- Models -------------------------------------------------------------------------------------------


async def test_it_lists_the_models_of_the_upstream(connected):
    async with connected() as pipe:
        models = await pipe.pipes()
    assert models[:2] == [{"id": "words", "name": "words"}, {"id": "reasoner", "name": "reasoner"}]


async def test_names_get_the_prefix_and_a_fixed_list_asks_nobody(connected, upstream):
    async with connected(prefix="Up: ", models=["a/b.c"]) as pipe:
        assert await pipe.pipes() == [{"id": "a/b.c", "name": "Up: a/b.c"}]
    assert upstream.requests == []


# --- Answers ------------------------------------------------------------------------------------------


async def test_a_request_passes_unchanged_under_the_upstreams_name_of_the_model(connected, upstream):
    extra = {"temperature": 0.5, "tools": [{"type": "function"}], "x_unknown": {"kept": True}}
    async with connected() as pipe:
        answer = await pipe.pipe(body("words", **extra))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": QUESTION}
    assert upstream.requests[0].body == {**body("words", **extra), "model": "words"}


@pytest.mark.parametrize("model", ["words", "ragged"])
async def test_a_stream_passes_unchanged(connected, model):
    async with connected() as pipe:
        chunks = await streamed(pipe, model)
    assert joined(chunks) == QUESTION
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[1:3]] == ["Grüße", " aus"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_tool_calls_pass(connected):
    async with connected() as pipe:
        chunks = await streamed(pipe, "tool-caller")
        whole = await pipe.pipe(body("tool-caller"))
    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert calls[0]["function"]["name"] == "get_weather"
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city": "Köln"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Köln"}'


async def test_reasoning_and_usage_pass(connected):
    async with connected() as pipe:
        chunks = await streamed(pipe, "reasoner", stream_options={"include_usage": True})
        whole = await pipe.pipe(body("reasoner"))
    assert joined(chunks, "reasoning_content") == "Let me think."
    assert chunks[-1]["usage"]["total_tokens"] == whole["usage"]["total_tokens"] == 8
    assert whole["choices"][0]["message"]["reasoning_content"] == "Let me think."


async def test_a_whole_answer_to_a_request_for_a_stream_is_returned_whole(connected):
    async with connected() as pipe:
        answer = await pipe.pipe(body("whole", stream=True))
    assert answer["choices"][0]["message"]["content"] == QUESTION


async def test_connections_are_used_again(connected, upstream):
    async with connected() as pipe:
        await pipe.pipes()
        for _ in range(3):
            await streamed(pipe, "words")
            await pipe.pipe(body("words"))
        await refusal(pipe.pipe(body("error-500")))
    assert (len(upstream.requests), upstream.connections) == (8, 1)


async def test_a_user_who_leaves_ends_the_upstreams_work(connected, upstream):
    async with connected() as pipe:
        stream = (await pipe.pipe(body("slow", stream=True))).body_iterator
        assert await anext(stream)
        await stream.aclose()
        assert await asyncio.to_thread(upstream.requests[-1].left.wait, 5)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_user_who_leaves_before_the_answer_ends_the_upstreams_work(connected, upstream, stream):
    async with connected() as pipe:
        call = asyncio.create_task(pipe.pipe(body("silent", stream=stream)))
        assert await asyncio.to_thread(upstream.wait_for_requests)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(upstream.requests[-1].left.wait, 5)


# --- Failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_refusal_keeps_its_status_and_message(connected, upstream, stream, status):
    async with connected() as pipe:
        answer = await refusal(pipe.pipe(body(f"error-{status}", stream=stream)))
    url = f"{upstream.base_url}/chat/completions"
    assert answer == (status, f"{url} answered {status}: The upstream says {status}.")


async def test_a_wrong_key_is_refused_by_the_upstream(connected, upstream):
    async with connected(api_key="sk-wrong") as pipe:
        answer = await refusal(pipe.pipes())
    assert answer == (401, f"{upstream.base_url}/models answered 401: Incorrect API key provided.")


async def test_blanks_around_a_key_do_no_harm(connected):
    async with connected(api_key=" sk-right\n") as pipe:
        assert await pipe.pipes()


async def test_an_error_that_is_no_json_is_quoted(connected, upstream):
    async with connected() as pipe:
        answer = await refusal(pipe.pipe(body("html-502")))
    assert answer == (502, f"{upstream.base_url}/chat/completions answered 502: <h1>Bad gateway</h1>")


async def test_an_answer_that_is_no_json_is_named(connected, upstream):
    async with connected() as pipe:
        answer = await refusal(pipe.pipe(body("not-json")))
    assert answer == (502, f"{upstream.base_url}/chat/completions did not answer with JSON.")


async def test_an_upstream_that_is_not_there_is_named(connected):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        base_url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    async with connected(base_url=base_url) as pipe:
        status, detail = await refusal(pipe.pipes())
    assert status == 502
    assert detail.startswith(f"{base_url}/models cannot be reached: ")


async def test_an_upstream_that_stays_silent_is_given_up(connected, upstream):
    async with connected(timeout=0.2) as pipe:
        answer = await refusal(pipe.pipe(body("silent")))
    assert answer == (504, f"{upstream.base_url}/chat/completions did not answer within 0.2 seconds.")


async def test_an_upstream_that_breaks_off_is_told_from_one_that_is_done(connected, upstream):
    async with connected() as pipe:
        stream = (await pipe.pipe(body("broken", stream=True))).body_iterator
        assert b"Gr" in await anext(stream)
        answer = await refusal(anext(stream))
    assert answer == (502, f"{upstream.base_url}/chat/completions broke off in the middle of its answer.")


def test_an_address_without_http_is_refused_as_a_valve(example):
    with pytest.raises(ValueError, match="String should match pattern"):
        example("openai_compatible", base_url="localhost:11434")
