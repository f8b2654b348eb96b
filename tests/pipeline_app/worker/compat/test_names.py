"""Every name that functions import is there; what is not says in words what to do."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_app.worker import compat

NAMES = {
    "constants": "TASKS ERROR_MESSAGES WEBHOOK_MESSAGES",
    "env": "SRC_LOG_LEVELS GLOBAL_LOG_LEVEL VERSION log DATA_DIR STATIC_DIR BASE_DIR BACKEND_DIR OPEN_WEBUI_DIR "
    "WEBUI_SECRET_KEY WEBUI_NAME OFFLINE_MODE SAFE_MODE REDIS_URL DATABASE_URL BYPASS_MODEL_ACCESS_CONTROL "
    "ENABLE_CUSTOM_MODEL_FALLBACK AIOHTTP_CLIENT_TIMEOUT AIOHTTP_CLIENT_TIMEOUT_MODEL_LIST AIOHTTP_CLIENT_SESSION_SSL "
    "ENABLE_FORWARD_USER_INFO_HEADERS FORWARD_SESSION_INFO_HEADER_CHAT_ID FORWARD_SESSION_INFO_HEADER_MESSAGE_ID",
    "config": "DATA_DIR CACHE_DIR UPLOAD_DIR WEBUI_URL TOOL_SERVER_CONNECTIONS BYPASS_ADMIN_ACCESS_CONTROL get_config "
    "PERSISTENT_CONFIG_REGISTRY CHROMA_CLIENT AppConfig PersistentConfig",
    "main": "app Request generate_chat_completions generate_chat_completion chat_completion get_models webui_app",
    "functions": "generate_function_chat_completion get_function_models get_function_module_by_id",
    "storage.provider": "Storage StorageProvider LocalStorageProvider get_storage_provider",
    "tasks": "create_task stop_task list_task_ids_by_item_id",
    "events": "EVENTS Event publish_event",
    "utils.chat": "generate_chat_completion chat_completion chat_completed generate_direct_chat_completion chat_action",
    "utils.misc": "get_last_user_message_item get_content_from_message get_last_user_message get_last_assistant_message "
    "get_last_assistant_message_item get_system_message remove_system_message pop_system_message "
    "add_or_update_system_message replace_system_message_content merge_system_messages add_or_update_user_message "
    "append_or_update_assistant_message prepend_to_first_user_message_content set_last_user_message_content "
    "update_message_content get_messages_content get_message_list get_output_text convert_output_to_messages "
    "openai_chat_message_template openai_chat_chunk_message_template openai_chat_completion_message_template deep_update "
    "is_string_allowed get_gravatar_url calculate_sha256 calculate_sha256_string validate_email_format sanitize_filename "
    "extract_urls parse_duration throttle sanitize_text_for_db sanitize_metadata stream_chunks_handler "
    "parse_ollama_modelfile",
    "utils.task": "get_task_model_id prompt_template prompt_variables_template replace_prompt_variable "
    "replace_messages_variable truncate_content apply_content_filter parse_follow_ups rag_template "
    "title_generation_template tags_generation_template query_generation_template image_prompt_generation_template "
    "emoji_generation_template autocomplete_generation_template follow_up_generation_template "
    "moa_response_generation_template tools_function_calling_generation_template",
    "utils.payload": "apply_system_prompt_to_body apply_model_params_to_body apply_model_params_to_body_openai "
    "apply_model_params_to_body_ollama remove_open_webui_params convert_messages_openai_to_ollama "
    "convert_payload_openai_to_ollama convert_embedding_payload_openai_to_ollama",
    "utils.response": "convert_response_ollama_to_openai convert_streaming_response_ollama_to_openai "
    "convert_ollama_usage_to_openai convert_ollama_tool_call_to_openai normalize_usage merge_usage",
    "utils.plugin": "extract_frontmatter replace_imports load_function_module_by_id get_function_module_from_cache "
    "load_tool_module_by_id get_tool_module_from_cache install_frontmatter_requirements resolve_valves_schema_options",
    "utils.filter": "get_sorted_filter_ids get_filter_functions process_filter_functions get_filter_context",
    "utils.actions": "chat_action",
    "utils.models": "get_all_models get_all_base_models get_filtered_models check_model_access",
    "utils.tools": "get_tools get_builtin_tools get_terminal_tools get_updated_tool_function "
    "get_async_tool_function_and_apply_extra_params convert_function_to_pydantic_model "
    "convert_pydantic_model_to_openai_function_spec get_functions_from_tool get_tool_specs parse_description "
    "parse_docstring clean_openai_tool_schema resolve_schema convert_openapi_to_tool_payload build_tool_server_headers "
    "get_tool_servers get_terminal_servers connect_mcp_server execute_tool_server get_tool_server_data "
    "has_tool_server_access",
    "tools.builtin": "search_web fetch_url generate_image execute_code view_skill get_current_timestamp "
    "calculate_timestamp",
    "utils.mcp.client": "MCPClient",
    "utils.middleware": "process_tool_result get_citation_source_from_tool_result add_file_context "
    "process_messages_with_output get_source_context apply_source_context_to_messages chat_completion_files_handler "
    "get_system_oauth_token process_chat_payload process_chat_response chat_web_search_handler "
    "chat_image_generation_handler chat_completion_tools_handler",
    "utils.oauth": "get_system_oauth_token",
    "utils.headers": "include_user_info_headers get_custom_headers",
    "utils.access_control": "has_permission get_permissions has_access has_connection_access check_model_access",
    "utils.auth": "get_verified_user get_admin_user get_current_user get_human_user create_token decode_token "
    "create_api_key extract_token_from_auth_header get_password_hash verify_password",
    "utils.webhook": "post_webhook",
    "utils.files": "get_image_url_from_base64 get_file_url_from_base64 get_image_base64_from_url "
    "get_image_base64_from_file_id convert_markdown_base64_images",
    "utils.code_interpreter": "JupyterCodeExecuter execute_code_jupyter",
    "utils.chat_id": "is_saved_chat_id is_temporary_chat_id",
    "utils.logger": "stdout_format",
    "utils.embeddings": "generate_embeddings",
    "utils.pipelines.main": "pop_system_message get_last_user_message get_last_assistant_message "
    "add_or_update_system_message get_tools_specs",
    "utils.utils": "get_verified_user get_admin_user",
    "routers.files": "upload_file_handler upload_file get_file_content_by_id Files",
    "routers.images": "upload_image get_image_data image_generations image_edits CreateImageForm GenerateImageForm "
    "EditImageForm load_b64_image_data",
    "routers.memories": "add_memory update_memory_by_id delete_memory_by_id query_memory AddMemoryForm MemoryUpdateModel "
    "QueryMemoryForm Memories",
    "routers.retrieval": "process_file ProcessFileForm process_web_search SearchForm query_doc_handler "
    "query_collection_handler QueryDocForm QueryCollectionsForm",
    "routers.tasks": "generate_title generate_chat_tags generate_follow_ups generate_queries generate_image_prompt "
    "generate_emoji generate_autocompletion generate_moa_response",
    "routers.audio": "speech transcribe",
    "routers.models": "get_models get_base_models",
    "routers.functions": "update_function_by_id",
    "routers.users": "get_users",
    "routers.chats": "get_chat_by_id",
    "routers.openai": "generate_chat_completion",
    "routers.ollama": "generate_chat_completion",
    "routers.pipelines": "process_pipeline_inlet_filter process_pipeline_outlet_filter",
    "retrieval.utils": "get_content_from_url query_collection query_doc get_doc get_sources_from_items",
    "retrieval.vector.factory": "VECTOR_DB_CLIENT",
    "retrieval.vector.connector": "VECTOR_DB_CLIENT",
    "retrieval.vector.async_client": "ASYNC_VECTOR_DB_CLIENT",
    "retrieval.vector.main": "VectorItem GetResult SearchResult",
    "retrieval.web.utils": "validate_url get_web_loader",
    "socket.main": "get_event_emitter get_event_call get_event_caller sio SESSION_POOL USAGE_POOL get_models_in_use "
    "emit_to_users get_active_user_ids",
    "internal.db": "Base JSONField engine SessionLocal ScopedSession metadata_obj DATABASE_SCHEMA get_session get_db "
    "get_async_session get_async_db get_async_db_context get_db_context Session",
    "apps.webui.models.users": "Users UserModel",
    "apps.webui.models.files": "Files",
    "apps.webui.internal.db": "get_db",
    "apps.webui.main": "app",
    "apps.ollama.main": "generate_chat_completion",
    "apps.openai.main": "generate_chat_completion",
    "apps.images.main": "image_generations",
    "apps.audio.main": "speech",
    "apps.retrieval.main": "process_file",
    "apps.rag.main": "process_file",
    "apps.socket.main": "sio",
    "apps.retrieval.vector.connector": "VECTOR_DB_CLIENT",
}
EACH = sorted(f"{module}:{name}" for module, names in NAMES.items() for name in names.split())


@pytest.mark.parametrize("name", EACH)
def test_what_functions_import_is_there(webui, name):
    assert webui(name) is not ...


def test_a_module_under_its_old_name_is_the_same_module(webui):
    users = webui("models.users")
    assert webui("apps.webui.models.users") is users
    assert users.__name__ == users.__spec__.name == "open_webui.models.users"
    assert webui("utils.utils") is webui("utils.auth")
    assert webui("routers.files:Files") is webui("models.files:Files")
    assert webui("utils.tools:has_tool_server_access") is webui("utils.access_control:has_connection_access")


def test_modules_are_there_as_attributes_without_being_imported_by_name(webui):
    package = webui("")
    assert package.utils.misc.get_last_user_message([{"role": "user", "content": "x"}]) == "x"
    assert package.routers.images.CreateImageForm(prompt="a cat").prompt == "a cat"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "utils.nothing",
            "There is no module 'open_webui.utils.nothing' here. This server has the part of the package",
        ),
        (
            "utils.manifold_types",
            "There is no module 'open_webui.utils.manifold_types' here. It belongs to one author's",
        ),
        ("env:NOTHING", "Cannot import 'NOTHING' from 'open_webui.env': 'open_webui.env' has no 'NOTHING' here."),
        (
            ":get_app_dir",
            "Cannot import 'get_app_dir' from 'open_webui': 'open_webui' has no 'get_app_dir' here. It bel",
        ),
    ],
)
def test_what_is_nowhere_says_so(webui, name, words):
    with pytest.raises(ImportError) as caught:
        webui(name)
    assert str(caught.value).startswith(words)


def test_looking_for_a_name_is_no_import(webui):
    env = webui("env")
    assert not hasattr(env, "NOTHING")
    assert getattr(env, "NOTHING", 1) == 1
    with pytest.raises(AttributeError, match=r"^'open_webui.env' has no 'NOTHING' here\.$"):
        env.NOTHING  # noqa: B018


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("routers.images:image_generations", "an image engine; call one yourself"),
        ("utils.mcp.client:MCPClient", "MCP; declare requirements: mcp, and use that package"),
        ("tools.builtin:search_web", "the built-in tools"),
    ],
)
def test_what_is_not_offered_says_what_it_needs_when_it_is_called(webui, name, words):
    with pytest.raises(NotImplementedError) as caught:
        webui(name)("x", y=1)
    assert str(caught.value) == f"open_webui.{name.replace(':', '.')} needs {words}; not available here."


async def test_what_finds_nothing_gives_that_to_both_kinds_of_callers(webui):
    tools = webui("utils.tools")
    assert tools.get_tools(None, ["a"], None, {}) == {} == await tools.get_tools(None, ["a"], None, {})
    assert await tools.build_tool_server_headers({}, None, None) == ({}, {})
    mine = tools.get_tools(None, [], None, {})
    mine["x"] = 1
    assert tools.get_tools(None, [], None, {}) == {}


def test_nothing_of_it_is_loaded_before_a_function_asks(base_packages):
    code = (
        "import sys\n"
        "from pipeline_app.worker import compat, loader\n"
        "loader.load('f', 1, 'x', 'class Pipe:\\n    def pipe(self, body): return 1\\n')\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'open_webui'], sys.modules\n"
        f"sys.path.append({str(base_packages)!r})\n"
        "loader.load('g', 1, 'x', 'from open_webui.utils.misc import pop_system_message\\nclass Pipe:\\n    pass\\n')\n"
        "print(*sorted(name for name in sys.modules if name.startswith('open_webui.') and '._' not in name))\n"
    )
    root = Path(compat.__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["open_webui.utils", "open_webui.utils.misc"]


def test_another_package_of_that_name_is_left_alone(webui, tmp_path, monkeypatch):
    webui("env")
    (tmp_path / "open_webui").mkdir()
    (tmp_path / "open_webui" / "__init__.py").write_text("OTHER = True\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "open_webui"]:
        del sys.modules[name]
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("open_webui").OTHER
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'open_webui\.env'$"):
        importlib.import_module("open_webui.env")
