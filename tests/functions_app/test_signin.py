"""Signing in through a real OpenID provider, at a real server: carol is known to the provider, alice and bob to us."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.provider import Provider
from tests.servers import Server

PEOPLE = """
from functions_app.models import Function, User
User.objects.create_superuser("alice", "alice@example.org", "alice")
bob = User.objects.create_user("bob", "bob@example.org", "bob")
"""
FUNCTIONS = """
sources = {
    "tokens": "import json\\nclass Pipe:\\n    def pipe(self, body, __oauth_token__):\\n        return json.dumps(__oauth_token__)\\n",
    "plain": "import json\\nclass Pipe:\\n    def pipe(self, body, __user__, __metadata__, __request__, **rest):\\n"
             "        return json.dumps([body, __user__, __metadata__, dict(__request__.headers), list(rest)], default=str)\\n",
    "asking": "class Filter:\\n    def __init__(self):\\n        self.toggle = True\\n    def inlet(self, body, __oauth_token__=None):\\n"
              "        body['messages'].append({'role': 'user', 'content': 'filter has ' + str((__oauth_token__ or {}).get('access_token'))})\\n"
              "        return body\\n    def outlet(self, body):\\n        return body\\n",
    "press": "class Action:\\n    async def action(self, body, __oauth_token__=None):\\n        return (__oauth_token__ or {}).get('token_type')\\n",
}
for name, source in sources.items():
    function = Function.objects.create_function(name, name, source)
    function.is_active = True
    function.is_global = True
    function.save()
from pipeline_app.models import ApiKey
print(ApiKey.objects.issue(bob)[1])
"""

FORM_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Browser(httpx.Client):
    """Somebody at a browser: cookies, forms, and the way to the provider and back."""

    def submit(self, page: str, path: str, **fields: str) -> httpx.Response:
        token = FORM_TOKEN.search(self.get(page).text)
        assert token, f"{page} has no form"
        return self.post(
            path, data={"csrfmiddlewaretoken": token[1], **fields}, headers={"Referer": str(self.base_url)}
        )

    def leave(self, page: str = "/admin/login/", **fields: str) -> str:
        """Presses the button and returns where it leads."""
        left = self.submit(page, "/account/oidc/", **fields)
        assert left.status_code == 200, left.text
        return html.unescape(re.findall(r'content="0; url=([^"]+)"', left.text)[0])

    def come_back(self, address: str) -> httpx.Response:
        """Goes to the provider and returns what the server says to what it answers."""
        there = httpx.get(address)
        assert there.status_code == 302, there.text
        return self.get(there.headers["Location"])

    def sign_in(self, page: str = "/admin/login/", **fields: str) -> httpx.Response:
        return self.come_back(self.leave(page, **fields))

    def make_key(self) -> str:
        page = self.submit("/account/", "/account/", label="tests", days="30")
        return re.findall(r"<code>(sk-[^<]+)</code>", page.text)[0]


@pytest.fixture(scope="module")
def house(tmp_path_factory, base_packages, empty_database):
    """One server and its provider for the tests that change no setting."""
    folder: Path = tmp_path_factory.mktemp("signin")
    provider = Provider(folder / "provider")
    try:
        server = Server(folder / "data", empty_database, environment=provider.environment)
        server.provider = provider
        server.bobs_key = server.shell(PEOPLE + FUNCTIONS).split()[-1]
        server.start()
        yield server
        server.stop()
    finally:
        provider.stop()


@pytest.fixture
def provider(house):
    house.provider.rule()
    house.provider.person("carol")
    return house.provider


@pytest.fixture
def browse(house, provider):
    browsers: list[Browser] = []

    def open_browser(url: str = house.url) -> Browser:
        browsers.append(Browser(base_url=url, timeout=30))
        return browsers[-1]

    yield open_browser
    for browser in browsers:
        browser.close()


def chat(house, key: str, model: str = "tokens", **more: object) -> str:
    answer = httpx.post(
        f"{house.url}/v1/chat/completions",
        json={"model": model, "messages": [{"role": "user", "content": "hi"}], **more},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def rows(house, query: str, *values: object) -> list[tuple]:
    """Asks, or changes, the server's database behind its back."""
    with closing(sqlite3.connect(house.data_dir / "db.sqlite3", timeout=20)) as database, database:
        return database.execute(query, values).fetchall()


def user(house, name: str) -> tuple:
    return rows(
        house,
        "SELECT is_active, is_staff, is_superuser, substr(password, 1, 1) = '!' FROM functions_app_user WHERE username = ?",
        name,
    )[0]


# --- In -------------------------------------------------------------------------------------------------


def test_who_signs_in_is_an_ordinary_user_with_a_page_of_their_own(house, provider, browse):
    browser = browse()
    assert "Sign in with Example Login" in browser.get("/admin/login/").text
    landed = browser.sign_in()
    assert landed.status_code == 302 and landed.headers["Location"] == "/account/"
    page = browser.get("/account/").text
    assert "Carol Example" in page and "carol@example.org" in page
    assert browser.get("/admin/", follow_redirects=False).status_code == 302
    assert user(house, "carol") == (True, False, False, True)  # no password
    assert browser.sign_in().headers["Location"] == "/account/"
    assert len(rows(house, "SELECT id FROM functions_app_user WHERE email = 'carol@example.org'")) == 1


def test_a_key_is_made_shown_once_used_and_revoked(house, browse):
    browser = browse()
    browser.sign_in()
    key = browser.make_key()
    assert chat(house, key, "plain")
    page = browser.get("/account/").text
    assert key not in page and key[:10] in page
    browser.submit("/account/", "/account/", revoke=re.search(r'name="revoke" value="([^"]+)"', page)[1])
    answer = httpx.get(f"{house.url}/v1/models", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401


def test_nobodys_page_is_shown_to_nobody_and_signing_out_ends_it(browse):
    browser = browse()
    assert browser.get("/account/").headers["Location"] == "/admin/login/?next=/account/"
    browser.sign_in()
    assert browser.submit("/account/", "/account/sign-out/").headers["Location"] == "/admin/login/"
    assert browser.get("/account/").status_code == 302


def test_a_request_uses_state_nonce_and_pkce_and_no_secret(browse):
    address = httpx.URL(browse().leave())
    assert address.params["code_challenge_method"] == "S256"
    assert len(address.params["state"]) >= 16 and len(address.params["nonce"]) == 64
    assert set(address.params["scope"].split()) == {"openid", "email", "profile", "offline_access"}
    assert "client-secret" not in str(address)


# --- Not in ---------------------------------------------------------------------------------------------


def test_an_answer_to_another_browser_is_refused(browse):
    victim, attacker = browse(), browse()
    there = httpx.get(attacker.leave())
    answer = victim.get(there.headers["Location"])
    assert answer.status_code == 403 and "failed" in answer.text
    assert victim.get("/account/").status_code == 302


def test_an_answer_is_good_for_one_time(browse):
    browser = browse()
    back = httpx.get(browser.leave()).headers["Location"]
    assert browser.get(back).status_code == 302
    assert browser.get(back).status_code == 403


@pytest.mark.parametrize(
    "rules", [{"nonce": "of-another-request"}, {"userinfo_sub": "somebody-else"}, {"cancel": True}]
)
def test_an_answer_that_does_not_fit_is_refused(provider, browse, rules):
    provider.rule(**rules)
    browser = browse()
    assert browser.sign_in().status_code == 403
    assert browser.get("/account/").status_code == 302


def test_a_form_from_elsewhere_starts_nothing(browse):
    browser = browse()
    assert browser.post("/account/oidc/").status_code == 403
    assert browser.get("/account/oidc/").status_code == 405
    assert browser.submit("/admin/login/", "/account/oidc/?scope=admin").status_code == 400
    assert browser.submit("/admin/login/", "/account/oidc/", process="redirect").status_code == 400
    assert browser.submit("/admin/login/", "/account/oidc/", process="connect").status_code == 302


def test_an_account_of_ours_is_not_taken_over_by_an_address(house, provider, browse):
    provider.person("mallory", email="ALICE@example.org")
    answer = browse().sign_in()
    assert answer.status_code == 403 and "exists here already" in answer.text
    assert rows(house, "SELECT uid FROM socialaccount_socialaccount WHERE uid = 'mallory'") == []


def test_who_was_switched_off_stays_out(house, provider, browse):
    provider.person("dave")
    browser = browse()
    browser.sign_in()
    rows(house, "UPDATE functions_app_user SET is_active = 0 WHERE username = 'dave'")
    assert browser.get("/account/").status_code == 302
    answer = browse().sign_in()
    assert answer.status_code == 403 and "waits for an administrator" in answer.text


def test_hostile_claims_make_a_plain_user(house, provider, browse):
    provider.person("x" * 150, preferred_username="../<b>\0" * 100, name="n\0\ud800" * 300, email="no address")
    browser = browse()
    assert browser.sign_in().status_code == 302
    assert "<b>" not in browser.get("/account/").text
    provider.person("", email="e@example.org")
    assert browse().sign_in().status_code in (403, 502)


def test_allauths_own_pages_are_not_there(browse):
    browser = browse()
    for path in ("login", "signup", "password/reset", "email", "social/connections", "oidc/oidc/login"):
        for prefix in ("account", "accounts"):
            assert browser.get(f"/{prefix}/{path}/").status_code == 404


# --- Joined ----------------------------------------------------------------------------------------------


def test_alice_joins_her_account_herself(house, provider, browse):
    provider.person("alice-at-provider", email="alice@example.org")
    browser = browse()
    browser.submit("/admin/login/", "/admin/login/", username="alice", password="alice")
    assert "Join this account to Example Login" in browser.get("/account/").text
    assert browser.sign_in("/account/", process="connect").headers["Location"] == "/account/"
    assert "Join this account" not in browser.get("/account/").text
    again = browse()
    assert again.sign_in().headers["Location"] == "/admin/"  # she is staff
    assert user(house, "alice") == (True, True, True, False)  # she keeps her password
    assert json.loads(chat(house, again.make_key()))["token_type"] == "Bearer"
    # Nobody else can be joined to her account there, nor can she be joined to another.
    other = browse()
    provider.person("carol")
    other.sign_in()
    provider.person("alice-at-provider")
    refused = other.sign_in("/account/", process="connect") if "Join" in other.get("/account/").text else None
    assert refused is None
    page = again.get("/admin/socialaccount/socialaccount/")
    assert page.status_code == 200 and "alice-at-provider" in page.text
    assert again.get("/admin/socialaccount/socialtoken/").status_code == 404
    tokens = again.get("/admin/functions_app/oauthtoken/")
    assert tokens.status_code == 200 and "access-" not in tokens.text


# --- The token in functions ---------------------------------------------------------------------------------


def test_the_token_reaches_the_functions_that_ask_and_no_other(house, provider, browse):
    browser = browse()
    browser.sign_in()
    key = browser.make_key()
    token = json.loads(chat(house, key))
    assert token.keys() == {"access_token", "id_token", "token_type", "scope", "expires_at"}
    assert token["access_token"].startswith("access-") and token["expires_at"] > 1_700_000_000
    plain = chat(house, key, "plain")
    assert token["access_token"] not in plain and token["id_token"] not in plain and "refresh-" not in plain
    assert f"filter has {token['access_token']}" in chat(house, key, "plain", filter_ids=["asking"])
    pressed = httpx.post(
        f"{house.url}/api/chat/actions/press", json={}, headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    assert pressed.json()["result"] == "Bearer"
    kept = b"".join(path.read_bytes() for path in house.data_dir.glob("db.sqlite3*"))
    assert b"access-" not in kept and b"refresh-" not in kept
    assert "access-" not in house.log and "refresh-" not in house.log and "client-secret" not in house.log


def test_bob_who_has_none_gets_none(house):
    assert chat(house, house.bobs_key) == "null"


def expire(house, name: str) -> None:
    rows(
        house,
        "UPDATE functions_app_oauthtoken SET expires_at = datetime('now') "
        "WHERE user_id = (SELECT id FROM functions_app_user WHERE username = ?)",
        name,
    )


def test_an_expired_token_is_renewed_once_for_all_who_ask(house, provider, browse):
    provider.person("erin")
    browser = browse()
    browser.sign_in()
    key = browser.make_key()
    before = json.loads(chat(house, key))["access_token"]
    expire(house, "erin")
    provider.rule(slow=0.5)
    asked = len(provider.asked("refresh_token"))
    with ThreadPoolExecutor(6) as pool:
        after = {json.loads(text)["access_token"] for text in pool.map(lambda _: chat(house, key), range(6))}
    assert len(after) == 1 and after != {before}
    assert len(provider.asked("refresh_token")) == asked + 1
    expire(house, "erin")  # the new refresh token was kept
    assert json.loads(chat(house, key))["access_token"] not in {before, *after}


def test_a_token_that_is_not_renewed_is_none_and_said_without_secrets(house, provider, browse):
    provider.person("frank")
    browser = browse()
    browser.sign_in()
    key = browser.make_key()
    provider.rule(down=True)
    expire(house, "frank")
    assert chat(house, key) == "null"
    assert "can't be renewed now: the token endpoint answers with status 503" in house.log
    browser = browse()
    assert browser.submit("/admin/login/", "/account/oidc/").status_code == 200  # what the metadata said is remembered
    provider.rule(refuse_refresh=True)
    provider.person("grace")
    browser = browse()
    browser.sign_in()
    key = browser.make_key()
    expire(house, "grace")
    asked = len(provider.asked("refresh_token"))
    assert chat(house, key) == "null" and chat(house, key) == "null"
    assert len(provider.asked("refresh_token")) == asked + 1  # a refused one is not tried again
    assert "(invalid_grant): functions get none until they sign in again" in house.log
    assert "secret-in-a-description" not in house.log
    provider.rule()
    browser.sign_in()
    assert json.loads(chat(house, key))["access_token"]


# --- Other settings --------------------------------------------------------------------------------------


def test_a_new_user_waits_where_that_is_wanted_and_an_address_joins_where_that_is(start_server, tmp_path):
    provider = Provider(tmp_path / "provider")
    try:
        server = start_server(**provider.environment, OIDC_NEW_USERS="pending", OIDC_LINK_BY_EMAIL="true")
        server.shell(PEOPLE)
        with Browser(base_url=server.url, timeout=30) as browser:
            answer = browser.sign_in()
            assert answer.status_code == 403 and "waits for an administrator" in answer.text
            assert user(server, "carol") == (False, False, False, True)
            assert rows(server, "SELECT * FROM functions_app_oauthtoken") == []
            provider.person("bob-at-provider", email="bob@example.org", email_verified=False)
            assert "exists here already" in browser.sign_in().text
            provider.person("alice-at-provider", email="alice@example.org")
            assert "exists here already" in browser.sign_in().text  # never staff
            provider.person("bob-at-provider", email="bob@example.org")
            assert browser.sign_in().headers["Location"] == "/account/"
            assert "bob@example.org" in browser.get("/account/").text
    finally:
        provider.stop()


def test_without_a_provider_there_is_no_way_in(client, db):
    for path in ("/account/", "/account/oidc/", "/account/oidc/callback/", "/account/sign-out/"):
        assert client.get(path).status_code == 404
    assert "Sign in with" not in client.get("/admin/login/").content.decode()


# --- A provider that says all in the id token -----------------------------------------------------------------


def test_a_provider_without_userinfo_is_believed_by_its_id_token(start_server, tmp_path):
    provider = Provider(tmp_path / "provider")
    try:
        provider.rule(no_userinfo=True)
        provider.person("dave", email="dave@example.org", name="Dave Example")
        server = start_server(**provider.environment)
        with Browser(base_url=server.url, timeout=30) as browser:
            answer = browser.sign_in()
            assert (answer.status_code, answer.headers.get("Location")) == (302, "/account/"), answer.text
            assert "dave" in browser.get("/account/").text
        rows_ = rows(server, "SELECT username, email FROM functions_app_user WHERE username = 'dave'")
        assert rows_ == [("dave", "dave@example.org")]
        provider.rule(no_userinfo=True, nonce="of-another-request")
        with Browser(base_url=server.url, timeout=30) as browser:
            assert browser.sign_in().status_code == 403
        provider.rule(no_userinfo=True)
        provider.person("", email="e@example.org")
        with Browser(base_url=server.url, timeout=30) as browser:
            assert browser.sign_in().status_code in (403, 502)
    finally:
        provider.stop()
