"""What the README and the authors' page promise in code, done as they say: through the admin, then with the official client."""

from __future__ import annotations

import re
import textwrap
from html.parser import HTMLParser

import httpx
import openai
import pytest

from functions_app.models import Function
from tests.settings import CHECKOUT

README = (CHECKOUT / "README.md").read_text()

PREPARE = """
from functions_app.models import User
from pipeline_app.models import ApiKey
alice = User.objects.create_superuser("alice", "", "wonderland")
print(ApiKey.objects.issue(alice)[1])
"""


def blocks(page: str, language: str) -> list[str]:
    return [
        textwrap.dedent(block)
        for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    ]


class Fields(HTMLParser):
    """The values that a browser would send back of the admin's form as it stands."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self._text = ""
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        name = given.get("name", "")
        if tag == "input" and given.get("type") not in ("submit", "checkbox", "search"):
            self.values[name] = given.get("value") or ""
        elif tag == "input" and given.get("type") == "checkbox" and "checked" in given:
            self.values[name] = "on"
        elif tag == "textarea":
            self._text, self.values[name] = name, ""

    def handle_data(self, data):
        if self._text:
            self.values[self._text] += data

    def handle_endtag(self, tag):
        if tag == "textarea" and self._text:
            self.values[self._text] = self.values[self._text].removeprefix("\n")
            self._text = ""


class Browser:
    """Alice at the admin pages."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, follow_redirects=True, timeout=60)

    def submit(self, path: str, **filled: str) -> str:
        """Opens a page, fills its form and sends it; returns the page that follows."""
        values = Fields(self.client.get(path).raise_for_status().text).values
        answer = self.client.post(path, data=values | filled, headers={"Referer": str(self.client.base_url.join(path))})
        return answer.raise_for_status().text


def test_the_first_function_is_made_called_configured_and_edited_as_the_readme_says(server):
    key = server.shell(PREPARE).splitlines()[-1]
    source = next(block for block in blocks(README, "python") if "class Pipe" in block)
    browser = Browser(server.url)
    browser.submit("/admin/login/", username="alice", password="wonderland", next="/admin/")
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key)

    def say() -> str:
        answer = client.chat.completions.create(model="parrot", messages=[{"role": "user", "content": "Hello"}])
        return answer.choices[0].message.content

    browser.submit("/admin/functions_app/function/add/", source=source, _continue="Save and publish")
    assert [model.id for model in client.models.list()] == []
    page = "/admin/functions_app/function/parrot/change/"
    browser.submit(page, is_active="on", _continue="Save and publish")
    assert [model.id for model in client.models.list()] == ["parrot"]
    assert say() == "Hello! Hello! "

    browser.submit("/admin/functions_app/function/parrot/valves/", times="3")
    assert say() == "Hello! Hello! Hello! "

    browser.submit(page, source=source.replace('f"{heard}! "', 'f"{heard}? "'), _continue="Save and publish")
    assert say() == "Hello? Hello? Hello? "

    shown = browser.submit(page, source=source.replace("class Pipe:", "class Pipe"), _continue="Save and publish")
    assert "SyntaxError" in shown
    assert say() == "Hello? Hello? Hello? "
    browser.client.close()
    client.close()


@pytest.mark.django_db
def test_the_function_of_the_authors_page_loads():
    page = (CHECKOUT / "docs" / "writing-functions.md").read_text()
    source = next(block for block in blocks(page, "python") if "class Pipe" in block)
    function = Function.objects.create_function("shout", "", source)
    assert function.live is not None, function.newest.error
    assert (function.name, function.kind) == ("Shout", "pipe")
