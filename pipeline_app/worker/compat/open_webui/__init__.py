"""Open WebUI as functions import it, written from what functions use of it.

What asks the server does so as the caller of the running hook may. Modules are loaded when a function imports them; a
name that is not here says so with what to use instead, at import or, where Open WebUI has it, when it is called.
"""

from __future__ import annotations

from ._finding import PACKAGE, install, unknown

__getattr__ = unknown(__name__)
if __name__ == PACKAGE:  # and not when it is imported by its place in the project
    install()
