"""What is said of a frontmatter and the packages that it asks for."""

from __future__ import annotations

import pytest

from pipeline_app.checking import header


def said(source):
    """Returns what is said as ``{"code line:column-end": message}``."""
    return {f"{one.code} {one.line}:{one.column}-{one.end_column}": one.message for one in header.of_source(source)}


def of(*lines):
    return said("\n".join(['"""', "title: Greeter", *lines, '"""', ""]))


def test_a_good_header_is_not_mentioned():
    assert of("author: alice", "version: 1.0", "required_open_webui_version: 0.5.0", "requirements: requests") == {}
    assert of("A sentence: with a colon.", "https://example.org/", "", "  indented: yes") == {}


def test_a_function_has_a_title():
    assert said("class Pipe: ...\n") == {
        "missing-title None:None-None": "There is no frontmatter, so the function has no title: begin with three double "
        'quotes, a line "title: ...", and three double quotes.'
    }
    assert said('"""\nauthor: alice\n"""\n') == {
        "missing-title 1:1-1": "The frontmatter has no title: add a line title: ..."
    }


def test_keys_that_are_not_read():
    assert of("description : x") == {
        "frontmatter-key 3:1-12": "The line is not read, because there is space before its colon. Write description: ..."
    }
    assert of("icon-url: x") == {
        "frontmatter-key 3:1-9": "The line is not read, because a key has letters and underscores only. Write icon_url: ..."
    }
    assert of("requirement: requests") == {
        "frontmatter-key 3:1-12": "requirement is read by nobody. Did you mean requirements?"
    }


def test_keys_in_other_case():
    assert of("Requirements: requests") == {
        "frontmatter-case 3:1-13": "Keys are written in lower case: Requirements is read by this server, and not by Open "
        "WebUI. Write requirements."
    }
    assert of("description: x", "Description: of something else") == {}


def test_what_is_lost_and_what_stands_there_twice():
    assert said('"""\ntitle: x\nversion: 1"""\n') == {
        "frontmatter-lost 3:1-11": "version stands on the line of the closing quotes and is not read: close on a line of "
        "its own."
    }
    assert of("requirements: requests,", "  httpx") == {
        "frontmatter-lost 4:1-8": "A value ends with its line: put all requirements on the one line."
    }
    assert of("title: Other") == {"frontmatter-duplicate 3:1-6": "title stands on line 2 as well; this one counts."}


def test_a_header_that_open_webui_does_not_read():
    position = "The frontmatter does not begin on line 1 with three double quotes alone; Open WebUI does not read it."
    assert said("# a comment\n'''\ntitle: x\n'''\n") == {"frontmatter-position 2:1-1": position}


def test_the_required_version_is_a_version():
    assert of("required_open_webui_version: >= 0.5") == {
        "frontmatter-version 3:30-36": "required_open_webui_version is '>= 0.5', which is no version such as 0.5.0."
    }


@pytest.mark.parametrize(
    ("value", "places", "message"),
    [
        ("not a package", "invalid-requirement 3:15-28", "'not a package' is no requirement such as package>=1.0: "),
        (
            "git+https://example.org/x",
            "invalid-requirement 3:15-40",
            "'git+https://example.org/x' is no requirement such as package>=1.0: packages come from the index by name, ",
        ),
        (
            "thing @ https://example.org/thing.whl",
            "invalid-requirement 3:15-52",
            "'thing @ https://example.org/thing.whl' is no requirement such as package>=1.0: packages come from the index ",
        ),
        (
            "-r x.txt",
            "invalid-requirement 3:15-23",
            "'-r x.txt' is no requirement such as package>=1.0: options are not ",
        ),
        (
            "requests, sklearn",
            "mistaken-requirement 3:25-32",
            "sklearn is the name of a module, and the package that brings it is scikit-learn: ask for that.",
        ),
        ("requests, Requests", "duplicate-requirement 3:25-33", "Requests is required twice."),
        ("requests, asyncio", "needless-requirement 3:25-32", "asyncio comes with Python itself: leave it out."),
        ("open-webui", "needless-requirement 3:15-25", "open-webui comes with this server: leave it out."),
        (
            "requests>=2,<3",
            "requirement-comma 3:15-29",
            "Open WebUI splits 'requests>=2,<3' at its comma; write it without one if it is to work there too.",
        ),
        (
            "forbidden",
            "unavailable-requirement 3:15-24",
            "forbidden may not be installed on this server (FUNCTIONS_PACKAGES).",
        ),
    ],
)
def test_requirements(value, places, message, settings):
    settings.FUNCTIONS_PACKAGES = {"deny": ["forbidden"]}
    found = of(f"requirements: {value}")
    assert list(found) == [places]
    assert found[places].startswith(message)


def test_the_packages_of_a_source_are_normalised_names():
    assert header.packages('"""\ntitle: x\nrequirements: Google_GenAI>=1,<2, not a package, pillow[extra]\n"""\n') == [
        "google-genai",
        "pillow",
    ]


def test_what_may_be_installed_is_no_problem():
    assert of("requirements: nobody-has-this") == {}


def test_what_publishing_installs_is_awaited():
    source = '"""\ntitle: x\nrequirements: pydantic, some-package>=1,<2, not a package, pydantic==0.1\n"""\n'
    assert header.awaited(source) == ["some-package>=1,<2", "pydantic==0.1"]


def test_a_failure_is_told_where_the_requirements_stand():
    source = '"""\ntitle: x\nrequirements: some-package\n"""\n'
    (found,) = header.of_failure(source, "It is not in the index.")
    assert (found.code, found.line, found.column, found.end_column) == ("unavailable-requirement", 3, 15, 27)
    assert found.message == "When this was last tried, it could not be installed. It is not in the index."
    assert list(header.of_failure(source, "")) == []
    assert list(header.of_failure("x = 1", "It is not in the index.")) == []
