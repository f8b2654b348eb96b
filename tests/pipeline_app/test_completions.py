"""What models answer to functions: within the caller's rights, within the request, and no deeper than is sensible."""

from __future__ import annotations

import textwrap
import time

import httpx
import pytest

from pipeline_app.completions import DEEPEST
from pipeline_app.models import Run
from pipeline_app.runs import log
from tests.builders import make_function, make_model

ECHO = """
class Pipe:
    def pipe(self, body):
        return f"{body['model']}: {body['messages'][-1]['content']}"
"""

HEAD = """
import asyncio, json
from open_webui.utils.chat import generate_chat_completion
from open_webui.models.users import UserModel

def wanted(model, content="hi", **more):
    return {"model": model, "messages": [{"role": "user", "content": content}], **more}

async def read(response):
    text = ""
    async for piece in response.body_iterator:
        for line in (piece if isinstance(piece, str) else piece.decode()).splitlines():
            if line.startswith("data: {"):
                chunk = json.loads(line[6:])
                if "error" in chunk:
                    return text + "!" + chunk["error"]["detail"]
                for choice in chunk["choices"]:
                    text += choice["delta"].get("content") or ""
    return text
"""


def asking(body: str, head: str = "async def pipe(self, body, __user__, __request__, __event_emitter__):") -> str:
    return f"{HEAD}\nclass Pipe:\n    {head}\n{textwrap.indent(textwrap.dedent(body), '        ')}\n"


def test_a_function_gets_a_models_answer_as_a_dict(api, pipe):
    pipe("echo", ECHO)
    pipe(
        "asker",
        asking("""
        answer = await generate_chat_completion(__request__, wanted("echo"), UserModel(**__user__))
        assert answer["object"] == "chat.completion" and answer["model"] == "echo", answer
        assert "events" not in answer
        again = await generate_chat_completion(request=__request__, form_data=wanted("echo", "2"), user=__user__)
        return answer["choices"][0]["message"]["content"] + ", " + again["choices"][0]["message"]["content"]
        """),
    )
    assert api.chat("asker", "x").content == "echo: hi, echo: 2"


def test_a_stream_is_a_response_that_may_be_read_or_passed_on(api, pipe):
    pipe("slow", "class Pipe:\n    def pipe(self, body):\n        yield 'one '\n        yield 'two'\n")
    pipe(
        "reader",
        asking("""
        response = await generate_chat_completion(__request__, wanted("slow", stream=True), __user__)
        return "read: " + await read(response)
        """),
    )
    pipe("passing", asking("return await generate_chat_completion(__request__, wanted('slow', stream=True), __user__)"))
    assert api.chat("reader", "x").content == "read: one two"
    assert api.chat("passing", "x").content == "one two"
    assert api.chat("passing", "x", stream=True).streamed == "one two"


def test_synchronous_code_asks_from_a_loop_of_its_own(api, pipe):
    pipe("echo", ECHO)
    pipe(
        "threaded",
        asking(
            """
            answer = asyncio.run(generate_chat_completion(__request__, wanted("echo"), __user__))
            async def streamed():
                return await read(await generate_chat_completion(__request__, wanted("echo", stream=True), __user__))
            return answer["choices"][0]["message"]["content"] + ", " + asyncio.run(streamed())
            """,
            "def pipe(self, body, __user__, __request__):",
        ),
    )
    assert api.chat("threaded", "x").content == "echo: hi, echo: hi"


def test_filters_do_not_run_for_a_bare_call_and_do_for_the_whole_way(api, pipe, changed):
    pipe("echo", ECHO)
    make_function(
        "marks",
        "class Filter:\n    def inlet(self, body):\n        body['messages'][-1]['content'] += '+'\n        return body\n",
    )
    make_model("marked", "echo", filters=["marks"])
    changed()
    pipe(
        "asker",
        asking("""
        from open_webui.main import generate_chat_completions
        bare = await generate_chat_completion(__request__, wanted("marked"), __user__)
        whole = await generate_chat_completions(__request__, wanted("marked"), __user__)
        older = await generate_chat_completions(wanted("marked"), user=__user__)
        return " ".join(a["choices"][0]["message"]["content"] for a in (bare, whole, older))
        """),
    )
    assert api.chat("asker", "x").content == "echo: hi echo: hi+ echo: hi+"


def test_a_filter_asks_a_model_too(api, pipe, changed):
    pipe("echo", ECHO)
    source = HEAD + (
        "class Filter:\n"
        "    async def inlet(self, body, __user__, __request__):\n"
        "        found = await generate_chat_completion(__request__, wanted('echo', 'in'), __user__)\n"
        "        body['messages'][-1]['content'] = found['choices'][0]['message']['content']\n"
        "        return body\n"
    )
    make_function("asking", source, is_global=True)
    changed()
    assert api.chat("echo", "x").content == "echo: echo: in"


def test_presets_and_metadata_reach_the_model(api, pipe, changed):
    pipe(
        "telling",
        "class Pipe:\n"
        "    def pipe(self, body, __metadata__, __task__, __chat_id__, __user__):\n"
        "        system = [m['content'] for m in body['messages'] if m['role'] == 'system']\n"
        "        return f\"{system} {body.get('temperature')} {__task__} {__chat_id__} {__metadata__['mine']} \"\\\n"
        "            f\"{__metadata__['model']['id']} {__user__['name']}\"\n",
    )
    make_model("preset", "telling", system_prompt="Be kind.", params={"temperature": 0.5})
    changed()
    pipe(
        "asker",
        asking("""
        body = wanted("preset", metadata={"task": "title_generation", "mine": 1, "chat_id": "other"})
        first = await generate_chat_completion(__request__, dict(body), __user__)
        second = await generate_chat_completion(__request__, dict(body), __user__, bypass_system_prompt=True)
        return first["choices"][0]["message"]["content"] + "|" + second["choices"][0]["message"]["content"]
        """),
    )
    answer = api.chat("asker", "x", chat_id="c1").content
    assert answer.partition(" alice")[0] == "['Be kind.'] 0.5 title_generation c1 1 preset"
    assert answer.partition("|")[2].startswith("[] 0.5 ")


def test_events_of_the_model_reach_the_client_in_their_place(api, pipe):
    pipe(
        "lively",
        "class Pipe:\n"
        "    async def pipe(self, body, __event_emitter__):\n"
        "        await __event_emitter__({'type': 'status', 'data': {'description': 'inner'}})\n"
        "        return 'done'\n",
    )
    pipe(
        "asker",
        asking("""
        await __event_emitter__({"type": "status", "data": {"description": "before"}})
        answer = await generate_chat_completion(__request__, wanted("lively"), __user__)
        await __event_emitter__({"type": "status", "data": {"description": "after"}})
        return answer["choices"][0]["message"]["content"]
        """),
    )
    answer = api.chat("asker", "x")
    assert answer.content == "done"
    assert [e["data"]["description"] for e in answer.json["events"]] == ["before", "inner", "after"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails_says_so_as_open_webui_does(api, pipe, stream):
    pipe("broken", "class Pipe:\n    def pipe(self, body):\n        raise ValueError('no such luck')\n")
    pipe(
        "asker",
        asking(f"""
        answer = await generate_chat_completion(__request__, wanted("broken", stream={stream}), __user__)
        if {stream}:
            return await read(answer)
        try:
            return answer["choices"]
        except KeyError as error:
            return answer["error"]["detail"] + " / " + str(error)
        """),
    )
    said = "no such luck (ValueError in function 'broken', pipe, line 3)"
    assert api.chat("asker", "x").content == (f"!{said}" if stream else f"{said} / The model failed: {said}")


def test_what_the_caller_may_not_is_refused_to_the_function(api, bobs_api, pipe, alice, changed):
    from django.contrib.auth.models import Group

    pipe("echo", ECHO)
    model = make_model("closed", "echo")
    model.groups.add(Group.objects.create(name="few"))
    changed()
    pipe(
        "asker",
        asking("""
        try:
            answer = await generate_chat_completion(__request__, wanted(body["messages"][-1]["content"]), __user__, True)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return answer["choices"][0]["message"]["content"]
        """),
    )
    assert api.chat("asker", "closed").content == "echo: hi"
    for model in ("closed", "nowhere"):
        assert bobs_api.chat("asker", model).content == (
            f"HostError: The model '{model}' does not exist or you do not have access to it."
        )


def test_nobody_else_can_be_asked_for(bobs_api, pipe, alice):
    pipe("echo", ECHO)
    pipe(
        "asker",
        asking(f"""
        user = UserModel(**{{**__user__, "id": "{alice.pk}"}})
        try:
            return str(await generate_chat_completion(__request__, wanted("echo"), user))
        except Exception as error:
            return str(error)
        """),
    )
    said = "A model is asked for the person behind the request, and for nobody else."
    assert bobs_api.chat("asker", "x").content == said


def test_without_the_grant_no_model_is_asked(api, pipe, changed):
    pipe("echo", ECHO)
    function = pipe(
        "asker",
        asking("""
        try:
            return str(await generate_chat_completion(__request__, wanted("echo"), __user__))
        except Exception as error:
            return str(error)
        """),
    )
    function.change_policy({"grants": ["events"]})
    changed()
    said = "This function may not ask for models.complete: its policy does not have the grant 'models'."
    assert api.chat("asker", "x").content == said


def test_a_circle_of_models_ends_with_a_sentence(api, pipe):
    pipe(
        "circle",
        asking("""
        deep = int(body["messages"][-1]["content"])
        try:
            answer = await generate_chat_completion(__request__, wanted("circle", str(deep + 1)), __user__)
        except Exception as error:
            return f"{deep} {error}"
        return answer["choices"][0]["message"]["content"]
        """),
    )
    said = api.chat("circle", "0").content
    assert said.startswith(f"{DEEPEST} A model was asked within a model {DEEPEST} times by now")
    assert "such as 'circle'" in said


def test_the_run_has_a_step_for_each(api, pipe):
    pipe("echo", ECHO)
    pipe("asker", asking("return await generate_chat_completion(__request__, wanted('echo', stream=True), __user__)"))
    run_id = api.chat("asker", "x").headers["X-Run-ID"]
    log.write()
    run = Run.objects.get(pk=run_id)
    assert [(step["function"], step["hook"]) for step in run.steps] == [("echo", "pipe"), ("asker", "pipe")]
    assert Run.objects.count() == 1


ENDLESS = """
import asyncio, time
STATE = {"running": False, "stopped": False}
class Pipe:
    async def pipe(self, body):
        if body["messages"][-1]["content"] == "look":
            return str(STATE)
        STATE["running"] = True
        try:
            yielded = 0
            while True:
                await asyncio.sleep(0.05)
        finally:
            STATE["running"], STATE["stopped"] = False, True
"""


@pytest.mark.parametrize("how", ["limit", "cancelled", "closed"])
def test_the_end_of_the_asking_call_is_the_end_of_the_model(api, pipe, changed, how):
    source = (
        ENDLESS
        if how != "closed"
        else ENDLESS.replace("return str(STATE)", "yield str(STATE)\n            return").replace(
            "await asyncio.sleep(0.05)", "yield 'x'\n                await asyncio.sleep(0.05)"
        )
    )
    pipe("endless", source)
    bodies = {
        "limit": "await generate_chat_completion(__request__, wanted('endless'), __user__)",
        "cancelled": """
            try:
                await asyncio.wait_for(generate_chat_completion(__request__, wanted("endless"), __user__), 1)
            except asyncio.TimeoutError:
                pass
            for _ in range(200):
                found = await generate_chat_completion(__request__, wanted("endless", "look"), __user__)
                if "'stopped': True" in str(found):
                    return "stopped"
                await asyncio.sleep(0.05)
            """,
        "closed": """
            response = await generate_chat_completion(__request__, wanted("endless", stream=True), __user__)
            async for piece in response.body_iterator:
                if "x" in piece:
                    break
            await response.body_iterator.aclose()
            for _ in range(200):
                found = await generate_chat_completion(__request__, wanted("endless", "look"), __user__)
                if "'stopped': True" in str(found):
                    return "stopped"
                await asyncio.sleep(0.05)
            """,
    }
    function = pipe("asker", asking(bodies[how]))
    if how != "limit":
        assert api.chat("asker", "x").content == "stopped"
        return
    function.change_policy({"time_limit": {"pipe": 1.5}})
    changed()
    assert api.chat("asker", "x").error["code"] == "time_limit"
    ends = time.monotonic() + 20
    while "'stopped': True" not in api.chat("endless", "look").content:
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_the_models_of_the_application_are_those_the_caller_may_use(api, bobs_api, pipe, changed):
    from django.contrib.auth.models import Group

    pipe("echo", ECHO)
    make_model("closed", "echo").groups.add(Group.objects.create(name="few"))
    changed()
    pipe(
        "asker",
        asking("""
        from open_webui.main import app
        from open_webui.utils.models import get_all_models, get_filtered_models
        models = __request__.app.state.MODELS
        assert models is app.state.MODELS and __request__.app is app
        assert models["echo"]["id"] == "echo" and models.get("nowhere") is None and "pipe" in models["echo"]
        assert [m["id"] for m in await get_all_models(__request__)] == [m["id"] for m in get_all_models()]
        assert await get_filtered_models([{"id": "echo"}, {"id": "x"}], __user__) == [{"id": "echo"}]
        return " ".join(sorted(models))
        """),
    )
    assert api.chat("asker", "x").content == "asker closed echo"
    assert bobs_api.chat("asker", "x").content == "asker echo"


SERVED = f"""
from functions_app.models import User
from pipeline_app.models import ApiKey
from tests.builders import make_function
make_function("echo", {ECHO!r})
make_function("asker", {asking("return await generate_chat_completion(__request__, wanted('echo', stream=True), __user__)")!r})
print("key:", ApiKey.objects.issue(User.objects.create_superuser("alice", "a@example.org", "alice"), "tests")[1])
"""


def test_a_real_server_answers_its_own_functions(server):
    key = server.shell(SERVED).rpartition("key: ")[2].split()[0]
    body = {"model": "asker", "messages": [{"role": "user", "content": "x"}]}
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "echo: hi"
