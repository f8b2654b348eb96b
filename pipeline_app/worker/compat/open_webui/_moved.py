"""What has moved in Open WebUI: modules and names that functions import and that are elsewhere today."""

from __future__ import annotations

MODULES = {
    "apps.webui.models": "models",
    "apps.webui.internal": "internal",
    "apps.webui.main": "main",
    "apps.webui.utils": "utils",
    "apps.webui.routers": "routers",
    "apps.ollama.main": "routers.ollama",
    "apps.openai.main": "routers.openai",
    "apps.images.main": "routers.images",
    "apps.audio.main": "routers.audio",
    "apps.retrieval.main": "routers.retrieval",
    "apps.retrieval.utils": "retrieval.utils",
    "apps.retrieval.vector.connector": "retrieval.vector.factory",
    "apps.retrieval.vector": "retrieval.vector",
    "apps.rag.main": "routers.retrieval",
    "apps.rag.utils": "retrieval.utils",
    "apps.socket.main": "socket.main",
    "apps.filter.main": "utils.filter",
    "retrieval.vector.connector": "retrieval.vector.factory",
    "utils.utils": "utils.auth",
    "utils.pipelines.main": "utils.misc",
    "utils.access_control.main": "utils.access_control",
    "models.evaluations": "models.feedbacks",
}
"""Where modules are now, and with them what is below."""

NAMES = {
    "config.BACKEND_DIR": "_folders.DATA_DIR",
    "config.CACHE_DIR": "_folders.CACHE_DIR",
    "config.DATA_DIR": "_folders.DATA_DIR",
    "config.STATIC_DIR": "_folders.STATIC_DIR",
    "config.UPLOAD_DIR": "_folders.UPLOAD_DIR",
    "env.BACKEND_DIR": "_folders.DATA_DIR",
    "env.BASE_DIR": "_folders.DATA_DIR",
    "env.DATA_DIR": "_folders.DATA_DIR",
    "env.OPEN_WEBUI_DIR": "_folders.DATA_DIR",
    "env.STATIC_DIR": "_folders.STATIC_DIR",
    "config.get_config": "models.config.Config",
    "functions.generate_chat_completion": "utils.chat.generate_chat_completion",
    "internal.db.get_db_context": "internal.db.get_db",
    "main.webui_app": "main.app",
    "main.get_models": "routers.models.get_models",
    "models.evaluations.Evaluations": "models.feedbacks.Feedbacks",
    "routers.images.GenerateImageForm": "routers.images.CreateImageForm",
    "routers.images.load_b64_image_data": "routers.images.get_image_data",
    "routers.retrieval.SearchResult": "retrieval.vector.main.SearchResult",
    "routers.memories.SearchResult": "retrieval.vector.main.SearchResult",
    "socket.main.get_event_caller": "socket.main.get_event_call",
    "utils.chat.chat_action": "utils.actions.chat_action",
    "utils.chat.chat_completion": "utils.chat.generate_chat_completion",
    "utils.middleware.get_system_oauth_token": "utils.oauth.get_system_oauth_token",
    "utils.misc.get_tools_specs": "utils.tools.get_tool_specs",
    "utils.tools.has_tool_server_access": "utils.access_control.has_connection_access",
}
"""Where names are now."""

TABLES = {
    "AccessGrants": "models.access_grants",
    "Chats": "models.chats",
    "Config": "models.config",
    "Feedbacks": "models.feedbacks",
    "Files": "models.files",
    "FileForm": "models.files",
    "FileModel": "models.files",
    "Folders": "models.folders",
    "Functions": "models.functions",
    "Groups": "models.groups",
    "Knowledges": "models.knowledge",
    "Memories": "models.memories",
    "MemoryModel": "models.memories",
    "Models": "models.models",
    "Storage": "storage.provider",
    "Tools": "models.tools",
    "UserModel": "models.users",
    "Users": "models.users",
}
"""What modules of the server have imported, so that functions find it in them, too."""

_FINDING_TABLES = ("routers.", "utils.", "socket.", "retrieval.", "tools.")

WHY = {
    "config.CHROMA_CLIENT": "Nothing is indexed here.",
    "get_app_dir": "It belongs to one author's own Open WebUI.",
    "utils.manifold_types": "It belongs to one author's own Open WebUI; paste what is used of it into the function.",
}
"""What is said of what is nowhere."""


def module(name: str) -> str | None:
    """Returns where a module is now, None for one that has not moved; names are those below ``open_webui``."""
    if name in MODULES:
        return MODULES[name]
    above, dot, _ = name.rpartition(".")
    while dot:
        if above in MODULES:
            return f"{MODULES[above]}.{name[len(above) + 1 :]}"
        above, dot, _ = above.rpartition(".")
    return None


def attribute(module: str, name: str) -> tuple[str, str] | None:
    """Returns the module and the name under which something is now; None for what has not moved."""
    successor = NAMES.get(f"{module}.{name}")
    if successor is not None:
        where, _, what = successor.rpartition(".")
        return where, what
    if name in TABLES and (module.startswith(_FINDING_TABLES) or module in ("main", "functions", "tasks")):
        return TABLES[name], name
    return None
