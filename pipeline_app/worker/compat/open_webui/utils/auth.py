"""Tokens and passwords for a function's own use: nothing of the server is signed with them, none of its are read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from datetime import timedelta
from typing import Any

from .. import env
from .._either import either

Json = dict[str, Any]
ALGORITHM = "HS256"
ROUNDS = 600_000


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _signature(text: str) -> str:
    return _packed(hmac.new(env.WEBUI_SECRET_KEY.encode(), text.encode(), hashlib.sha256).digest())


def create_token(data: Json, expires_delta: timedelta | None = None) -> str:
    """Returns a JSON Web Token that this process reads again."""
    payload = {**data, "jti": str(uuid.uuid4())}
    if expires_delta is not None:
        payload["exp"] = int(time.time() + expires_delta.total_seconds())
    head = _packed(json.dumps({"alg": ALGORITHM, "typ": "JWT"}).encode())
    text = f"{head}.{_packed(json.dumps(payload).encode())}"
    return f"{text}.{_signature(text)}"


def decode_token(token: str) -> Json | None:
    """Returns the data of a token of this process; None for any other, and for one that has expired."""
    text, _, signature = str(token).rpartition(".")
    if not hmac.compare_digest(_signature(text).encode(), signature.encode()):
        return None
    data: Json = json.loads(_unpacked(text.partition(".")[2]))
    return None if data.get("exp", time.time() + 1) < time.time() else data


def create_api_key() -> str:
    """Returns a new key, which no server knows."""
    return f"sk-{secrets.token_hex(16)}"


def extract_token_from_auth_header(auth_header: str) -> str:
    """Returns what follows ``Bearer``."""
    return auth_header.removeprefix("Bearer ").strip()


@either
def get_password_hash(password: str) -> str:
    """Returns a password's hash, for ``verify_password``."""
    salt = secrets.token_bytes(16)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)
    return f"pbkdf2${ROUNDS}${_packed(salt)}${_packed(digest)}"


@either
def verify_password(plain_password: str, hashed_password: str | None) -> bool:
    """Whether a password has a hash."""
    kind, _, rest = str(hashed_password).partition("$")
    if kind != "pbkdf2":
        return False
    rounds, salt, digest = rest.split("$")
    made = hashlib.pbkdf2_hmac("sha256", plain_password.encode(), _unpacked(salt), int(rounds))
    return hmac.compare_digest(_packed(made), digest)


def _role(user: Any) -> Any:
    return user.get("role") if isinstance(user, dict) else getattr(user, "role", None)


def _checked(user: Any, *roles: str) -> Any:
    if _role(user) not in roles:
        from fastapi import HTTPException

        raise HTTPException(401, "You may not do this. Ask an administrator.")
    return user


def get_verified_user(user: Any = None) -> Any:
    """Returns a user who may use the server. Raises ``HTTPException`` 401 for anybody else."""
    return _checked(user, "user", "admin")


def get_admin_user(user: Any = None) -> Any:
    """Returns an administrator. Raises ``HTTPException`` 401 for anybody else."""
    return _checked(user, "admin")


@either
def get_current_user(*args: Any, **kwargs: Any) -> Any:
    """Returns the caller of the running hook."""
    from pipeline_app.worker.scope import current

    from ..models.users import UserModel

    scope = current.get()
    call = scope.work() if scope is not None and scope.work is not None else None
    told = call.context.get("user") if call is not None else None
    return _checked(UserModel(**told) if told else None, "user", "admin", "pending")


get_human_user = get_current_user
