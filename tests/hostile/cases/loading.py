"""Sources that never finish loading, or load into something harmful."""

from __future__ import annotations

from tests.hostile.cases.case import ANSWER, REFUSED, WORKS, Chapter

case = Chapter(
    "Loading",
    expect=(REFUSED,),
    layer="load limit",
    runs="publish",
    policy={"time_limit": {"load": 2}, "memory_mb": 192},
)
PIPE = "\n\nclass Pipe:\n    def pipe(self, body):\n        return 'works'\n"

case(182, "infinite loop at import", "while True:\n    pass" + PIPE, seconds=3)
case(183, "exit at import", "sys.exit(1)" + PIPE)
case(
    184,
    "syntax error",
    """
    class Pipe:
        def pipe(self, body)
            return 1
    """,
)
case(
    185,
    "no class",
    """
    class Pipe_:
        pass

    Other = 'class Pipe'
    """,
)
case(
    186,
    "hostile valves schema",
    """
    from pydantic import BaseModel

    class Pipe:
        class Valves(BaseModel):
            a: str = "x"

            @classmethod
            def model_json_schema(cls, *given, **named):
                made = {}
                for _ in range(100_000):
                    made = {"properties": made}
                return made

        def __init__(self):
            self.valves = self.Valves()

        def pipe(self, body):
            return "works"
    """,
    expect=(REFUSED, ANSWER, WORKS),
)
case(
    187,
    "huge source",
    "class Pipe:\n    def pipe(self, body):\n        return 'works'\n\n" + "x = 1\n" * 400_000,
    expect=(REFUSED, WORKS, ANSWER),
    seconds=3,
)
