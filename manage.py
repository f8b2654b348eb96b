#!/usr/bin/env python
"""Entry point of every management command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webui_functions.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            "Django is not installed for this Python. Set up the environment first:\n"
            "  python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n"
            f"({error})"
        ) from error
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
