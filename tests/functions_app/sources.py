"""Sources of functions for the tests of the data app, good and bad."""

from __future__ import annotations

PIPE = "class Pipe:\n    def pipe(self, body):\n        return 'hello'\n"
OTHER_PIPE = "class Pipe:\n    def pipe(self, body):\n        return 'good bye'\n"
FILTER = "class Filter:\n    def inlet(self, body):\n        return body\n"
SYNTAX_ERROR = "class Pipe:\n    def pipe(self, body)\n        return 'hello'\n"
NO_CLASS = "def pipe(body):\n    return 'hello'\n"
NO_CLASS_ERROR = "No Pipe, Filter, Action or Event class was found. Define one of them at the top level of the source."
RAISES = "class Pipe:\n    def __init__(self):\n        raise RuntimeError('no configuration')\n"


def with_valves(fields: str, user_fields: str = "") -> str:
    """Returns a pipe with the given lines in its ``Valves`` (and ``UserValves``)."""

    def model(name: str, lines: str) -> str:
        return f"    class {name}(BaseModel):\n" + "".join(f"        {line}\n" for line in lines.splitlines())

    users = model("UserValves", user_fields) if user_fields else ""
    return (
        "from pydantic import BaseModel, Field\n\n\nclass Pipe:\n"
        + model("Valves", fields)
        + users
        + "\n    def __init__(self):\n        self.valves = self.Valves()\n\n"
        + "    def pipe(self, body):\n        return 'hello'\n"
    )
