"""What an upload is called and what it is."""

from __future__ import annotations

import pytest

from functions_app.uploads import HEAD, NAME_LENGTH, UNKNOWN, clean_name, disposition, is_allowed, kind_of

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("notes.txt", "notes.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\bob\\notes.txt", "notes.txt"),
        ("a\0b\r\nc.txt", "abc.txt"),
        ("in\u202etxt.exe", "intxt.exe"),
        ("lone \ud800 half.txt", "lone  half.txt"),
        ("Grüße 猫.txt", "Grüße 猫.txt"),
        ("u\u0308ber.txt", "über.txt"),
        ("family 👨\u200d👩\u200d👧.png", "family 👨\u200d👩\u200d👧.png"),
        ("..", "file"),
        ("", "file"),
        ("   ", "file"),
        ("\u200d", "file"),
        ("folder/", "file"),
        ("trailing. . ", "trailing. "),
    ],
)
def test_a_name_loses_what_is_no_part_of_a_name(given, kept):
    assert clean_name(given) == kept.rstrip() or clean_name(given) == kept


def test_a_long_name_keeps_its_extension():
    short = clean_name("x" * 5000 + ".pdf")
    assert short.endswith("x.pdf") and len(short) <= NAME_LENGTH
    assert len(clean_name("." + "y" * 5000)) <= NAME_LENGTH


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("a.png", PNG, "image/png"),
        ("a.txt", PNG, "image/png"),
        ("a.png", b"<script>alert(1)</script>", UNKNOWN),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        ("a.html", b"<html>", "text/html"),
        ("a.pdf", b"%PDF-1.7", "application/pdf"),
        ("a.pdf", b"MZ\0\0", UNKNOWN),
        ("a.docx", b"PK\x03\x04....", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.zip", b"PK\x03\x04....", "application/zip"),
        ("a.csv", b"a,b\n1,2\n", "text/csv"),
        ("a.csv", b"a\0b", UNKNOWN),
        ("a.json", b"{}", "application/json"),
        ("a.ts", b"const a = 1", "text/plain"),
        ("README", b"hello", "text/plain"),
        ("README", b"\x00\x01", UNKNOWN),
        ("BMW.txt", b"BMW builds cars", "text/plain"),
        ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        ("a.mp4", b"\0\0\0\x18ftypmp42", "video/mp4"),
        ("empty.txt", b"", "text/plain"),
        ("long.txt", b"a" * (HEAD - 1) + "ü".encode()[:1], "text/plain"),
    ],
)
def test_the_type_is_told_from_content_and_name(name, head, kind):
    assert kind_of(name, head) == kind


def test_only_what_is_really_a_picture_a_sound_or_a_film_is_shown_in_a_page():
    assert disposition("a.png", kind_of("a.png", PNG)) == 'inline; filename="a.png"'
    assert disposition("a.png", "image/png", download=True) == 'attachment; filename="a.png"'
    for name, head in (("a.svg", b"<svg/>"), ("a.html", b"<html>"), ("a.pdf", b"%PDF-"), ("a.png", b"<script>")):
        assert disposition(name, kind_of(name, head)).startswith("attachment; ")


def test_a_name_beyond_ascii_is_said_both_ways():
    said = disposition('Grüße "1".txt', "text/plain")
    assert said == "attachment; filename=\"Gr__e _1_.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%221%22.txt"


def test_a_list_of_types_takes_types_families_and_endings():
    assert is_allowed("a.bin", UNKNOWN, [])
    assert is_allowed("a.png", "image/png", ["image/*"])
    assert is_allowed("a.PDF", "application/pdf", [" .pdf "])
    assert is_allowed("a.txt", "text/plain", ["TEXT/plain"])
    assert not is_allowed("a.html", "text/html", ["text/plain", "image/*", ".pdf"])
