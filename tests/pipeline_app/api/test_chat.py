"""Chat completions as clients see them: shapes, statuses, streams, errors."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline_app.runners.scratch import Scratch


def test_a_text_becomes_a_completion(api, pipe):
    pipe("greeter", "return 'Good morning'")
    answer = api.chat("greeter")
    assert answer.status == 200
    body = answer.json
    assert body["object"] == "chat.completion"
    assert body["model"] == "greeter"
    assert body["choices"] == [
        {
            "logprobs": None,
            "index": 0,
            "message": {"role": "assistant", "content": "Good morning"},
            "finish_reason": "stop",
        }
    ]
    assert "usage" not in body
    assert answer.headers["x-run-id"]
    assert answer.headers["x-request-id"]


def test_a_stream_has_one_id_one_role_one_ending_and_one_end_mark(api, pipe):
    pipe("counter", "for n in range(3):\n    yield f'{n} '")
    answer = api.chat("counter", stream=True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.streamed == "0 1 2 "
    assert answer.frames[-1] == "[DONE]"
    assert answer.frames.count("[DONE]") == 1
    assert answer.text.endswith("data: [DONE]\n\n")
    chunks = answer.chunks
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "0 "}
    assert all("role" not in c["choices"][0]["delta"] for c in chunks[1:])
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None, None, None, "stop"]


RETURNS = {
    "text": ("return 'abc'", "abc"),
    "none": ("return None", ""),
    "number": ("return 42", "42"),
    "generator": ("yield 'a'\nyield None\nyield ''\nyield 'b'\nyield 3", "ab3"),
    "list": ("return ['a', 'b']", "ab"),
    "bytes": ("return b'a\\xc3\\xa9'", "aé"),
    "split bytes": ("yield b'a\\xc3'\nyield b'\\xa9b'", "aéb"),
    "map": ("return map(str, [1, 2])", "12"),
    "whole": (
        (
            "return {'id': 'x', 'choices': [{'index': 0, 'message': {'role': 'assistant', 'content': 'abc'},"
            " 'finish_reason': 'length'}]}"
        ),
        "abc",
    ),
    "chunks": (
        (
            "yield {'choices': [{'index': 0, 'delta': {'content': 'a'}}]}\n"
            "yield {'choices': [{'index': 0, 'delta': {'content': 'b'}, 'finish_reason': 'stop'}]}"
        ),
        "ab",
    ),
    "sse lines": (
        "yield 'data: ' + '{\"choices\": [{\"delta\": {\"content\": \"a\"}}]}' + '\\n\\n'\nyield 'data: [DONE]\\n\\n'",
        "a",
    ),
    "streaming response": (
        (
            "from starlette.responses import StreamingResponse\n"
            "async def body():\n"
            '    yield \'data: {"choices": [{"delta": {"con\'\n'
            '    yield \'tent": "a"}}]}\\n\'\n'
            "    yield '\\ndata: [DONE]\\n\\n'\n"
            "return StreamingResponse(body())"
        ),
        "a",
    ),
    "json response": (
        (
            "from starlette.responses import JSONResponse\n"
            "return JSONResponse({'choices': [{'message': {'role': 'assistant', 'content': 'abc'}}]})"
        ),
        "abc",
    ),
    "plain response": ("from starlette.responses import PlainTextResponse\nreturn PlainTextResponse('abc')", "abc"),
    "not a frame": ("yield 'data: no json'", "data: no json"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("name", RETURNS)
def test_every_return_type_becomes_an_answer(api, pipe, name, stream):
    body, text = RETURNS[name]
    pipe("giver", body)
    answer = api.chat("giver", stream=stream)
    assert answer.status == 200, answer.text
    if stream:
        assert answer.streamed == text
        assert answer.frames[-1] == "[DONE]"
        reasons = [c["choices"][0]["finish_reason"] for c in answer.chunks if c["choices"]]
        assert [r for r in reasons if r] == ["length" if name == "whole" else "stop"]
    else:
        assert answer.content == text
        assert answer.json["choices"][0]["finish_reason"] == ("length" if name == "whole" else "stop")


def test_a_pydantic_model_is_an_answer(api, pipe):
    pipe(
        "modeller",
        """
from pydantic import BaseModel

class Answer(BaseModel):
    choices: list

class Pipe:
    def pipe(self, body):
        return Answer(choices=[{"message": {"role": "assistant", "content": "abc"}}])
""",
    )
    assert api.chat("modeller").content == "abc"
    assert api.chat("modeller", stream=True).streamed == "abc"


TOOL_CHUNKS = """
yield {"id": "up-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}
yield {"id": "up-1", "choices": [{"index": 0, "delta": {"reasoning_content": "think"}}]}
yield {"id": "up-1", "choices": [{"index": 0, "delta": {"reasoning_content": "ing"}}]}
yield {"id": "up-1", "choices": [{"index": 0, "delta": {"tool_calls": [
    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\\"a\\""}}]}}]}
yield {"id": "up-1", "choices": [{"index": 0, "delta": {"tool_calls": [
    {"index": 0, "function": {"arguments": ": 1}"}}]}}]}
yield {"id": "up-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
yield {"id": "up-1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
"""


def test_tool_calls_reasoning_and_usage_reach_a_stream_intact(api, pipe):
    pipe("tooler", TOOL_CHUNKS)
    answer = api.chat("tooler", stream=True)
    chunks = answer.chunks
    assert {c["id"] for c in chunks} == {"up-1"}
    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"]]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == "thinking"
    calls = [call for d in deltas for call in d.get("tool_calls", ())]
    assert calls[0]["id"] == "call_1"
    assert "".join(c["function"]["arguments"] for c in calls) == '{"a": 1}'
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "tool_calls"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_tool_calls_reasoning_and_usage_reach_a_completion_intact(api, pipe):
    pipe("tooler", TOOL_CHUNKS)
    body = api.chat("tooler").json
    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "thinking",
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}],
    }
    assert body["usage"]["total_tokens"] == 7


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    "lines",
    [
        f"return {{'choices': [{{'message': {{'role': 'assistant', 'content': 'a'}}}}], 'usage': {USAGE}}}",
        f"yield {{'choices': [{{'delta': {{'content': 'a'}}}}], 'usage': {USAGE}}}",
    ],
)
def test_usage_that_nobody_asked_for_comes_with_the_ending_so_that_each_chunk_has_choices(api, pipe, lines):
    pipe("counting", lines)
    chunks = api.chat("counting", stream=True).chunks
    assert [c["choices"][0]["delta"].get("content") for c in chunks] == ["a", None]
    assert [c.get("usage") for c in chunks] == [None, USAGE]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    chunks = api.chat("counting", stream=True, stream_options={"include_usage": True}).chunks
    assert [(bool(c["choices"]), c.get("usage")) for c in chunks] == [(True, None), (True, None), (False, USAGE)]
    assert api.chat("counting").json["usage"] == USAGE


def test_logprobs_of_chunks_are_put_together_in_a_completion(api, pipe):
    said = [{"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []} for token in "ab"]
    pipe(
        "sure",
        f"""
for index in (0, 1):
    for told in {said}:
        logprobs = {{"content": [told], "refusal": None}}
        yield {{"choices": [{{"index": index, "delta": {{"content": told["token"]}}, "logprobs": logprobs}}]}}
""",
    )
    choices = api.chat("sure", logprobs=True).json["choices"]
    assert [choice["logprobs"] for choice in choices] == [{"content": said, "refusal": None}] * 2
    chunks = api.chat("sure", stream=True, logprobs=True).chunks
    assert [c["choices"][0]["logprobs"]["content"][0]["token"] for c in chunks[:4]] == ["a", "b", "a", "b"]


def test_usage_is_estimated_when_asked_for(api, pipe):
    pipe("greeter", "return 'four'")
    answer = api.chat("greeter", stream=True, stream_options={"include_usage": True})
    assert answer.chunks[-1]["choices"] == []
    assert answer.chunks[-1]["usage"] == {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    assert "usage" not in json.dumps(api.chat("greeter", stream=True).chunks)


def test_unknown_parameters_and_content_parts_reach_the_function(api, pipe):
    pipe("mirror", "import json\nreturn json.dumps(body)")
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    answer = api.chat("mirror", parts, temperature=0.5, invented={"a": [1]})
    assert answer.status == 400  # parts are the content of a message, not messages
    answer = api.chat("mirror", [{"role": "user", "content": parts}], temperature=0.5, invented={"a": [1]})
    seen = json.loads(answer.content)
    assert seen["messages"][0]["content"] == parts
    assert seen["temperature"] == 0.5
    assert seen["invented"] == {"a": [1]}
    assert "metadata" not in seen


BAD = [
    (b"{", "invalid_json", None, "The request body is not valid JSON: "),
    (b"", "invalid_json", None, "The request body is not valid JSON: "),
    (b"[]", "invalid_json", None, "The request body must be a JSON object, not an array."),
    (b'{"messages": "\xff"}', "invalid_json", None, "The request body is not valid JSON: it is not UTF-8 text"),
    (b"[" * 100_000, "invalid_json", None, "The request body is not valid JSON: it is nested too deeply."),
    (b'{"a": NaN}', "invalid_json", None, "The request body is not valid JSON: NaN is not JSON."),
    (b'{"messages": []}', "missing_required_parameter", "model", "You must provide a model parameter."),
    (b'{"model": 1, "messages": []}', "invalid_type", "model", "'model' must be a string, not a number."),
    (b'{"model": "m"}', "missing_required_parameter", "messages", "Missing required parameter: 'messages'."),
    (b'{"model": "m", "messages": {}}', "invalid_type", "messages", "'messages' must be an array, not an object."),
    (
        b'{"model": "m", "messages": []}',
        "empty_array",
        "messages",
        "'messages' is empty; it needs at least one message.",
    ),
    (
        b'{"model": "m", "messages": ["a"]}',
        "invalid_type",
        "messages[0]",
        "'messages[0]' must be an object, not a string.",
    ),
    (
        b'{"model": "m", "messages": [{"content": "a"}]}',
        "invalid_type",
        "messages[0].role",
        "'messages[0].role' must be a string, not null.",
    ),
    (
        b'{"model": "m", "messages": [{"role": "user", "content": 1}]}',
        "invalid_type",
        "messages[0].content",
        "'messages[0].content' must be a string or an array of parts, not a number.",
    ),
    (
        b'{"model": "m", "messages": [{"role": "user"}], "stream": "yes"}',
        "invalid_type",
        "stream",
        "'stream' must be a boolean, not a string.",
    ),
]


@pytest.mark.parametrize(("raw", "code", "param", "message"), BAD)
def test_a_malformed_request_is_a_400_that_names_the_field(api, raw, code, param, message):
    answer = api.post("/v1/chat/completions", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status == 400
    assert answer.error["message"].startswith(message)
    assert (answer.error["code"], answer.error["param"]) == (code, param)
    assert answer.error["type"] == "invalid_request_error"


def test_an_unknown_model_is_a_404(api):
    answer = api.chat("nothing")
    assert answer.status == 404
    assert answer.error == {
        "message": "The model 'nothing' does not exist or you do not have access to it.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


def test_under_api_the_error_has_open_webuis_detail_too(api):
    answer = api.chat("nothing", path="/api/chat/completions")
    assert answer.status == 404
    assert answer.json["detail"] == answer.error["message"]


def test_a_failing_pipe_is_a_500_with_a_sentence_and_no_traceback(api, pipe):
    pipe("broken", "raise ValueError('no bananas left')")
    for stream in (False, True):
        answer = api.chat("broken", stream=stream)
        assert answer.status == 500
        assert answer.error["message"] == "no bananas left (ValueError in function 'broken', pipe, line 3)"
        assert answer.error["code"] == "function_failed"
        assert "Traceback" not in answer.text
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-run-id"]


def test_an_http_exception_keeps_its_status_and_words(api, pipe):
    pipe("limited", "from fastapi import HTTPException\nraise HTTPException(429, 'Come back tomorrow')")
    answer = api.chat("limited")
    assert (answer.status, answer.error["message"]) == (429, "Come back tomorrow")


def test_a_generator_that_fails_midway_leaves_an_error_after_what_came_before(api, pipe):
    pipe("half", "yield 'first'\nyield ' second'\nraise RuntimeError('lost the thread')")
    answer = api.chat("half", stream=True)
    assert answer.status == 200
    assert [c["choices"][0]["delta"].get("content") for c in answer.chunks if "choices" in c] == ["first", " second"]
    assert answer.frames[-1] == "[DONE]"
    assert answer.frames[-2]["error"]["message"] == "lost the thread (RuntimeError in function 'half', pipe, line 5)"
    assert api.chat("half").status == 500


def test_an_answer_that_says_error_is_an_error(api, pipe):
    pipe("upstream", "return {'error': {'message': 'key refused', 'code': 401}}")
    assert api.chat("upstream").status == 401
    assert api.chat("upstream").error["message"] == "key refused"
    pipe("saying", "return {'error': 'no such thing'}")
    assert (api.chat("saying").status, api.chat("saying").error["message"].split(" (")[0]) == (500, "no such thing")


def test_nul_and_lone_surrogates_are_no_server_error(api, pipe):
    pipe("odd", "yield 'a\\x00b'\nyield '\\ud800'")
    for stream in (False, True):
        answer = api.chat("odd", "x\x00", stream=stream)
        assert answer.status == 200
    raw = b'{"model": "odd", "messages": [{"role": "user", "content": "\\ud800\\u0000"}]}'
    answer = api.post("/v1/chat/completions", content=raw)
    assert answer.status == 200
    assert answer.content.startswith("a\x00b")


def test_a_body_over_the_limit_is_refused(api, settings):
    settings.FUNCTIONS_MAX_BODY = 1000
    answer = api.chat("any", "x" * 2000)
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"
    assert "1000 bytes" in answer.error["message"]


def test_wrong_methods_and_unknown_paths_are_json(api):
    answer = api.get("/v1/chat/completions")
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST, OPTIONS"
    answer = api.get("/v1/nothing/here")
    assert (answer.status, answer.error["code"]) == (404, "unknown_url")
    assert answer.error["message"] == "Unknown path: GET /v1/nothing/here"


def test_several_choices_stay_apart(api, pipe):
    pipe(
        "twins",
        "for n in (0, 1):\n"
        "    yield {'choices': [{'index': n, 'delta': {'content': f'text {n}'}, 'finish_reason': 'stop'}]}",
    )
    body = api.chat("twins").json
    assert [(c["index"], c["message"]["content"]) for c in body["choices"]] == [(0, "text 0"), (1, "text 1")]
    chunks = api.chat("twins", stream=True).chunks
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None, None, "stop", "stop"]


def test_events_travel_in_the_stream_and_in_the_json_answer(api, pipe):
    pipe(
        "teller",
        "await __event_emitter__({'type': 'status', 'data': {'description': 'working', 'done': False}})\nreturn 'done'",
        signature="self, body, __event_emitter__=None",
        is_async=True,
    )
    told = {"type": "status", "data": {"description": "working", "done": False}}
    assert api.chat("teller").json["events"] == [told]
    answer = api.chat("teller", stream=True)
    assert answer.chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert answer.chunks[1]["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]
    assert answer.events == [told]
    assert answer.streamed == "done"


def test_a_key_may_call_pipes_only_within_its_scopes_and_its_time(alice, pipe, fresh_snapshot):
    from datetime import timedelta

    from django.utils import timezone

    from pipeline_app.models import ApiKey
    from tests.pipeline_app.conftest import API

    pipe("greeter", "return 'hi'")
    assert API(None).chat("greeter").status == 401
    assert API(None).chat("greeter").headers["www-authenticate"].startswith("Bearer")
    assert API("sk-wrong").chat("greeter").status == 401
    _, text = ApiKey.objects.issue(alice, scopes=["actions"])
    answer = API(text).chat("greeter")
    assert answer.status == 403
    assert answer.error["message"] == "This API key lacks the scope 'models'; it has actions."
    _, text = ApiKey.objects.issue(alice, expires_at=timezone.now() - timedelta(seconds=1))
    answer = API(text).chat("greeter")
    assert (answer.status, answer.error["message"]) == (
        401,
        "This API key has expired. Ask an administrator for a new one.",
    )


def test_a_revoked_key_opens_nothing_at_once(alice, pipe, changed):
    from pipeline_app.models import ApiKey
    from tests.pipeline_app.conftest import API

    pipe("greeter", "return 'hi'")
    key, text = ApiKey.objects.issue(alice)
    assert API(text).chat("greeter").status == 200
    key.revoke()
    changed()
    assert API(text).chat("greeter").status == 401


def test_a_throttle_counts_per_key_when_configured(api, bobs_api, pipe, settings):
    from pipeline_app.api import throttles

    throttles._history.clear()
    settings.FUNCTIONS_THROTTLE = "2/min"
    pipe("greeter", "return 'hi'")
    assert [api.chat("greeter").status for _ in range(3)] == [200, 200, 429]
    assert int(api.chat("greeter").headers["retry-after"]) > 0
    assert bobs_api.chat("greeter").status == 200


def test_cors_is_closed_unless_an_origin_is_named(api, pipe, settings):
    pipe("greeter", "return 'hi'")
    origin = {"Origin": "https://app.example.org"}
    assert "access-control-allow-origin" not in api.post("/v1/chat/completions", {}, headers=origin).headers
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example.org"]
    for answer in (
        api.post("/v1/chat/completions", {}, headers=origin),
        api.chat("greeter", stream=True, extra_headers=origin),
        api.get("/v1/nothing", headers=origin),
    ):
        assert answer.headers["access-control-allow-origin"] == "https://app.example.org"
    preflight = api.request(
        "OPTIONS", "/v1/chat/completions", headers={**origin, "Access-Control-Request-Method": "POST"}
    )
    assert preflight.status == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]
    # What the official client for browsers and an EventSource over fetch send, and what an update may.
    needed = {"authorization", "content-type", "x-api-key", "x-request-id", "if-match", "last-event-id", "range"}
    needed |= {f"x-stainless-{name}" for name in ("lang", "os", "arch", "runtime", "retry-count", "timeout")}
    assert needed <= set(preflight.headers["access-control-allow-headers"].split(", "))
    exposed = set(api.get("/v1/models", headers=origin).headers["access-control-expose-headers"].split(", "))
    assert {"X-Run-ID", "X-Request-ID", "ETag", "Retry-After", "Location"} <= exposed


def test_a_slash_too_many_or_too_few_makes_no_difference(api, pipe):
    pipe("greeter", "return 'hi'")
    for path in ("/v1/models", "/api/models", "/api/v1/functions", "/api/v1/functions/list", "/api/v1/files"):
        answers = [api.get(path), api.get(path + "/")]
        assert [answer.status for answer in answers] == [200, 200], path
        assert answers[0].json == answers[1].json
    body = {"model": "greeter", "messages": [{"role": "user", "content": "hi"}]}
    assert api.post("/v1/chat/completions/", body).json["choices"][0]["message"]["content"] == "hi"
    assert api.post("/api/v1/functions/id/greeter/toggle/").json["is_active"] is False
    assert api.get("/api/v1/nothing/").error["code"] == "unknown_url"
    assert api.get("/v1/models//").status == 404


def test_a_body_that_is_packed_is_refused_by_name(api, pipe):
    pipe("greeter", "return 'hi'")
    packed = gzip.compress(b'{"model": "greeter", "messages": [{"role": "user", "content": "hi"}]}')
    answer = api.request("POST", "/v1/chat/completions", content=packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")
    assert "gzip" in answer.error["message"]
    answer = api.request("POST", "/api/v1/functions/import", content=packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")


def test_the_request_id_is_the_clients_when_it_is_a_plain_word(api):
    assert api.get("/v1/models", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert api.get("/v1/models", headers={"X-Request-ID": "a b\tc"}).headers["x-request-id"] != "a b\tc"


def test_an_ordinary_chat_asks_the_database_nothing_and_takes_no_thread(
    api, pipe, monkeypatch, django_assert_num_queries
):
    pipe("hello", "return 'hi'", is_async=True)
    api.chat("hello")
    submit, taken = ThreadPoolExecutor.submit, []

    def noted(self, work, *args, **kwargs):
        if getattr(work, "__func__", None) is not Scratch.drop:  # the folder of a worker of a test before this
            taken.append(work)
        return submit(self, work, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", noted)
    with django_assert_num_queries(0):
        for stream in (False, True):
            assert api.chat("hello", stream=stream).status == 200
    assert len(taken) == 2  # in which this client's own loop runs, one a request
