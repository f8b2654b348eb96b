"""A way to read what the admin tells."""

from __future__ import annotations

import pytest


@pytest.fixture
def told():
    """Returns the messages that an answer shows, one text each."""

    def read(response) -> list[str]:
        return [str(message) for message in response.context["messages"]]

    return read
