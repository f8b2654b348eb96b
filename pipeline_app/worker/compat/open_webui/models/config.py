"""The settings of Open WebUI that functions read, with the values that hold here. Functions can't change them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .._asking import Facts, Table, answers
from .._calling import base_url

_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "webui.name": "Open WebUI",
        "ui.default_models": "",
        "ui.default_locale": "en",
        "models.default_params": {},
        "models.default_metadata": {},
        "task.model.default": "",
        "task.model.external": "",
        "task.title.enable": False,
        "task.tags.enable": False,
        "task.follow_up.enable": False,
        "rag.template": "",
        "rag.top_k": 3,
        "rag.web.search.enable": False,
        "image_generation.enable": False,
        "code_interpreter.enable": False,
        "memories.enable": True,
        "tool_server.connections": [],
        "terminal_server.connections": [],
        "openai.enable": False,
        "openai.api_base_urls": [],
        "openai.api_keys": [],
        "openai.api_configs": {},
        "ollama.enable": False,
        "ollama.base_urls": [],
        "ollama.api_configs": {},
        "user.permissions": {"workspace": {}, "sharing": {}, "chat": {}, "features": {"memories": True}},
    }
)
"""What has no place on this server is off or empty, and no secret is among it."""

_WHY = "Settings are the server's own, and its administrators set them; give the function a valve instead."


class ConfigTable(Table):
    """What functions ask about settings."""

    elsewhere = MappingProxyType({"upsert delete configure set_many reset": _WHY})

    @answers
    def get(self, key: str, default: Any = None) -> Any:
        """Returns a setting; the default where there is none."""
        return _settings().get(key, default)

    @answers
    def get_many(self, *keys: str) -> Facts:
        """Returns those of the settings that there are."""
        found = _settings()
        return Facts({key: found[key] for key in keys if key in found})

    @answers
    def get_namespace(self, namespace: str) -> Facts:
        """Returns the settings whose keys begin with a name and a dot."""
        return Facts({key: value for key, value in _settings().items() if key.startswith(f"{namespace}.")})

    @answers
    def get_all(self) -> Facts:
        """Returns all settings that there are."""
        return Facts(_settings())

    def default_value(self, key: str) -> Any:
        """Returns a setting."""
        return _settings().get(key)

    def persistent_enabled_for(self, key: str) -> bool:
        """Returns False: nothing that a function sets is kept."""
        return False


def _settings() -> dict[str, Any]:
    """Returns the settings as the function's own: it may change what it got."""
    return {**copy.deepcopy(dict(_DEFAULTS)), "webui.url": base_url()}


Config = ConfigTable()
