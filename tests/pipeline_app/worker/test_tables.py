"""The tables of ``open_webui.models`` as functions use them: what there is, and what stands in for the rest."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from pipeline_app.worker import compat
from tests.pipeline_app.worker.helpers import items, loaded
from tests.pipeline_app.worker.test_compat import Answers, forget_the_package, said

__all__ = ["forget_the_package"]

# Without rows here: the module, the table, and a call of each kind with what it finds.
EMPTY = {
    "tools": ("Tools", "get_tool_by_id('x')", None, "get_tools(defer_content=True)", [], "insert_new_tool('u', 1, [])"),
    "skills": ("Skills", "get_skill_by_name('x')", None, "get_skills(user_id='u')", [], "insert_new_skill('u', 1)"),
    "knowledge": (
        "Knowledges", "get_knowledge_by_id('x')", None, "get_files_by_id('x')", [], "insert_new_knowledge('u', 1)"
    ),
    "feedbacks": ("Feedbacks", "get_feedback_by_id('x')", None, "get_all_feedbacks()", [], "insert_new_feedback('u', 1)"),
    "folders": (
        "Folders", "get_folder_by_id_and_user_id('x', 'u')", None, "get_folders_by_user_id('u')", [],
        "insert_new_folder('u', 1, parent_id=None)",
    ),
    "notes": ("Notes", "get_note_by_id('x')", None, "get_notes_by_user_id('u')", [], "insert_new_note('u', 1)"),
    "prompts": ("Prompts", "get_prompt_by_command('x')", None, "get_prompts()", [], "insert_new_prompt('u', 1)"),
    "tags": ("Tags", "get_tag_by_name_and_user_id('x', 'u')", None, "get_tags_by_user_id('u')", [], "insert_new_tag('x', 'u')"),
    "channels": ("Channels", "get_channel_by_id('x')", None, "get_channels()", [], "insert_new_channel(1, 'u')"),
    "messages": (
        "Messages", "get_message_by_id('x')", None, "get_messages_by_channel_id('x')", [], "insert_new_message(1, 'x', 'u')"
    ),
    "oauth_sessions": (
        "OAuthSessions", "get_session_by_id('x')", None, "get_sessions_by_user_id('u')", [], "create_session('u', 'p', {})"
    ),
    "chat_messages": (
        "ChatMessages", "get_message_by_id('x')", None, "get_messages_by_chat_id('x')", [], "upsert_message('m', 'c', 'u', {})"
    ),
    "shared_chats": ("SharedChats", "get_by_id('x')", None, "get_by_user_id('u')", [], "create('c', 'u')"),
}  # fmt: skip


@pytest.mark.parametrize("module", EMPTY)
def test_a_table_without_rows_finds_nothing_and_refuses_to_write(module):
    table, one, nothing, many, none, write = EMPTY[module]
    code = f"""
from open_webui.models.{module} import {table}
assert {table}.{one} == await {table}.{one} == {nothing}
assert {table}.{many} == await {table}.{many} == {none}
assert (await asyncio.gather({table}.{one}, {table}.{many})) == [{nothing}, {none}]
try:
    await {table}.{write}
except NotImplementedError as error:
    return str(error)
"""
    answer, asked = said(code)
    name = write.partition("(")[0]
    assert answer.startswith(f"open_webui.models.{module}: ") and f".{name}() is not available here. " in answer
    assert asked == []


def test_every_module_of_tables_has_its_one_table_and_says_what_it_has_not():
    compat.install()
    package = importlib.import_module("open_webui.models")
    modules = sorted(found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_"))
    assert {*EMPTY, "users", "files", "models", "functions", "chats", "groups", "memories", "config"} <= set(modules)
    for name in modules:
        module = importlib.import_module(f"open_webui.models.{name}")
        table_class = importlib.import_module("open_webui._asking").Table
        (table,) = [value for value in vars(module).values() if isinstance(value, table_class)]
        assert importlib.import_module(f"open_webui.models.{name}").__dict__[_name_of(module, table)] is table
        with pytest.raises(AttributeError, match=rf"open_webui.models.{name}: \w+ has no 'no_such_method'"):
            table.no_such_method  # noqa: B018
        assert not hasattr(table, "no_such_method")
        for names, why in table.elsewhere.items():
            assert why.endswith(".") and names.split()
            for method in names.split():
                assert method not in dir(type(table))
                with pytest.raises(NotImplementedError, match="is not available here"):
                    getattr(table, method)()


def _name_of(module, table):
    return next(name for name, value in vars(module).items() if value is table)


def test_records_take_what_functions_put_in():
    code = """
from open_webui.models.tools import ToolModel
from open_webui.models.functions import FunctionModel, FunctionMeta
from open_webui.models.models import ModelForm, ModelMeta, ModelParams
from open_webui.models.folders import FolderForm, Folder, FolderModel
tool = ToolModel(id="t", user_id="u", name="T", more=1)
assert tool.model_dump()["more"] == 1 and tool.content == "" and ToolModel.model_validate(tool) == tool
assert FolderForm(name="F").name == "F" and Folder is FolderModel
function = FunctionModel(id="f", name="F", type="pipe", meta={"manifest": {"title": "x"}, "toggle": True})
assert function.meta.manifest["title"] == "x" and function.meta.toggle is True
form = ModelForm(id="m", name="M", meta=ModelMeta(toolIds=["t"]), params=ModelParams(), access_control=None)
assert form.meta.toolIds == ["t"]
return "fine"
"""
    assert said(code)[0] == "fine"


def test_settings_are_read_and_not_set():
    code = """
from open_webui.models.config import Config
mine = await Config.get("user.permissions")
mine["chat"]["x"] = 1
assert Config.get("user.permissions")["chat"] == {}
assert Config.get_namespace("webui") == {"webui.url": "", "webui.name": "Open WebUI"}
assert Config.default_value("rag.top_k") == (await Config.get_all())["rag.top_k"] == 3
assert not [key for key, value in Config.get_all().items() if "key" in key and value]
try:
    await Config.upsert({"webui.name": "Mine"})
except NotImplementedError as error:
    return str(error)
"""
    assert said(code)[0].startswith(
        "open_webui.models.config: ConfigTable.upsert() is not available here. Settings are"
    )


def test_users_are_filtered_and_counted():
    code = """
assert [user.id for user in (await Users.get_users(filter={"query": "ANN", "order_by": "name"}))["users"]] == ["u1"]
assert Users.get_users({"query": "bob"})["total"] == 0 and Users.get_users({"roles": ["admin"]}) == []
assert await Users.get_num_users() == 1 and Users.has_users() is True
assert (await Users.get_first_user()).id == "u1" and Users.get_super_admin_user() is None
assert Users.get_valid_user_ids(["u1", "x"]) == ["u1"]
assert Users.is_active(Users.get_first_user()) is False
import time
assert Users.is_active(UserModel(**{**Users.get_first_user().model_dump(), "last_active_at": int(time.time())})) is True
assert Users.update_last_active_by_id("u1") is None and Users.get_user_by_oauth_sub("p", "s") is None
try:
    Users.get_users(filter={"channel_id": "c"})
except NotImplementedError as error:
    return str(error)
"""
    assert said(code)[0] == "open_webui.models.users: get_users() has no filter 'channel_id' here."


def test_valves_are_not_there_yet_while_the_function_loads():
    source = """
from open_webui.models.functions import Functions

class Pipe:
    def __init__(self):
        self.found = Functions.get_function_valves_by_id("sample")

    def pipe(self, body):
        return f"{self.found} {Functions.get_function_valves_by_id('sample')}"
"""
    assert items(loaded(source), host=Answers()) == ["None {'size': 1}"]
