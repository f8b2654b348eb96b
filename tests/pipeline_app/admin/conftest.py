"""A way to read what a page of the admin says."""

from __future__ import annotations

import re
from html import unescape

import pytest


@pytest.fixture
def words():
    """Returns the text of a page's content, white space collapsed."""

    def read(response) -> str:
        body = response.content.decode().partition('<div id="content"')[2]
        return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())

    return read
