"""Signing in: the server's own, and never a function's."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

Token = record("Token", __name__, token="", token_type="Bearer")
SigninForm = record("SigninForm", __name__, "email password")
SignupForm = record("SignupForm", __name__, "name email password", profile_image_url="")
ApiKey = record("ApiKey", __name__, **rows("api_key"))


class AuthsTable(EmptyTable):
    """Signing in: the server's own, and never a function's."""

    why = "Who may sign in is a matter of the server."
    writes = (
        "authenticate_user authenticate_user_by_api_key authenticate_user_by_email insert_new_auth "
        "update_user_password_by_id update_email_by_id delete_auth_by_id"
    )


Auths = AuthsTable()
