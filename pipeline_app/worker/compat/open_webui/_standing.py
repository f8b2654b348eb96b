"""What stands in for the parts of Open WebUI that are not offered here: it can be imported, and says so when called.

A table, so that a hundred functions need no hundred bodies. What has a body of ours is not in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from ._awaited import is_awaited

ANY = "*"
"""In the place of names: whatever is asked for."""

REFUSING: dict[str, dict[str, str]] = {
    "retrieval.utils": {
        "a reader of web pages; fetch them yourself": "get_content_from_url",
        "a place where text is indexed": "get_embedding_function get_reranking_function query_doc_with_hybrid_search "
        "query_collection_with_hybrid_search get_model_path generate_embeddings",
    },
    "retrieval.web.utils": {"a loader of web pages; fetch them yourself": "get_web_loader SafeWebBaseLoader"},
    "retrieval.loaders.main": {"a reader of documents": "Loader"},
    "routers.audio": {"an engine for speech": "speech transcribe transcription get_available_voices"},
    "routers.auths": {"accounts; they are the server's": ANY},
    "routers.channels": {"channels": ANY},
    "routers.chats": {"its endpoints; use open_webui.models.chats": ANY},
    "routers.configs": {"its settings; they are the server's": ANY},
    "routers.evaluations": {"evaluations": ANY},
    "routers.folders": {"its endpoints; use open_webui.models.folders": ANY},
    "routers.functions": {"its endpoints; use open_webui.models.functions": ANY},
    "routers.groups": {"its endpoints; use open_webui.models.groups": ANY},
    "routers.images": {"an image engine; call one yourself": "image_generations image_edits get_image_model"},
    "routers.knowledge": {"knowledge bases": ANY},
    "routers.notes": {"notes": ANY},
    "routers.ollama": {"Ollama; call a pipe with utils.chat.generate_chat_completion": ANY},
    "routers.prompts": {"stored prompts": ANY},
    "routers.retrieval": {
        "a place where text is indexed": "query_doc_handler query_collection_handler process_text process_youtube "
        "process_web process_files_batch save_docs_to_vector_db search_web reset_vector_db",
        "a search engine; call one yourself": "process_web_search",
    },
    "routers.tools": {"tool kits": ANY},
    "routers.users": {"its endpoints; use open_webui.models.users": ANY},
    "routers.utils": {"its endpoints": ANY},
    "tools.builtin": {"the built-in tools": ANY},
    "utils.chat": {
        "connections that browsers have to models": "generate_direct_chat_completion",
        "the outlet stage, which runs where an answer is given": "chat_completed",
    },
    "utils.code_interpreter": {"Jupyter": "JupyterCodeExecuter execute_code_jupyter"},
    "utils.embeddings": {"embeddings; call an engine yourself": "generate_embeddings"},
    "utils.mcp.client": {"MCP; declare requirements: mcp, and use that package": "MCPClient"},
    "utils.middleware": {
        "the server's own steps of a chat": "process_chat_payload process_chat_response chat_web_search_handler "
        "chat_image_generation_handler chat_completion_tools_handler chat_memory_handler",
    },
    "utils.payload": {
        "Ollama": "convert_messages_openai_to_ollama convert_payload_openai_to_ollama "
        "convert_embedding_payload_openai_to_ollama apply_model_params_to_body_ollama",
    },
    "utils.plugin": {
        "tool kits": "load_tool_module_by_id get_tool_module_from_cache",
        "the sources of other functions; each runs in a process of its own": "load_function_module_by_id "
        "get_function_module_from_cache",
        "installing packages while a function runs; declare requirements": "install_frontmatter_requirements "
        "install_tool_and_function_dependencies",
    },
    "utils.response": {
        "Ollama": "convert_response_ollama_to_openai convert_streaming_response_ollama_to_openai "
        "convert_ollama_usage_to_openai convert_ollama_tool_call_to_openai convert_embedding_response_ollama_to_openai",
    },
    "utils.tools": {
        "tool servers; call them yourself": "connect_mcp_server execute_tool_server get_tool_server_data "
        "set_tool_servers get_tool_servers_data",
    },
}
"""By module: what is missing, and the names of functions and classes that raise when they are called."""

FORMS: dict[str, str] = {
    "routers.images": "CreateImageForm EditImageForm ImagesConfig",
    "routers.retrieval": "ProcessFileForm SearchForm QueryDocForm QueryCollectionsForm ProcessTextForm ProcessUrlForm",
}
"""Forms that are filled in before such a function is called: models that take any field."""

GIVING: dict[str, dict[str, Any]] = {
    "config": {"PERSISTENT_CONFIG_REGISTRY": [], "CHROMA_CLIENT": None},
    "retrieval.utils": {"get_doc": None, "query_doc": None},
    "socket.main": {"get_models_in_use": {}, "get_active_user_ids": [], "get_user_id_from_session_pool": None},
    "utils.middleware": {},
    "utils.oauth": {"get_system_oauth_token": None},
    "utils.tools": {
        "get_tools": {},
        "get_builtin_tools": {},
        "get_terminal_tools": {},
        "build_tool_server_headers": ({}, {}),
        "get_tool_servers": [],
        "get_terminal_servers": [],
    },
}
"""By module: functions that find nothing here, and what they give: the same to who awaits it and to who does not."""

VALUES = {"config.PERSISTENT_CONFIG_REGISTRY", "config.CHROMA_CLIENT"}
"""Names in ``GIVING`` that are no functions."""

PACKAGES = ("apps", "apps.webui", "apps.ollama", "apps.openai", "apps.images", "apps.audio", "apps.retrieval")
_MODULES = frozenset(
    part
    for name in (*REFUSING, *FORMS, *GIVING, *PACKAGES, "apps.rag", "apps.socket", "apps.filter", "utils.pipelines")
    for part in ([name[:at] for at, char in enumerate(name) if char == "."] + [name])
)


class Found(NamedTuple):
    """What a name stands for, which may be None."""

    value: Any


def has_module(name: str) -> bool:
    """Whether there is a module below ``open_webui`` of which nothing but this is offered."""
    return name in _MODULES


def find(module: str, name: str) -> Found | None:
    """Returns what stands in for a name of a module; None for a name that is not known."""
    if name in FORMS.get(module, "").split():
        return Found(_form(module, name))
    giving = GIVING.get(module, {})
    if name in giving:
        value = giving[name]
        return Found(value if f"{module}.{name}" in VALUES else _giver(name, value))
    for need, names in REFUSING.get(module, {}).items():
        if names is ANY or name in names.split():
            return Found(_refuser(module, name, need))
    return None


def _form(module: str, name: str) -> Any:
    from pydantic import BaseModel, ConfigDict

    space = {"__module__": f"open_webui.{module}", "__doc__": "A form; takes any field."}
    return type(name, (BaseModel,), {**space, "model_config": ConfigDict(extra="allow")})


def _giver(name: str, value: Any) -> Callable[..., Any]:
    def nothing(*args: Any, **kwargs: Any) -> Any:
        given = type(value)(value) if isinstance(value, dict | list) else value
        return _later(given) if is_awaited(sys._getframe(1)) else given

    nothing.__name__ = nothing.__qualname__ = name
    return nothing


async def _later(value: Any) -> Any:
    return value


def _refuser(module: str, name: str, need: str) -> Any:
    sentence = f"open_webui.{module}.{name} needs {need}; not available here."
    if name[0].isupper():

        def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError(sentence)

        return type(name, (), {"__module__": f"open_webui.{module}", "__doc__": sentence, "__init__": refuse})

    def refused(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(sentence)

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = sentence
    return refused
