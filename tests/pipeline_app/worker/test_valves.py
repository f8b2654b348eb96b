"""Valves are each call's own, fit the author's model, and come with their schema."""

from __future__ import annotations

import asyncio

import pytest

from pipeline_app.worker.calls import Call
from pipeline_app.worker.errors import HookError, ValvesError
from pipeline_app.worker.valves import options, validate

from .helpers import items, loaded, sample, value

SHARING = """
    import asyncio, threading, time, random
    from pydantic import BaseModel
    class Filter:
        class Valves(BaseModel):
            number: int = -1
        class UserValves(BaseModel):
            number: int = -1
        def __init__(self):
            self.valves = self.Valves(number=-2)
            self.seen = []
        async def inlet(self, body, __user__):
            for _ in range(3):
                await asyncio.sleep(random.random() / 100)
                assert self.valves.number == body["number"] == __user__["valves"].number
            body["found"] = self.valves.number
        def outlet(self, body, __user__):
            for _ in range(3):
                time.sleep(random.random() / 100)
                assert self.valves.number == body["number"] == __user__["valves"].number
            self.valves = self.Valves(number=self.valves.number + 1000)
            body["found"] = self.valves.number - 1000
        def request(self, body):
            seen = []
            thread = threading.Thread(target=lambda: seen.append(self.valves.number))
            thread.start(); thread.join()
            body["found"] = seen[0]
    class Pipe_(Filter): pass
"""


def test_two_hundred_concurrent_calls_see_their_own_valves():
    function = loaded(SHARING)
    user = {"id": "bob"}

    async def one(hook, number):
        answer = await Call(
            function, hook, {"number": number}, {"user": user}, {"number": number}, {"number": number}
        ).value()
        return answer["found"] == number

    async def story():
        return await asyncio.gather(*(one(("inlet", "outlet")[n % 2], n) for n in range(200)))

    assert all(asyncio.run(story()))
    assert user == {"id": "bob"}


def test_generators_keep_their_valves_over_every_pull():
    function = loaded("""
        import asyncio
        from contextvars import ContextVar
        from pydantic import BaseModel
        mine = ContextVar("mine", default="none")
        class Pipe:
            class Valves(BaseModel):
                number: int = -1
            def __init__(self): self.valves = self.Valves()
            async def pipe(self, body):
                if body["sync"]:
                    yield "no"
                token = mine.set("set")
                for _ in range(5):
                    await asyncio.sleep(0.001)
                    yield {"n": self.valves.number, "mine": mine.get()}
                mine.reset(token)
                yield mine.get()
    """)
    plain = loaded("""
        import time
        from contextvars import ContextVar
        from pydantic import BaseModel
        mine = ContextVar("mine", default="none")
        class Pipe:
            class Valves(BaseModel):
                number: int = -1
            def __init__(self): self.valves = self.Valves()
            def pipe(self, body):
                token = mine.set("set")
                for _ in range(5):
                    time.sleep(0.001)
                    yield {"n": self.valves.number, "mine": mine.get()}
                mine.reset(token)
                yield mine.get()
    """)

    async def one(which, number):
        said = []
        async for batch in Call(which, "pipe", {"sync": False}, {}, {"number": number}).items():
            said += batch
        return said == [{"n": number, "mine": "set"}] * 5 + ["none"]

    async def story():
        return await asyncio.gather(*(one((function, plain)[n % 2], n) for n in range(60)))

    assert all(asyncio.run(story()))


def test_outside_a_call_the_last_injected_values_count_and_before_any_those_of_init():
    function = loaded(SHARING)
    assert function.instance.valves.number == -2
    assert value(function, "request", {}, valves={"number": 5}) == {"found": 5}
    assert function.instance.valves.number == 5
    value(function, "outlet", {"number": 8}, {"user": {}}, valves={"number": 8}, user_valves={"number": 8})
    assert function.instance.valves.number == 8  # not 1008: what a call assigns stays in the call
    function.instance.valves = function.instance.Valves(number=3)
    assert function.instance.valves.number == 3


def test_an_async_generator_does_not_leak_its_scope_to_the_consumer():
    from pipeline_app.worker.scope import current

    function = loaded("class Pipe:\n    async def pipe(self, body):\n        yield 'a'\n        yield 'b'\n")

    async def story():
        async for _ in Call(function, "pipe", {}).items():
            assert current.get() is None

    asyncio.run(story())


def test_without_an_attribute_valves_nothing_is_injected():
    function = loaded(
        "class Pipe:\n    class Valves:\n        pass\n    def pipe(self, body): return str(hasattr(self, 'valves'))"
    )
    assert items(function, valves={"a": 1}) == ["False"]


def test_nulls_mean_defaults_and_values_that_do_not_fit_are_a_sentence():
    function = sample("greeter")
    assert items(function, {}, {"user": {"name": "Bob"}}, valves={"greeting": None}) == ["Hello, Bob (dry)"]
    with pytest.raises(HookError) as caught:
        items(function, {}, {"user": {"name": "Bob"}}, valves={"priority": "high"})
    assert caught.value.data["message"] == (
        "The stored valves of greeter do not fit its code: priority: Input should be a valid integer, unable to parse "
        "string as an integer. Change them, or the code."
    )


def test_user_valves_that_no_longer_fit_are_defaults_and_do_not_lock_the_user_out():
    function = loaded("""
        from pydantic import BaseModel
        class Pipe:
            class UserValves(BaseModel):
                a: int = 1
                b: int = 2
            def pipe(self, body, __user__):
                return f"{__user__['valves'].a} {dict(__user__['valves'])['b']}"
    """)
    assert items(function, {}, {"user": {}}, user_valves={"a": "x", "b": 5}) == ["1 5"]


def test_of_user_valves_that_do_not_fit_together_the_first_win():
    function = loaded("""
        from pydantic import BaseModel, model_validator
        class Pipe:
            class UserValves(BaseModel):
                needed: str
                low: int = 1
                high: int = 5
                @model_validator(mode="after")
                def check(self):
                    if self.low > self.high:
                        raise ValueError("low is above high")
                    return self
            def pipe(self, body, __user__):
                valves = __user__['valves']
                return f"{valves.needed} {valves.low} {valves.high}"
    """)
    # Administrators' fixed values come first.
    stored = {"high": 2, "needed": "x", "low": 3}
    assert items(function, {}, {"user": {}}, user_valves=stored) == ["x 1 2"]


def test_values_that_do_not_fit_are_not_repeated_in_errors_and_logs(caplog):
    function = loaded("""
        from pydantic import BaseModel
        class Pipe:
            class Valves(BaseModel):
                size: int = 1
            class UserValves(BaseModel):
                needed: int
            def __init__(self):
                self.valves = self.Valves()
            def pipe(self, body, __user__):
                return str(__user__.get("valves"))
    """)
    with pytest.raises(HookError) as caught:
        items(function, {}, {"user": {}}, valves={"size": "sk-secret"})
    assert "sk-secret" not in str(caught.value.data)
    items(function, {}, {"user": {}}, user_valves={"needed": "sk-secret"})
    assert "cannot be made: needed: Field required" in caplog.text
    assert "sk-secret" not in caplog.text


def test_neither_does_a_validator_that_changed_its_mind_repeat_them(caplog):
    function = loaded("""
        from pydantic import BaseModel, model_validator
        class Strict(BaseModel):
            key: str = ""
            more: list[str] = []
            @model_validator(mode="after")
            def check(self):
                if self.key:
                    raise ValueError(f"{self.key} has expired, and so has {self.more}")
                return self
        class Own:
            def __init__(self, key="", more=()):
                if key:
                    raise RuntimeError(f"{key!r} is used up")
        class Pipe:
            Valves = Strict
            class UserValves(Strict):
                needed: int
            def __init__(self):
                self.valves = self.Valves()
            def pipe(self, body, __user__):
                return str(__user__.get("valves"))
    """)
    secrets = {"key": "sk-'old\nkey", "more": ["sk-other"]}
    for model in ("Strict", "Own"):
        function.instance.Valves = getattr(function.module, model)
        with pytest.raises(HookError) as caught:
            items(function, {}, {"user": {}}, valves=secrets)
        assert "sk-" not in str(caught.value.data), caught.value.data
        assert "***" in caught.value.data["message"]
    items(function, {}, {"user": {}}, user_valves=secrets)
    assert "cannot be made" in caplog.text
    assert "sk-" not in caplog.text


def test_validation_keeps_what_was_set_as_the_model_keeps_it():
    function = sample("greeter")
    assert validate(function, "valves", {"priority": "3", "greeting": None, "unknown": 1}) == {"priority": 3}
    with pytest.raises(ValvesError) as caught:
        validate(function, "valves", {"priority": "x"})
    assert caught.value.errors == [
        {"loc": ["priority"], "msg": "Input should be a valid integer, unable to parse string as an integer"}
    ]
    with pytest.raises(ValvesError, match=r"^valves: other has no Valves\.$"):
        validate(loaded("class Pipe: pass", "other"), "valves", {})


def test_options_are_resolved_for_the_user_who_asks():
    function = sample("greeter")
    model = options(function, "valves", {"name": "Bob"})["properties"]["model"]
    assert model["input"] == {"type": "select", "options": [{"value": "a", "label": "A for Bob"}]}
    assert value(function, "options", {"scope": "valves"}, {"user": {"name": "Al"}})["properties"]["model"]["input"][
        "options"
    ] == [{"value": "a", "label": "A for Al"}]
    assert options(loaded("class Pipe: pass"), "user_valves", None) is None


def test_options_that_fail_leave_the_name_of_their_method():
    function = loaded("""
        from pydantic import BaseModel, Field
        class Pipe:
            class Valves(BaseModel):
                a: str = Field("", json_schema_extra={"input": {"options": "missing"}})
                b: str = Field("", json_schema_extra={"input": {"options": "failing"}})
                c: str = Field("", json_schema_extra={"input": {"options": "coro"}})
                @staticmethod
                def failing(): raise ValueError("no")
                @staticmethod
                async def coro(): return []
            def __init__(self): self.valves = self.Valves()
    """)
    properties = options(function, "valves", None)["properties"]
    assert [properties[name]["input"]["options"] for name in "abc"] == ["missing", "failing", "coro"]
