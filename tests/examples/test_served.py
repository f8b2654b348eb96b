"""The examples as clients meet them: loaded as quickstart loads them, served over HTTP, in front of a real upstream."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import openai
import pytest

from tests.servers import Server
from tests.upstream import Upstream

SETUP = """
from pathlib import Path
from functions_app.exchange import import_file
from functions_app.models import Function, Model, User, Valves
from pipeline_app.models import ApiKey

alice = User.objects.create_superuser("alice", "alice@example.org")
for path in sorted(Path("examples").glob("*.py")):
    imported = import_file(path, alice)
    assert imported.error is None, imported.error
assert list(Function.objects.active().values_list("pk", flat=True)) == ["echo"]
Function.objects.update(is_active=True)
for name, values in {
    "openai_compatible": {"base_url": %r, "api_key": "sk-right"},
    "moderation": {"words": ["badword"]},
    "token_budget": {"tokens_per_day": 1000},
}.items():
    Valves.objects.set_values(Function.objects.get(pk=name), values, alice)
Function.objects.filter(pk="openai_compatible").update(policy={"allow": [%r]})
for name in ("pii_redaction", "word_mask", "moderation", "token_budget"):
    Model.objects.create(id=name, name=name, base_model_id="openai_compatible.words").filters.set([name])
print(ApiKey.objects.issue(alice)[1])
"""


@dataclass
class Served:
    url: str
    key: str
    client: openai.OpenAI
    upstream: Upstream

    def ask(self, model, text, **extra) -> str:
        answer = self.client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **extra)
        return str(answer.choices[0].message.content)

    def stream(self, model, text, **extra) -> list[str]:
        chunks = self.client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": text}], stream=True, **extra
        )
        return [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]


@pytest.fixture(scope="module")
def served(tmp_path_factory, base_packages, empty_database) -> Iterator[Served]:
    with Upstream(api_key="sk-right") as upstream:
        server = Server(tmp_path_factory.mktemp("examples"), empty_database, environment={})
        key = server.shell(SETUP % (upstream.base_url, urlsplit(upstream.base_url).netloc)).splitlines()[-1]
        server.start()
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
        try:
            yield Served(server.url, key, client, upstream)
        finally:
            client.close()
            server.stop()


def test_echo_streams_word_by_word(served):
    assert [word for word in served.stream("echo", "one two three") if word] == ["one", " two", " three"]
    assert served.ask("echo", "one two three") == "one two three"


def test_the_models_of_the_upstream_are_listed_and_answer(served):
    assert {"echo", "openai_compatible.words", "openai_compatible.ragged"} <= {
        m.id for m in served.client.models.list()
    }
    for model in ("words", "ragged", "whole"):
        assert "".join(served.stream(f"openai_compatible.{model}", "Grüße aus Köln 🎉")) == "Grüße aus Köln 🎉"
        assert served.ask(f"openai_compatible.{model}", "Grüße aus Köln 🎉") == "Grüße aus Köln 🎉"


def test_tool_calls_reach_the_client(served):
    question = {"model": "openai_compatible.tool-caller", "messages": [{"role": "user", "content": "Weather?"}]}
    answer = served.client.chat.completions.create(**question)
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"city": "Köln"}'
    choices = [chunk.choices[0] for chunk in served.client.chat.completions.create(**question, stream=True)]
    calls = [call for choice in choices for call in choice.delta.tool_calls or []]
    assert "".join(call.function.arguments for call in calls) == '{"city": "Köln"}'
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["tool_calls"]


def test_reasoning_and_usage_reach_the_client(served):
    chunks = served.client.chat.completions.create(
        model="openai_compatible.reasoner",
        messages=[{"role": "user", "content": "Think"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(chunks)
    reasoning = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks if chunk.choices]
    assert "".join(reasoning) == "Let me think."
    assert [chunk.usage.total_tokens for chunk in chunks if chunk.usage] == [2]


@pytest.mark.parametrize("ask", [Served.ask, Served.stream])
def test_a_refusal_of_the_upstream_keeps_its_status(served, ask):
    with pytest.raises(openai.RateLimitError, match=r"answered 429: The upstream says 429\."):
        ask(served, "openai_compatible.error-429", "hi")


def test_a_client_that_leaves_ends_the_upstreams_work(served):
    stream = served.client.chat.completions.create(
        model="openai_compatible.slow", messages=[{"role": "user", "content": "go on"}], stream=True
    )
    next(iter(stream))
    stream.close()
    assert served.upstream.chats()[-1].left.wait(5)


@pytest.mark.parametrize("ask", [Served.ask, Served.stream])
def test_the_upstream_sees_placeholders_and_the_user_the_originals(served, ask):
    text = "Write to alice@example.org or +49 30 1234567"
    assert "".join(ask(served, "pii_redaction", text)) == text
    assert served.upstream.chats()[-1].body["messages"][-1]["content"] == "Write to [EMAIL_1] or [PHONE_1]"


@pytest.mark.parametrize("ask", [Served.ask, Served.stream])
def test_words_are_masked_and_the_last_one_is_not_lost(served, ask):
    assert "".join(ask(served, "word_mask", "Oh darn, what the heck dar")) == "Oh ****, what the **** dar"


@pytest.mark.parametrize("ask", [Served.ask, Served.stream])
def test_nothing_of_a_withheld_answer_is_seen(served, ask):
    notice = "This answer was withheld because it does not follow the rules of this server."
    assert "".join(ask(served, "moderation", "one two badword four")) == notice
    assert "".join(ask(served, "moderation", "one two three four")) == "one two three four"


def test_a_spent_budget_is_refused_with_a_sentence(served):
    assert served.ask("token_budget", "x" * 800)  # 200 tokens, and as many for the answer
    with pytest.raises(openai.RateLimitError, match="it needs about 750 tokens, and 600 are left"):
        served.ask("token_budget", "x" * 3000)


def test_the_report_comes_with_its_events(served):
    request = urllib.request.Request(
        f"{served.url}/api/chat/actions/report_action",
        json.dumps({"messages": [{"role": "user", "content": "How are you?"}]}).encode(),
        {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        answer = response.read().decode()
    assert '"words":3' in answer.replace(" ", "")
    assert "The report is ready" in answer
