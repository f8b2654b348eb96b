"""Settings of Open WebUI's environment. None of them is the server's own: functions see no secret of it."""

from __future__ import annotations

import logging
import secrets
from typing import Any

log = logging.getLogger("open_webui")

VERSION = "0.12.4"
GLOBAL_LOG_LEVEL = "INFO"


class _Levels(dict[str, Any]):
    """Log levels by source: all have the same."""

    def __missing__(self, source: str) -> int:
        return logging.INFO

    def get(self, source: str, default: Any = None) -> Any:
        """Returns the level of a source."""
        return self[source]


SRC_LOG_LEVELS: dict[str, Any] = _Levels()

WEBUI_NAME = "Open WebUI"
WEBUI_AUTH = True
WEBUI_BUILD_HASH = ""
WEBUI_SECRET_KEY = secrets.token_hex(32)
"""Made up for this process; nothing of the server is signed with it."""
ENV = "prod"
DOCKER = False
OFFLINE_MODE = False
SAFE_MODE = False
DATABASE_URL = ""
REDIS_URL = ""
WEBSOCKET_MANAGER = ""
BYPASS_MODEL_ACCESS_CONTROL = False
ENABLE_CUSTOM_MODEL_FALLBACK = False
ENABLE_REALTIME_CHAT_SAVE = False

AIOHTTP_CLIENT_TIMEOUT: int | None = None
AIOHTTP_CLIENT_TIMEOUT_MODEL_LIST = 10
AIOHTTP_CLIENT_TIMEOUT_OPENAI_MODEL_LIST = 10
AIOHTTP_CLIENT_TIMEOUT_TOOL_SERVER_DATA = 10
AIOHTTP_CLIENT_SESSION_SSL = True
AIOHTTP_CLIENT_SESSION_TOOL_SERVER_SSL = True

ENABLE_FORWARD_USER_INFO_HEADERS = False
FORWARD_USER_INFO_HEADER_USER_NAME = "X-OpenWebUI-User-Name"
FORWARD_USER_INFO_HEADER_USER_ID = "X-OpenWebUI-User-Id"
FORWARD_USER_INFO_HEADER_USER_EMAIL = "X-OpenWebUI-User-Email"
FORWARD_USER_INFO_HEADER_USER_ROLE = "X-OpenWebUI-User-Role"
FORWARD_SESSION_INFO_HEADER_CHAT_ID = "X-OpenWebUI-Chat-Id"
FORWARD_SESSION_INFO_HEADER_MESSAGE_ID = "X-OpenWebUI-Message-Id"
