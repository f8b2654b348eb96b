"""The pure helpers: what goes in and what comes out, as functions rely on it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest


def m(role, content, **more):
    return {"role": role, "content": content, **more}


PARTS = [
    {"type": "image_url", "image_url": {"url": "x"}},
    {"type": "text", "text": "one"},
    {"type": "text", "text": "two"},
]


# --- utils.misc ------------------------------------------------------------------------------------------


def test_messages_are_found(webui):
    misc = webui("utils.misc")
    chat = [m("system", "s1"), m("user", "a"), m("assistant", "b"), m("system", "s2"), m("user", PARTS)]
    assert misc.get_last_user_message(chat) == "one"
    assert misc.get_last_user_message_item(chat) is chat[4]
    assert misc.get_last_assistant_message(chat) == "b"
    assert misc.get_system_message(chat) is chat[0]
    system, rest = misc.pop_system_message(chat)
    assert system == m("system", "s1")
    assert [one["role"] for one in rest] == ["user", "assistant", "user"]
    assert len(chat) == 5
    assert misc.remove_system_message(chat) == rest
    assert misc.get_last_user_message([]) is None is misc.get_last_assistant_message([m("user", "x")])
    with pytest.raises(KeyError):
        misc.get_last_user_message([{"content": "no role"}])
    assert misc.get_messages_content(chat[:3]) == "SYSTEM: s1\nUSER: a\nASSISTANT: b"


def test_a_message_without_content_is_its_output(webui):
    output = [
        {"type": "reasoning", "content": [{"text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "said"}]},
    ]
    assert (
        webui("utils.misc").get_content_from_message({"role": "assistant", "content": "", "output": output}) == "said"
    )
    assert webui("utils.misc").get_content_from_message({"role": "assistant", "content": None}) is None


def test_system_messages_are_added_to(webui):
    misc = webui("utils.misc")
    chat = [m("user", "a")]
    assert misc.add_or_update_system_message("one", chat) is chat
    misc.add_or_update_system_message("zero", chat)
    misc.add_or_update_system_message("two", chat, append=True)
    assert chat == [m("system", "zero\none\ntwo"), m("user", "a")]
    assert misc.replace_system_message_content("new", chat)[0] == m("system", "new")
    assert misc.replace_system_message_content("new", [m("user", "a")]) == [m("user", "a")]
    assert misc.merge_system_messages([m("user", "a"), m("system", "1"), m("system", "2")]) == [
        m("system", "1\n2"),
        m("user", "a"),
    ]


def test_other_messages_are_added_to(webui):
    misc = webui("utils.misc")
    assert misc.add_or_update_user_message("more", [m("user", "a")]) == [m("user", "a\nmore")]
    assert misc.add_or_update_user_message("more", [m("assistant", "a")])[1] == m("user", "more")
    assert misc.append_or_update_assistant_message("more", [m("assistant", "a")]) == [m("assistant", "a\nmore")]
    parts = [{"type": "text", "text": "1"}, {"type": "text", "text": "2"}]
    assert misc.update_message_content(m("user", parts), "x", append=False)["content"] == [
        {"type": "text", "text": "x\n1"},
        {"type": "text", "text": "x\n2"},
    ]
    assert misc.prepend_to_first_user_message_content("x", [m("user", "a"), m("user", "b")]) == [
        m("user", "x\na"),
        m("user", "b"),
    ]
    assert misc.set_last_user_message_content("x", [m("user", "a"), m("assistant", "b")])[0] == m("user", "x")


def test_a_branch_is_walked_up_from_its_end(webui):
    walk = webui("utils.misc:get_message_list")
    found = {"a": {"id": "a", "parentId": None}, "b": {"id": "b", "parentId": "a"}, "c": {"id": "c", "parentId": "a"}}
    assert [one["id"] for one in walk(found, "b")] == ["a", "b"]
    assert walk(found, "x") == [] == walk({}, None)
    circle = {"a": {"id": "a", "parentId": "b"}, "b": {"id": "b", "parentId": "a"}}
    assert [one["id"] for one in walk(circle, "b")] == ["a", "b"]


def test_output_items_become_messages_and_lone_tool_calls_do_not(webui):
    convert = webui("utils.misc:convert_output_to_messages")
    output = [
        {"type": "message", "content": [{"text": "let me see"}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "lost", "name": "g"},
        {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "42"}]},
        {"type": "message", "content": [{"text": "it is 42"}]},
    ]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert convert(output) == [
        {**m("assistant", "let me see"), "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        m("assistant", "it is 42"),
    ]


def test_shapes_of_answers(webui):
    misc = webui("utils.misc")
    chunk = misc.openai_chat_chunk_message_template("m", "hi")
    assert chunk["object"] == "chat.completion.chunk"
    assert chunk["id"].startswith("m-")
    assert chunk["choices"] == [{"index": 0, "logprobs": None, "finish_reason": None, "delta": {"content": "hi"}}]
    assert misc.openai_chat_chunk_message_template("m", "")["choices"][0]["finish_reason"] == "stop"
    whole = misc.openai_chat_completion_message_template("m", "hi", usage={"total_tokens": 1})
    assert whole["choices"][0]["message"] == m("assistant", "hi")
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == {"total_tokens": 1}
    assert "message" not in misc.openai_chat_completion_message_template("m")["choices"][0]
    called = misc.openai_chat_completion_message_template("m", "", tool_calls=[{"id": "1"}])
    assert called["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("text", "rules", "allowed"),
    [
        ("a.com", None, True),
        ("a.com", [], True),
        ("x.a.com", ["a.com"], True),
        ("b.com", ["a.com"], False),
        ("a.com", ["!a.com"], False),
        ("b.com", ["!a.com"], True),
        (["b.com", "x.a.com"], ["a.com"], True),
        ("evil.a.com", ["a.com", "!evil.a.com"], False),
    ],
)
def test_endings_allow_and_forbid(webui, text, rules, allowed):
    assert webui("utils.misc:is_string_allowed")(text, rules) is allowed


def test_small_things(webui, tmp_path):
    misc = webui("utils.misc")
    assert misc.deep_update({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}
    assert misc.parse_duration("1h30m") == timedelta(minutes=90)
    assert misc.parse_duration("-1") is None
    with pytest.raises(ValueError, match=r"^'soon' is no duration such as 1h30m\.$"):
        misc.parse_duration("soon")
    assert misc.extract_urls("see https://a.example/x?y=1, and https://a.example/x?y=1.") == ["https://a.example/x?y=1"]
    assert misc.sanitize_filename("Ä bc  (1).PNG") == "a-bc-1.png"
    assert misc.sanitize_metadata({"a": 1, "b": object(), "c": {"d": {1}, "e": None}}) == {"a": 1, "c": {"e": None}}
    assert misc.sanitize_text_for_db("a\x00b\ud800") == "ab"
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    assert misc.calculate_sha256(str(path)) == misc.calculate_sha256_string("hello")
    assert misc.validate_email_format("a@b.example")
    assert not misc.validate_email_format("a@b")
    calls = []
    once = misc.throttle(60)(calls.append)
    for value in (1, 1, 2):
        once(value)
    assert calls == [1, 2]


async def test_lines_of_a_body_come_whole_however_it_was_cut(webui):
    async def body():
        for piece in (b"data: a", b"bc\n\nda", b"ta: d\n", b"end"):
            yield piece

    lines = [line async for line in webui("utils.misc:stream_chunks_handler")(body())]
    assert lines == [b"data: abc\n", b"\n", b"data: d\n", b"end"]


# --- constants, env, config ------------------------------------------------------------------------------


def test_tasks_are_text(webui):
    tasks = webui("constants:TASKS")
    assert tasks.TITLE_GENERATION == "title_generation" == str(tasks.TITLE_GENERATION) == f"{tasks.TITLE_GENERATION}"
    assert callable(tasks.DEFAULT)
    errors = webui("constants:ERROR_MESSAGES")
    assert errors.DEFAULT("why") == "[ERROR: why]"
    assert errors.SOMETHING_ELSE == "Something went wrong: something else."
    assert isinstance(errors.NOT_FOUND(), str)


def test_the_environment_is_harmless(webui, settings):
    env = webui("env")
    log = logging.getLogger("test of env")
    log.setLevel(env.SRC_LOG_LEVELS["MAIN"])
    log.setLevel(env.GLOBAL_LOG_LEVEL)
    assert log.level == logging.INFO
    assert env.SRC_LOG_LEVELS.get("RAG") == logging.INFO
    assert env.VERSION.startswith("0.12.")
    assert env.AIOHTTP_CLIENT_TIMEOUT is None
    assert env.WEBUI_SECRET_KEY not in (settings.SECRET_KEY, "")


def test_folders_are_there_and_the_functions_own(webui):
    from pathlib import Path

    folder, uploads, cache = webui("env:DATA_DIR"), webui("config:UPLOAD_DIR"), webui("config:CACHE_DIR")
    assert webui("config:DATA_DIR") is folder
    assert uploads == folder / "uploads" == Path(f"{folder}/uploads") == Path(folder + "/uploads")
    (cache / "x").write_text("x")
    assert cache.is_dir()
    assert uploads.is_dir()


def test_settings_have_values_as_they_once_had(webui):
    assert webui("config:WEBUI_URL").value == webui("config:WEBUI_URL") == ""
    assert webui("config:TOOL_SERVER_CONNECTIONS").value == []


# --- utils.task ------------------------------------------------------------------------------------------


async def test_prompts_are_filled_in_for_both_kinds_of_callers(webui):
    task = webui("utils.task")
    user = {"name": "Ann", "email": "a@b.example", "info": {"location": "Bern"}, "bio": None}
    template = "{{USER_NAME}} {{USER_LOCATION}} {{USER_BIO}} {{CURRENT_DATE}} {{OTHER}}"
    today = f"{datetime.now():%Y-%m-%d}"
    filled = task.prompt_template(template, user)
    assert filled in (f"Ann Bern None {today} {{{{OTHER}}}}", await task.prompt_template(template, user))
    assert task.prompt_template("{{USER_NAME}} {{USER_AGE}}") == "Unknown Unknown"
    assert task.prompt_template("{{USER_NAME}} {{USER_LOCATION}}", "Bo", "Rome") == "Bo Rome"
    assert task.prompt_variables_template("a {{x}}", {"{{x}}": 1}) == "a 1"
    chat = [m("user", "first"), m("assistant", "second"), m("user", "third")]
    assert await task.title_generation_template("T: {{prompt}} {{MESSAGES:END:2}}", chat, user) == (
        "T: third ASSISTANT: second\nUSER: third"
    )
    assert task.replace_prompt_variable(
        "{{prompt:start:2}}-{{prompt:end:2}}-{{prompt:middletruncate:4}}", "abcdef"
    ) == ("ab-ef-ab...ef")
    assert task.rag_template("{{CONTEXT}} {{QUERY}}", "{{QUERY}}", "q") == "{{QUERY}} q"
    assert task.rag_template("Answer: {{QUERY}}", "c", "q") == "c\n\nAnswer: q"
    assert task.parse_follow_ups('Sure: {"follow_ups": ["a?", 1, "b?"]}') == ["a?", "b?"]
    assert task.parse_follow_ups("none") == []


def test_tasks_go_to_the_model_that_is_for_them(webui):
    find = webui("utils.task:get_task_model_id")
    models = {"big": {}, "local": {"owned_by": "ollama"}, "small": {}, "tiny": {}}
    assert find("big", "tiny", "small", models) == "small"
    assert find("local", "tiny", "small", models) == "tiny"
    assert find("big", "tiny", "gone", models) == "big"
    assert find("unknown", None, None, models) == "unknown"


# --- utils.payload and utils.response --------------------------------------------------------------------


async def test_bodies_for_providers(webui):
    payload = webui("utils.payload")
    body = {"messages": [m("user", "x")]}
    await payload.apply_system_prompt_to_body("Hi {{USER_NAME}}", body, None, {"name": "Ann"})
    assert body["messages"][0] == m("system", "Hi Ann")
    payload.apply_system_prompt_to_body("Only", body, replace=True)
    assert body["messages"][0] == m("system", "Only")
    params = {"temperature": "0.5", "stop": ["a\\n"], "system": "x", "custom_params": {"n": "2", "w": "word"}}
    filled = payload.apply_model_params_to_body_openai(params, {})
    assert filled == {"n": 2, "w": "word", "temperature": 0.5, "stop": ["a\n"]}


def test_usage_has_one_shape(webui):
    response = webui("utils.response")
    assert response.normalize_usage({"prompt_tokens": 2, "completion_tokens": 3}) == {
        "prompt_tokens": 2,
        "completion_tokens": 3,
        "input_tokens": 2,
        "output_tokens": 3,
        "total_tokens": 5,
    }
    assert response.normalize_usage(None) == {}
    merged = response.merge_usage({"a": 1, "d": {"x": 1}}, {"a": 2, "d": {"x": 2, "y": 1}, "s": "t"})
    assert merged == {"a": 3, "d": {"x": 3, "y": 1}, "s": "t"}


# --- utils.plugin, headers, chat ids, logger ---------------------------------------------------------------


def test_headers_of_sources(webui):
    plugin = webui("utils.plugin")
    source = '"""\ntitle: X\nkey : no\nrequirements: a, b\n"""\n'
    assert plugin.extract_frontmatter(source) == {"title": "X", "requirements": "a, b"}
    assert plugin.extract_frontmatter("# x\n" + source) == {}
    assert plugin.replace_imports("from utils.misc import x\nfrom utilsx import y\n") == (
        "from open_webui.utils.misc import x\nfrom utilsx import y\n"
    )


def test_options_of_valves_are_asked_of_their_class(webui):
    class Valves:
        @classmethod
        def models(cls, __user__):
            return [__user__["id"]]

    schema = {"properties": {"m": {"input": {"type": "select", "options": "models"}}, "n": {"input": {"options": "x"}}}}
    webui("utils.plugin:resolve_valves_schema_options")(Valves, schema, {"id": "u"})
    assert schema["properties"]["m"]["input"]["options"] == ["u"]
    assert schema["properties"]["n"]["input"]["options"] == "x"


def test_headers_name_the_user(webui):
    include = webui("utils.headers:include_user_info_headers")
    before = {"a": "b"}
    assert include(before) == before
    after = include(before, {"name": "Ä n", "id": "u", "email": "e", "role": "user"})
    assert after["X-OpenWebUI-User-Name"] == "%C3%84 n"
    assert after["X-OpenWebUI-User-Role"] == "user"
    assert before == {"a": "b"}


def test_chat_ids_say_whether_they_are_kept(webui):
    chat_id = webui("utils.chat_id")
    kept = {name: chat_id.is_saved_chat_id(name) for name in ("c1", "", None, "temporary:1", "local:1", "channel:1")}
    assert kept == {"c1": True, "": False, None: False, "temporary:1": False, "local:1": False, "channel:1": False}
    assert chat_id.is_temporary_chat_id("temporary:1")
    assert not chat_id.is_temporary_chat_id("c1")


def test_the_log_format_is_a_format(webui):
    assert "{message}" in webui("utils.logger:stdout_format")({"extra": {}})
    assert "{extra}" in webui("utils.logger:stdout_format")({"extra": {"a": 1}})


# --- utils.auth, access_control -----------------------------------------------------------------------------


async def test_tokens_and_passwords_are_this_processs_own(webui):
    auth = webui("utils.auth")
    token = auth.create_token({"id": "u"}, timedelta(hours=1))
    assert auth.decode_token(token)["id"] == "u"
    assert auth.decode_token(token[:-2] + "xx") is None
    assert auth.decode_token(auth.create_token({"id": "u"}, timedelta(hours=-1))) is None
    hashed = await auth.get_password_hash("secret")
    assert await auth.verify_password("secret", hashed)
    assert not auth.verify_password("other", hashed)
    from fastapi import HTTPException

    assert auth.get_verified_user({"role": "user"}) == {"role": "user"}
    with pytest.raises(HTTPException) as caught:
        auth.get_admin_user({"role": "user"})
    assert caught.value.status_code == 401


async def test_rules_of_access(webui):
    control = webui("utils.access_control")
    grant = {"principal_type": "user", "principal_id": "u", "permission": "read"}
    assert await control.has_access("u", "read", [grant])
    assert not await control.has_access("u", "write", [grant])
    assert not control.has_access("other", "read", [grant])
    assert control.has_access("x", "read", [{**grant, "principal_id": "*"}])
    assert control.has_access("u", "read", {"read": {"group_ids": ["g"]}}, ["g"])
    assert control.has_permission("u", "chat.edit", {"chat": {"edit": True}})
    assert not control.has_permission("u", "chat.delete", {"chat": {"edit": True}})
    assert control.has_connection_access({"role": "admin"}, {})
    assert not control.has_connection_access({"role": "user", "id": "u"}, {})


# --- utils.tools -------------------------------------------------------------------------------------------


class Kit:
    def add(self, a: int, b: int = 1, __user__: dict | None = None) -> int:
        """
        Adds numbers.

        :param a: the first
        :param b: the second
        """
        return a + b + (__user__ or {}).get("more", 0)

    async def later(self, text: str) -> str:
        """Says it."""
        return text

    def _hidden(self):
        raise AssertionError


async def test_tools_are_described_and_bound(webui):
    tools = webui("utils.tools")
    assert [spec["name"] for spec in tools.get_tool_specs(Kit())] == ["add", "later"]
    (add, _) = tools.get_tool_specs(Kit())
    assert add["description"] == "Adds numbers."
    assert add["parameters"] == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "the first"},
            "b": {"type": "integer", "description": "the second", "default": 1},
        },
        "required": ["a"],
    }
    bound = await tools.get_async_tool_function_and_apply_extra_params(Kit().add, {"__user__": {"more": 5}, "__x__": 1})
    assert await bound(a=1) == 7
    newer = await tools.get_updated_tool_function(bound, {"__user__": {"more": 50}})
    assert await newer(a=1) == 52
    assert await tools.get_async_tool_function_and_apply_extra_params(Kit().later, {})(text="x") == "x"


def test_operations_become_tools_and_circles_end(webui):
    spec = {
        "paths": {
            "/things/{id}": {
                "post": {
                    "operationId": "change",
                    "summary": "Changes a thing.",
                    "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}],
                    "requestBody": {
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}
                    },
                },
                "get": {"summary": "without an id"},
            }
        },
        "components": {
            "schemas": {
                "Thing": {
                    "properties": {"name": {"type": "string"}, "inside": {"$ref": "#/components/schemas/Thing"}},
                    "required": ["name"],
                }
            }
        },
    }
    (tool,) = webui("utils.tools:convert_openapi_to_tool_payload")(spec)
    assert (tool["name"], tool["description"]) == ("change", "Changes a thing.")
    assert tool["parameters"]["properties"]["name"] == {"type": "string"}
    assert tool["parameters"]["properties"]["inside"] == {}
    assert tool["parameters"]["required"] == ["id", "name"]


# --- utils.middleware ----------------------------------------------------------------------------------------


async def test_results_of_tools(webui):
    from starlette.responses import HTMLResponse

    process = webui("utils.middleware:process_tool_result")
    picture = "data:image/png;base64,AAAA"
    assert await process(None, "t", {"a": 1}) == ('{\n  "a": 1\n}', [], [])
    assert process(None, "t", "text") == ("text", [], [])
    assert process(None, "t", [picture, "kept"])[1] == [{"type": "image", "url": picture}]
    page = HTMLResponse("<p>x</p>", headers={"content-disposition": "inline"})
    text, files, embeds = process(None, "t", page)
    assert embeds == ["<p>x</p>"]
    assert files == []
    assert "ui_component" in text
    assert process(None, "t", (page, "said"))[0] == "said"
    assert process(None, "t", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "mcp")[0] == "a\nb"


def test_results_of_tools_are_sources(webui):
    cite = webui("utils.middleware:get_citation_source_from_tool_result")
    found = '[{"title": "T", "link": "https://a.example", "snippet": "s"}]'
    (source,) = cite("search_web", {}, found)
    assert source["source"] == {"name": "T", "id": "https://a.example", "url": "https://a.example"}
    assert source["document"] == ["s"]
    assert cite("mine", {"x": 1}, "text", "kit")[0]["source"]["name"] == "kit/mine"
    assert cite("mine", {}, '{"error": "no"}') == []


def test_files_and_sources_stand_in_messages(webui):
    middleware = webui("utils.middleware")
    chat = [m("user", "look", files=[{"type": "file", "id": "f", "name": 'a"b'}]), m("assistant", "yes")]
    assert middleware.add_file_context(chat)[0]["content"] == (
        '<attached_files>\n<file type="file" id="f" name="a&quot;b"/>\n</attached_files>\n\nlook'
    )
    sources = [{"source": {"name": "S"}, "document": ["d"], "metadata": [{"source": "s"}]}]
    assert middleware.get_source_context(sources) == '<source id="1" name="S">d</source>\n'
    asked = middleware.apply_source_context_to_messages(None, [m("user", "why?")], sources, "why?")
    assert '<source id="1" name="S">d</source>' in asked[0]["content"]
    assert asked[0]["content"].rstrip().endswith("why?")


# --- retrieval, tools.builtin, internal.db --------------------------------------------------------------------


async def test_nothing_is_indexed(webui):
    assert webui("retrieval.vector.factory:VECTOR_DB_CLIENT").search("c", [[1.0]], 3) is None
    assert await webui("retrieval.vector.async_client:ASYNC_VECTOR_DB_CLIENT").has_collection("c") is False
    query = webui("retrieval.utils:query_collection")
    assert (
        (await query(["c"], ["q"], None, 3))
        == query()
        == {"ids": [], "documents": [], "metadatas": [], "distances": []}
    )


def test_private_addresses_are_refused(webui):
    validate = webui("retrieval.web.utils:validate_url")
    assert validate("https://example.org/x")
    for url in ("http://127.0.0.1/", "http://localhost/", "ftp://example.org", "http://10.0.0.1"):
        with pytest.raises(ValueError, match="address"):
            validate(url)


async def test_tools_that_need_nothing_work(webui):
    import json

    told = json.loads(await webui("tools.builtin:calculate_timestamp")(months_ago=1))
    assert told["calculated_timestamp"] < told["current_timestamp"]


async def test_tables_of_a_functions_own(webui):
    from sqlalchemy import Column, Integer, select

    db = webui("internal.db")

    class Note(db.Base):
        __tablename__ = "notes_of_a_test"
        id = Column(Integer, primary_key=True)
        data = Column(db.JSONField)

    db.Base.metadata.create_all(bind=db.engine)
    with db.get_db() as session:
        session.add(Note(id=1, data={"a": [1]}))
        session.commit()
    async with db.get_async_db_context() as session:
        assert (await session.scalar(select(Note))).data == {"a": [1]}
    db.engine.dispose()
