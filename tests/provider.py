"""A small OpenID provider in a process of its own: discovery, authorization code with PKCE, refresh tokens, RS256.

``python -m tests.provider PORT FOLDER`` serves on loopback. Everybody who comes is signed in at once, as the person in
``FOLDER/person.json``; ``FOLDER/rules.json`` says how it behaves: ``{"expires_in", "refuse_refresh", "down", "nonce",
"userinfo_sub", "no_userinfo", "cancel", "slow"}``. What the token endpoint was asked is in ``FOLDER/asked.jsonl``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CHECKOUT = Path(__file__).resolve().parent.parent
CLIENT_ID, CLIENT_SECRET = "functions", "client-secret-4711"


class Provider:
    """The process. ``url`` is the issuer; ``person``, ``rule`` and ``asked`` talk with it through its folder."""

    def __init__(self, folder: Path) -> None:
        from tests.servers import free_port  # the process itself needs nothing of the tests

        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        folder.mkdir(parents=True)
        self.rule()
        self.person("carol")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.provider", str(self.port), str(folder)], cwd=CHECKOUT
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.url}/.well-known/openid-configuration", timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the provider does not start")

    @property
    def environment(self) -> dict[str, str]:
        """What a server needs to know of it."""
        return {
            "OIDC_ISSUER": self.url,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_NAME": "Example Login",
            "OIDC_SCOPES": "openid email profile offline_access",
        }

    def person(self, sub: str, **claims: Any) -> None:
        """Who is signed in from now on."""
        known = {"sub": sub, "preferred_username": sub, "name": f"{sub.title()} Example", "email": f"{sub}@example.org"}
        (self.folder / "person.json").write_text(json.dumps({**known, "email_verified": True, **claims}))

    def rule(self, **rules: Any) -> None:
        """How it behaves from now on."""
        (self.folder / "rules.json").write_text(json.dumps({"expires_in": 3600, **rules}))

    def asked(self, grant: str) -> list[dict[str, str]]:
        """What the token endpoint was asked for this grant."""
        path = self.folder / "asked.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [form for form in map(json.loads, lines) if form["grant_type"] == grant]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


class _Handler(BaseHTTPRequestHandler):
    """Answers the five endpoints."""

    folder: Path
    key: Any
    lock = threading.Lock()
    codes: dict[str, dict[str, str]] = {}
    refresh: dict[str, str] = {}
    access: dict[str, dict[str, Any]] = {}

    def log_message(self, *args: Any) -> None:
        pass

    @property
    def issuer(self) -> str:
        return f"http://{self.headers['Host']}"

    @property
    def rules(self) -> dict[str, Any]:
        return json.loads((self.folder / "rules.json").read_text())

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.rules.get("down"):
            self.answer({}, 503)
        elif url.path == "/.well-known/openid-configuration":
            userinfo = {} if self.rules.get("no_userinfo") else {"userinfo_endpoint": f"{self.issuer}/userinfo"}
            self.answer(
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    **userinfo,
                    "jwks_uri": f"{self.issuer}/jwks",
                    "response_types_supported": ["code"],
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                    "code_challenge_methods_supported": ["S256"],
                }
            )
        elif url.path == "/authorize":
            self.authorize(query)
        elif url.path == "/jwks":
            self.answer({"keys": [self.jwk()]})
        elif url.path == "/userinfo" and not self.rules.get("no_userinfo"):
            person = self.access.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            claims = {**person, "sub": self.rules.get("userinfo_sub", person["sub"])} if person else {}
            self.answer(claims, 200 if person else 401)
        else:
            self.answer({}, 404)

    def authorize(self, query: dict[str, str]) -> None:
        good = (
            query.get("client_id") == CLIENT_ID
            and query.get("response_type") == "code"
            and query.get("code_challenge_method") == "S256"
            and query.get("nonce")
            and query.get("state")
            and "openid" in query.get("scope", "").split()
        )
        if not good:
            self.answer({"error": "invalid_request"}, 400)
            return
        given = {"state": query["state"]}
        if self.rules.get("cancel"):
            given["error"] = "access_denied"
        else:
            given["code"] = secrets.token_urlsafe(16)
            with self.lock:
                self.codes[given["code"]] = query
        self.send_response(302)
        self.send_header("Location", f"{query['redirect_uri']}?{urlencode(given)}")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        with self.lock, (self.folder / "asked.jsonl").open("a") as asked:
            asked.write(json.dumps(form) + "\n")
        if self.rules.get("down"):
            self.answer({}, 503)
        elif (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            self.answer({"error": "invalid_client"}, 401)
        elif form["grant_type"] == "authorization_code":
            self.exchange(form)
        elif self.rules.get("refuse_refresh") or form.get("refresh_token") not in self.refresh:
            self.answer({"error": "invalid_grant", "error_description": "secret-in-a-description"}, 400)
        else:
            time.sleep(self.rules.get("slow", 0))
            sub = self.refresh.pop(form["refresh_token"])  # each is good for one time only
            self.answer(self.tokens({**self.who(), "sub": sub}))

    def exchange(self, form: dict[str, str]) -> None:
        with self.lock:
            query = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if not query or query["code_challenge"] != challenge or query["redirect_uri"] != form.get("redirect_uri"):
            self.answer({"error": "invalid_grant"}, 400)
        else:
            self.answer(self.tokens(self.who(), self.rules.get("nonce", query["nonce"])))

    def who(self) -> dict[str, Any]:
        return json.loads((self.folder / "person.json").read_text())

    def tokens(self, person: dict[str, Any], nonce: str = "") -> dict[str, Any]:
        import jwt

        access, refresh = f"access-{secrets.token_hex(8)}", f"refresh-{secrets.token_hex(8)}"
        with self.lock:
            self.access[access] = person
            self.refresh[refresh] = person["sub"]
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "sub": person["sub"], "iat": now, "exp": now + 600}
        if nonce:
            claims["nonce"] = nonce
        if self.rules.get("no_userinfo"):
            claims |= person
        id_token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "one"})
        return {
            "access_token": access,
            "refresh_token": refresh,
            "id_token": id_token,
            "token_type": "Bearer",
            "scope": "openid email profile offline_access",
            "expires_in": self.rules["expires_in"],
        }

    def jwk(self) -> dict[str, Any]:
        from jwt.algorithms import RSAAlgorithm

        return {**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": "one", "alg": "RS256", "use": "sig"}

    def answer(self, data: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(port: int, folder: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    _Handler.folder = folder
    _Handler.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ThreadingHTTPServer(("127.0.0.1", port), _Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
