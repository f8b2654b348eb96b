"""What holds for every example: its header, the file beside it, what it imports, and that it is documented."""

from __future__ import annotations

import ast
import sys
import tomllib

import pytest

from functions_app import frontmatter
from functions_app.policy import Policy
from tests.examples.conftest import EXAMPLES

KINDS = {
    "echo": "pipe",
    "moderation": "filter",
    "openai_compatible": "pipe",
    "pii_redaction": "filter",
    "report_action": "action",
    "token_budget": "filter",
    "word_mask": "filter",
}
PACKAGES = {"fastapi", "httpx", "pydantic", "requests"}

every_example = pytest.mark.parametrize("name", KINDS)


def sidecar(name) -> dict:
    return tomllib.loads((EXAMPLES / f"{name}.toml").read_text())


def test_the_list_is_complete():
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == sorted(KINDS)


@every_example
def test_the_header_says_all_that_open_webui_shows(name):
    header = frontmatter.read((EXAMPLES / f"{name}.py").read_text())
    assert set(header) == {"title", "author", "version", "license", "description"}
    assert header["title"] == sidecar(name)["name"]
    assert (header["author"], header["license"]) == ("webui-functions", "MIT")


@every_example
def test_it_imports_only_what_every_open_webui_has(name):
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) <= PACKAGES


@every_example
def test_it_loads_as_the_kind_it_is(example, name):
    hooks = {"pipe": ["pipe"], "filter": ["outlet"], "action": ["action"]}[KINDS[name]]
    assert all(callable(getattr(example(name), hook)) for hook in hooks)


@every_example
def test_a_fresh_server_has_only_echo_switched_on_and_nothing_global(name):
    settings = sidecar(name)
    assert settings["id"] == name
    assert settings["is_active"] == (name == "echo")
    assert not settings.get("is_global", False)


@every_example
def test_its_policy_is_valid(name):
    policy = sidecar(name).get("policy", {})
    assert Policy.clean(policy) == policy


@every_example
def test_it_is_documented(name):
    readme = (EXAMPLES / "README.md").read_text()
    assert f"\n## {name}\n" in readme
    assert f"[{name}.py]({name}.py)" in readme
