"""Poisoned manifests and lists of models: what a function says of itself before anybody calls it."""

from __future__ import annotations

from tests.hostile.cases.case import ANSWER, ANY_ERROR, NOT_FOUND, REFUSED, UNHARMED, WORKS, Chapter

case = Chapter(
    "Poisoned manifests",
    expect=(REFUSED, ANSWER, WORKS, NOT_FOUND, *ANY_ERROR),
    layer="load limit, checks of manifests",
    runs="publish",
    policy={"time_limit": {"load": 4, "pipe": 3}},
)
TAIL = "\n    def pipe(self, body):\n        return 'works'\n"

case(340, "a manifest of 100 MB", "class Pipe:\n    name = 'x' * (100 << 20)" + TAIL)
case(
    341,
    "a schema of many megabytes",
    "from typing import Literal\nfrom pydantic import BaseModel, Field\n\nclass Pipe:\n    class Valves(BaseModel):\n        a: str = Field('', description='x' * (8 << 20))\n    def __init__(self):\n        self.valves = self.Valves()\n"
    + TAIL,
)
case(
    342,
    "a default with an evil repr",
    "from pydantic import BaseModel\n\nclass Evil:\n    def __repr__(self):\n        raise SystemExit\n    __str__ = __repr__\n    __deepcopy__ = None\n\nclass Pipe:\n    class Valves(BaseModel, arbitrary_types_allowed=True):\n        a: object = Evil()\n    def __init__(self):\n        self.valves = self.Valves()\n"
    + TAIL,
)
case(
    343,
    "hostile static pipes",
    "class Pipe:\n    pipes = [{'id': '../../etc\\r\\nX: y', 'name': 'x' * 100_000}, {'id': 'a' * 100_000, 'name': '\\x00\\ud800'}] * 50\n"
    + TAIL,
)
case(
    344,
    "a metaclass that answers everything",
    """
    class Meta(type):
        def __getattr__(cls, name):
            return cls
        def __call__(cls, *a, **k):
            return cls
        def __instancecheck__(cls, other):
            return True

    class Pipe(metaclass=Meta):
        pass
    """,
)
case(
    345,
    "a signature that lies",
    """
    import inspect

    class Lie:
        def __call__(self, *a, **k):
            return 'works'
        @property
        def __signature__(self):
            raise SystemExit
        __wrapped__ = property(lambda self: self)

    class Pipe:
        pipe = Lie()
    """,
)
case(
    346,
    "a priority that is no number",
    "from pydantic import BaseModel\n\nclass Pipe:\n    class Valves(BaseModel):\n        priority: float = float('inf')\n    def __init__(self):\n        self.valves = self.Valves()\n    toggle = {'a': 1}\n    icon_url = 'javascript:alert(1)//' + 'x' * 100_000\n    actions = [{'id': '../x', 'name': {'a': 1}}, 5, None]\n"
    + TAIL,
)
case(
    347,
    "a manifest forged by changing the worker's modules",
    """
    import sys
    forged = {"kind": "pipe", "hooks": {"pipe": {"async": "x", "generator": 5, "parameters": {"a": 1}, "required": 5, "kwargs": []}},
              "valves": {"properties": 5}, "user_valves": [], "priority": "high", "pipes": {"a": 1}, "name": ["x"], "toggle": "x",
              "icon": 5, "file_handler": {}, "actions": "abc", "warnings": 5, "imports": {"a": 1}}
    for name, module in list(sys.modules.items()):
        if name.startswith("pipeline_app"):
            for key in ("manifest", "facts"):
                if callable(getattr(module, key, None)):
                    setattr(module, key, lambda *given, **named: forged)

    class Pipe:
        def pipe(self, body):
            return "works"
    """,
)
case(
    348,
    "a manifest of a kind that there is not",
    """
    import sys
    for name, module in list(sys.modules.items()):
        if name.startswith("pipeline_app") and callable(getattr(module, "manifest", None)):
            module.manifest = lambda *given, **named: {"kind": "superuser' OR 1=1", "hooks": None}

    class Pipe:
        def pipe(self, body):
            return "works"
    """,
)
case(
    349,
    "a manifest that is no object",
    """
    import sys
    for name, module in list(sys.modules.items()):
        if name.startswith("pipeline_app") and callable(getattr(module, "manifest", None)):
            module.manifest = lambda *given, **named: [[[[5]]]]

    class Pipe:
        def pipe(self, body):
            return "works"
    """,
)
case(
    350,
    "threads started while loading",
    "def spin():\n    while True:\n        pass\n\nfor _ in range(3):\n    threading.Thread(target=spin, daemon=True).start()\n\nclass Pipe:"
    + TAIL,
)
case(
    351,
    "memory taken while loading",
    "kept = []\nwhile True:\n    kept.append(bytearray(8 << 20))\n\nclass Pipe:" + TAIL,
)
case(352, "a source that is one deep expression", "x = " + "(" * 3000 + "1" + ")" * 3000 + "\n\nclass Pipe:" + TAIL)
case(353, "a source of a hundred thousand branches", "if 0: pass\n" + "elif 0: pass\n" * 3000 + "\nclass Pipe:" + TAIL)
case(354, "frontmatter of a million lines", '"""\ntitle: x\n' + "a: b\n" * 100_000 + '"""\n\nclass Pipe:' + TAIL)

# --- The list of models

pipes = Chapter(
    "Poisoned lists",
    expect=UNHARMED,
    layer="limits of pipes()",
    runs="models",
    policy={"time_limit": {"pipes": 2, "pipe": 3}},
)

pipes(
    356,
    "a million sub-pipes",
    "class Pipe:\n    def pipes(self):\n        return [{'id': str(n), 'name': 'x'} for n in range(1_000_000)]\n"
    + TAIL,
)
pipes(
    357,
    "sub-pipes with hostile ids",
    "class Pipe:\n    def pipes(self):\n        return [{'id': '../../bystander', 'name': 'x'}, {'id': '\\r\\nX: y', 'name': {'a': 1}}, {'id': ['x'], 'name': None}, 5, None, {'id': 'y' * 200_000, 'name': '\\ud800'}, {}]\n"
    + TAIL,
)
pipes(
    358,
    "pipes() that never answers",
    "class Pipe:\n    def pipes(self):\n        while True:\n            pass\n" + TAIL,
    seconds=3,
)
pipes(359, "pipes() that kills its worker", "class Pipe:\n    def pipes(self):\n        os.abort()\n" + TAIL)
