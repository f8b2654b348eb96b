from __future__ import annotations

import pytest

from functions_app.frontmatter import UnusableRequirement, read, requirements


def header(*lines: str) -> str:
    return '"""\n' + "\n".join(lines) + '\n"""\ncode: int = 1\n'


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("title: Hello", {"title": "Hello"}),
        ("title : x", {}),
        ("bad-key: x", {}),
        ("v2: x", {}),
        ("  author: me", {"author": "me"}),
        ("description: a: b # c", {"description": "a: b # c"}),
        ('desc: "x"', {"desc": '"x"'}),
        ("empty:", {"empty": ""}),
        ("https://host", {"https": "//host"}),
        ("Requirements: a", {"Requirements": "a"}),
        ("no pair at all", {}),
    ],
)
def test_lines_are_read_as_open_webui_reads_them(line, found):
    assert read(header(line)) == found


def test_the_last_of_repeated_keys_wins():
    assert read(header("a: 1", "a: 2")) == {"a": "2"}


def test_the_line_with_the_closing_quotes_is_lost():
    assert read('"""\ntitle: x\nversion: 1"""\nlater: 2\n') == {"title": "x"}


def test_without_closing_quotes_code_lines_become_keys():
    assert read('"""\ntitle: x\ntry:\nelse: 2\n') == {"title": "x", "try": "", "else": "2"}


def test_every_kind_of_line_end_ends_a_line():
    assert read('"""\r\na: 1\x0cb: 2\u2028c: 3\r\n"""') == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize(
    "source",
    [
        '\n"""\ntitle: x\n"""\n',
        '#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n"""\ntitle: x\n"""\n',
        '\ufeff"""\ntitle: x\n"""\n',
        "'''\ntitle: x\n'''\n",
        'r"""\ntitle: x\n"""\n',
        '"""title: x\n"""\n',
        '"""title: x"""\n',
        '\n"""\ntitle: x"""\n',
    ],
)
def test_other_spellings_are_read_where_open_webui_finds_nothing(source):
    assert read(source) == {"title": "x"}


@pytest.mark.parametrize("source", ["", "x: int = 1\n", '\n"""title: x\nbody: y\n', "import os\n'''\ntitle: x\n'''\n"])
def test_what_is_no_header_yields_nothing(source):
    assert read(source) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("requests", ["requests"]),
        ("a>=1,<2, b", ["a<2,>=1", "b"]),
        ("a[x,y]==1.0,b", ["a[x,y]==1.0", "b"]),
        ("a >= 1 , != 1.5 , b ~= 2.0", ["a!=1.5,>=1", "b~=2.0"]),
        ("a; python_version < '3.12', b", ['a; python_version < "3.12"', "b"]),
        ("a,,b,", ["a", "b"]),
        ("a,a", ["a"]),
    ],
)
def test_commas_separate_packages_only_between_packages(text, found):
    assert requirements({"requirements": text}) == found


def test_the_key_may_be_in_any_case():
    assert requirements({"Requirements": "a"}) == ["a"]
    assert requirements({}) == []


@pytest.mark.parametrize("text", ["zope.interface", "discord.py>=2", "backports.zstd", "a===1.0", "a; extra == 'x'"])
def test_names_and_versions_that_look_odd_are_taken(text):
    assert len(requirements({"requirements": text})) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a @ file:///etc/a.whl", "refused"),
        ("a @ ./a", "refused"),
        ("${HOME}/a", "refused"),
        ("a; os_name == '${HOME}'", "refused"),
        ("~/a", "refused"),
        (r"C:\a", "refused"),
        ("a.tar.gz", "refused"),
        ("a.zip ; os_name == 'x'", "refused"),
        ("git@example.org:a", "refused"),
        ("a\x00b", "refused"),
        ("a" * 501, "refused"),
        (",".join(f"a{number}" for number in range(101)), "refused"),
        ("a b", "malformed"),
        ("\ud800", "malformed"),
        ("a; python_full_version ~= 'x'", "malformed"),
    ],
)
def test_what_is_more_or_less_than_a_package_is_refused(text, code):
    with pytest.raises(UnusableRequirement, match=r"^The requirement .* is not a valid one: .*\.$") as caught:
        requirements({"requirements": text})
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("'lens'", "write packages without quotes"),
        ('"lens>=1", "glass"', "write packages without quotes"),
        ("lens  # for the eyes", "comments are not taken; leave out what begins with #"),
        ("[lens, glass]", "write packages with commas between them, without brackets"),
        ("pip install lens", "write the package alone"),
        ("lens glass==1.0", "put commas between packages"),
        ("lens; glass", "put commas between packages"),
        ("lens=1.0", "an exact version is asked for with two signs, as in package==1.0"),
        ("lens==latest", "name a version such as 1.0, or none for the newest"),
        ("N/A", "where nothing is needed, leave the line out"),
    ],
)
def test_what_to_write_instead_is_said(text, instead):
    with pytest.raises(UnusableRequirement) as caught:
        requirements({"requirements": text})
    assert caught.value.reason == instead


@pytest.mark.parametrize("text", ["none", "None", " NONE ", "none,"])
def test_none_is_no_package(text):
    assert requirements({"requirements": text}) == []


def test_a_malformed_requirement_gets_a_sentence():
    with pytest.raises(ValueError, match=r"^The requirement '-r file' in the frontmatter is not a valid one: .*\.$"):
        requirements({"requirements": "a, -r file"})
