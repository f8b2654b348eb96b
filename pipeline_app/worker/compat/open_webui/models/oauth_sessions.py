"""Sessions at other servers: never told to functions; the caller's token is __oauth_token__."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

OAuthSessionModel = record(
    "OAuthSessionModel", __name__, "id user_id provider", token={}, **rows("expires_at created_at updated_at")
)
OAuthSession = OAuthSessionResponse = OAuthSessionModel


class OAuthSessionTable(EmptyTable):
    """Sessions at other servers: never told to functions; the caller's token is __oauth_token__."""

    why = "Take the argument __oauth_token__ for the caller's token."
    none = "get_session_by_id get_session_by_id_and_user_id get_session_by_provider_and_user_id"
    empty = "get_sessions_by_user_id"
    writes = (
        "create_session update_session_by_id delete_session_by_id delete_sessions_by_user_id "
        "delete_sessions_by_provider"
    )


OAuthSessions = OAuthSessionTable()
