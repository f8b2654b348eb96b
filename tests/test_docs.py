"""Docs that can rot: whatever has a name that users rely on must be named in the docs."""

from __future__ import annotations

import itertools
import re
import shlex

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RegexPattern

from tests.servers import manage
from tests.settings import CHECKOUT

DOCS = {path.name: path.read_text() for path in (CHECKOUT / "docs").glob("*.md")}
ENV_EXAMPLE = (CHECKOUT / ".env.example").read_text()
README = (CHECKOUT / "README.md").read_text()
SETTINGS = (CHECKOUT / "webui_functions" / "settings.py").read_text()

VARIABLES = sorted(set(re.findall(r'\benv(?:\.\w+)?\(\s*"([A-Z][A-Z_]+)"', SETTINGS)))
COMMANDS = sorted(
    path.stem
    for app in ("functions_app", "pipeline_app")
    for path in (CHECKOUT / app / "management" / "commands").glob("*.py")
    if not path.stem.startswith("_")
)
PAGES = [README, *DOCS.values(), *((CHECKOUT / name).read_text() for name in ("CONTRIBUTING.md", "CHANGELOG.md"))]


def special_arguments() -> list[str]:
    from pipeline_app.worker import arguments

    return sorted(arguments.TABLE)


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> list[str]:
    """Returns every path of the API and of operations, parameters as ``{name}``; the admin's own are Django's."""
    found = []
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            path = prefix + str(pattern.pattern)
            if not path.startswith("admin/"):
                found += routes(pattern.url_patterns, path)
        elif isinstance(pattern.pattern, RegexPattern):
            found += ["/" + prefix + path for path in spelled_out(str(pattern.pattern))]
        else:
            found.append("/" + prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern)))
    return found


def spelled_out(expression: str) -> list[str]:
    """Returns the paths that a regular expression stands for: parameters named, optional parts with and without."""
    path = expression.strip("^$").removesuffix("/?")
    path = re.sub(r"\(\?P<(\w+)>[^()]*\)", r"{\1}", path)
    optional = re.search(r"\(\?:([^()]*)\)\?", path)
    if optional is None:
        return [path]
    before, after = path[: optional.start()], path[optional.end() :]
    return [*spelled_out(before + after), *spelled_out(before + optional[1] + after)]


def named(path: str, page: str) -> bool:
    """Whether a page names a path; it may call a parameter as it likes."""
    pattern = r"\{\w+\}".join(re.escape(part) for part in re.split(r"\{\w+\}", path))
    return re.search(rf"`(?:[A-Z]+ )?{pattern}`", page) is not None


# --- Settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", VARIABLES)
def test_every_setting_is_in_the_example_file_and_in_operations(variable):
    assert re.search(rf"^#{variable}=", ENV_EXAMPLE, re.MULTILINE), f".env.example does not have {variable}"
    assert f"| `{variable}` |" in DOCS["operations.md"]


def test_the_example_file_and_operations_name_no_setting_that_does_not_exist():
    known = {*VARIABLES, "ADMIN_PASSWORD"}  # read by quickstart alone
    assert set(re.findall(r"^#([A-Z_]+)=", ENV_EXAMPLE, re.MULTILINE)) == known
    table = DOCS["operations.md"].partition("## Settings")[2].partition("## Commands")[0]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == known


def test_every_setting_in_the_example_file_has_a_sentence_above_it():
    pairs = itertools.pairwise(ENV_EXAMPLE.splitlines())
    bare = [line for before, line in pairs if re.match(r"#[A-Z_]+=", line) and not before.startswith("# ")]
    assert bare == []


# --- Arguments, commands, endpoints -------------------------------------------------------------------------


def test_every_special_argument_is_documented():
    page = DOCS["arguments.md"]
    assert [name for name in special_arguments() if f"| `{name}` |" not in page] == []


def test_no_special_argument_is_documented_that_does_not_exist():
    assert set(re.findall(r"^\| `(__\w+__)` \|", DOCS["arguments.md"], re.MULTILINE)) <= set(special_arguments())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_operations(command):
    assert re.search(rf"^\| `{command}[ `]", DOCS["operations.md"], re.MULTILINE)


def test_every_endpoint_is_in_the_api_page():
    paths = sorted(set(routes(get_resolver().url_patterns)))
    assert paths
    assert [path for path in paths if not named(path, DOCS["api.md"])] == []


# --- The README ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["manage.py quickstart", "-m pytest"])
def test_the_readme_opens_with_one_line_for_each(word):
    lines = [line for line in README.splitlines() if line.startswith("python3 -m venv") and word in line]
    assert len(lines) == 1
    assert README.index(lines[0]) < README.index("## ")
    for part in shlex.split(lines[0], posix=True):
        assert not part.startswith("/")


def test_every_link_between_pages_leads_somewhere():
    broken = []
    for name, text in {"README.md": README, **{f"docs/{name}": text for name, text in DOCS.items()}}.items():
        for target in re.findall(r"\]\(([^)#]+\.md)", text):
            if not (CHECKOUT / name).parent.joinpath(target).exists():
                broken.append(f"{name}: {target}")
    assert broken == []


def test_every_example_is_mentioned_by_what_it_does():
    # The README counts them; a new example changes the sentence.
    count = len(list((CHECKOUT / "examples").glob("*.py")))
    words = {5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    assert f"`examples` folder has {words[count]} functions" in README


def test_every_base_package_that_authors_rely_on_is_named():
    source = (CHECKOUT / "requirements-functions.in").read_text()
    wanted = set(re.findall(r"^([a-z0-9-]+)", source, re.MULTILINE)) - {"python-multipart", "typing-extensions"}
    page = DOCS["writing-functions.md"]
    assert [name for name in sorted(wanted) if name not in page] == []


# --- Locks -----------------------------------------------------------------------------------------------------


def pins(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (CHECKOUT / name).read_text(), re.MULTILINE):
        found.setdefault(package.lower(), set()).add(version)
    return found


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "requirements-functions.txt"])
def test_a_lock_has_hashes_and_names_no_host(lock):
    text = (CHECKOUT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    entries = re.findall(r"^\S+==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_server_and_the_base_packages_have_the_same_version_where_both_have_a_package():
    functions = pins("requirements-functions.txt")
    for lock in ("requirements.txt", "requirements-dev.txt"):
        server = pins(lock)
        assert {name: server[name] for name in server.keys() & functions.keys()} == {
            name: functions[name] for name in server.keys() & functions.keys()
        }


def test_what_functions_are_written_against_is_not_among_the_servers_packages():
    assert pins("requirements.txt").keys() & {"pydantic", "fastapi", "starlette", "httpx", "openai"} == set()


# --- The example file works ------------------------------------------------------------------------------------


def test_the_example_file_with_every_line_taken_in_is_the_default_configuration(tmp_path):
    values = dict(re.findall(r"^#([A-Z_]+)=(.*)$", ENV_EXAMPLE, re.MULTILINE))
    values |= {"DATA_DIR": str(tmp_path), "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"}
    values["FUNCTIONS_ENVIRONMENTS"] = str(tmp_path / "environments")
    said = [
        manage(tmp_path, "shell", "--command", SHOW_SETTINGS, **given).stdout.splitlines()[-1]
        for given in (values, dict.fromkeys(values, "") | {"DATA_DIR": str(tmp_path)})
    ]
    assert said[0] == said[1]


SHOW_SETTINGS = """
from django.conf import settings
names = "DEBUG ALLOWED_HOSTS CACHES CACHE_URL FUNCTIONS_POLICY FUNCTIONS_IMPORTS FUNCTIONS_MAX_BODY FUNCTIONS_THROTTLE LOG_FORMAT"
print({name: getattr(settings, name) for name in names.split()}, settings.DATABASES["default"]["ENGINE"])
"""


# --- Findings of checks -------------------------------------------------------------------------------


def test_the_table_of_findings_is_that_of_the_code():
    from pipeline_app.worker.checking.findings import CODES

    section = DOCS["api.md"].split("## Checking code")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (error|warning|info) \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(code, kind.severity, kind.meaning) for code, kind in CODES.items()]
