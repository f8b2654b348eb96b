"""Configuration of Open WebUI, as far as functions read it: what is set nowhere here has its plain default."""

from __future__ import annotations

from typing import Any


class _Text(str):
    """Text that is also found under ``.value``, as it was in older releases."""

    @property
    def value(self) -> str:
        """The text."""
        return str(self)


class _List(list[Any]):
    """A list that is also found under ``.value``, as it was in older releases."""

    @property
    def value(self) -> list[Any]:
        """The list."""
        return list(self)


WEBUI_URL = _Text("")
WEBUI_NAME = _Text("Open WebUI")
TOOL_SERVER_CONNECTIONS = _List()
BYPASS_ADMIN_ACCESS_CONTROL = True
ENABLE_ADMIN_CHAT_ACCESS = False
ENABLE_ADMIN_EXPORT = False
ENV = "prod"
DEFAULT_USER_PERMISSIONS: dict[str, Any] = {}

DEFAULT_RAG_TEMPLATE = """Answer the question with the help of the context. Cite a source as [id] where it has an id. \
Say so when the context does not tell.

<context>
{{CONTEXT}}
</context>

{{QUERY}}
"""


class PersistentConfig:
    """A setting with a value, as code from older releases makes them; it is kept by nobody."""

    def __init__(self, env_name: str = "", config_path: str = "", env_value: Any = None) -> None:
        self.env_name = env_name
        self.config_path = config_path
        self.value = env_value

    def save(self) -> None:
        """Keeps nothing."""


class AppConfig:
    """Settings by name, whatever was put there."""

    def __getattr__(self, name: str) -> Any:
        if name.isupper():
            return None
        raise AttributeError(name)
