"""One method for callers that await it and for callers that do not: every row of what callers do with a call."""

from __future__ import annotations

import asyncio
import importlib
import textwrap
from contextvars import ContextVar

import pytest

from pipeline_app.worker import compat
from pipeline_app.worker.threads import InContext
from tests.pipeline_app.worker.helpers import items, loaded
from tests.pipeline_app.worker.test_compat import HEAD, Answers, forget_the_package, said

__all__ = ["forget_the_package"]

A, S = "awaited", "sync"

SPELLINGS = {
    # Directly awaited, in any position.
    "awaited in a test": ("if await Users.get_user_by_id('nobody'):\n    return 'found'\nreturn 'none'", A),
    "awaited as an argument": ("return repr(await Users.get_user_by_id('nobody')).lower()", A),
    "awaited with keywords": ("return str(await Users.get_user_by_id(**{'id': 'nobody'})).lower()", A),
    "awaited in a dict": ("return str({i: await Users.get_user_by_id(i) for i in ['no']}['no']).lower()", A),
    "awaited in a generator": (
        "return str([u async for u in (await Users.get_user_by_id(i) for i in ['no'])][0]).lower()",
        A,
    ),
    "awaited in an f-string": ("return f\"{await Users.get_user_by_id('no')}\".lower()", A),
    "awaited in parentheses": ("return str(await (Users\n    .get_user_by_id('no'))).lower()", A),
    "awaited, one of two": ("return str(await (Users.get_user_by_id('no') if body is not None else 1)).lower()", A),
    "awaited, or else": ("return str(await (None or Users.get_user_by_id('no'))).lower()", A),
    "awaited under another name": ("get = Users.get_user_by_id\nreturn str(await get('no')).lower()", A),
    "awaited with getattr": ("return str(await getattr(Users, 'get_user_by_id')('no')).lower()", A),
    "awaited in a try": (
        "try:\n    user = await Users.get_user_by_id('no')\nexcept Exception:\n    raise\nreturn str(user).lower()",
        A,
    ),
    "partial": ("import functools\nreturn str(await functools.partial(Users.get_user_by_id, 'no')()).lower()", A),
    # Taken by asyncio.
    "ensure_future": ("return str(await asyncio.ensure_future(Users.get_user_by_id('no'))).lower()", A),
    "task of a loop": (
        "return str(await asyncio.get_running_loop().create_task(Users.get_user_by_id('no'))).lower()",
        A,
    ),
    "task group": (
        "async with asyncio.TaskGroup() as group:\n    task = group.create_task(Users.get_user_by_id('no'))\nreturn str(task.result()).lower()",
        A,
    ),
    "named list gathered": (
        "tasks = [Users.get_user_by_id(i) for i in ['no']]\nreturn str((await asyncio.gather(*tasks))[0]).lower()",
        A,
    ),
    "list filled and gathered": (
        "tasks = []\nfor i in ['no']:\n    tasks.append(Users.get_user_by_id(i))\nreturn str((await asyncio.gather(*tasks))[0]).lower()",
        A,
    ),
    "dict gathered": (
        "tasks = {i: Users.get_user_by_id(i) for i in ['no']}\nreturn str((await asyncio.gather(*tasks.values()))[0]).lower()",
        A,
    ),
    "one by one": ("for task in [Users.get_user_by_id('no')]:\n    user = await task\nreturn str(user).lower()", A),
    "as they come": (
        "for task in asyncio.as_completed([Users.get_user_by_id('no')]):\n    return str(await task).lower()",
        A,
    ),
    "run in a thread": (
        "return str(await asyncio.to_thread(lambda: asyncio.run(Users.get_user_by_id('no')))).lower()",
        A,
    ),
    "run, imported": (
        "from asyncio import run as go\nreturn str(await asyncio.to_thread(lambda: go(Users.get_user_by_id('no')))).lower()",
        A,
    ),
    "run, another name": (
        "import asyncio as aio\nreturn str(await aio.to_thread(lambda: aio.run(Users.get_user_by_id('no')))).lower()",
        A,
    ),
    "run, submitted": (
        "with concurrent.futures.ThreadPoolExecutor() as pool:\n    return str(pool.submit(asyncio.run, Users.get_user_by_id('no')).result()).lower()",
        A,
    ),
    "runner": (
        "def work():\n    with asyncio.Runner() as runner:\n        return runner.run(Users.get_user_by_id('no'))\nreturn str(await asyncio.to_thread(work)).lower()",
        A,
    ),
    "loop of a thread": (
        "def work():\n    loop = asyncio.new_event_loop()\n    try:\n        return loop.run_until_complete(Users.get_user_by_id('no'))\n    finally:\n        loop.close()\nreturn str(await asyncio.to_thread(work)).lower()",
        A,
    ),
    "over to the loop": (
        "loop = asyncio.get_running_loop()\ndef work():\n    return asyncio.run_coroutine_threadsafe(Users.get_user_by_id('no'), loop).result()\nreturn str(await asyncio.to_thread(work)).lower()",
        A,
    ),
    # Kept and awaited later.
    "kept in two names": ("one, two = Users.get_user_by_id('no'), 2\nreturn str(await one).lower()", A),
    "kept on self": ("self.asking = Users.get_user_by_id('no')\nreturn str(await self.asking).lower()", A),
    "kept in a walrus": ("return str(await asking).lower() if (asking := Users.get_user_by_id('no')) else 'no'", A),
    "kept for a function inside": (
        "asking = Users.get_user_by_id('no')\nasync def later():\n    return await asking\nreturn str(await later()).lower()",
        A,
    ),
    "iscoroutine": (
        "r = Users.get_user_by_id('no')\nif inspect.iscoroutine(r):\n    r = await r\nreturn str(r).lower()",
        A,
    ),
    "to a function that awaits": (
        "async def finish(asking):\n    return await asking\nreturn str(await finish(Users.get_user_by_id('no'))).lower()",
        A,
    ),
    "to a function that runs": (
        "def run(coro):\n    def work():\n        return asyncio.run(coro)\n    with concurrent.futures.ThreadPoolExecutor() as pool:\n        return pool.submit(work).result()\nreturn str(run(Users.get_user_by_id('no'))).lower()",
        A,
    ),
    "to a function that may await": (
        "async def maybe(value):\n    return await value if inspect.isawaitable(value) else value\nreturn str(await maybe(Users.get_user_by_id('no'))).lower()",
        A,
    ),
    "called for by a helper": (
        "async def call(method, *args):\n    found = method(*args)\n    if inspect.isawaitable(found):\n        found = await found\n    return found\nreturn str(await call(Users.get_user_by_id, 'no')).lower()",
        A,
    ),
    "mapped and gathered": (
        "return str((await asyncio.gather(*map(lambda i: Users.get_user_by_id(i), ['no'])))[0]).lower()",
        A,
    ),
    # Returned, and awaited by whoever gets it.
    "lambda": ("get = lambda i: Users.get_user_by_id(i)\nreturn str(await get('no')).lower()", A),
    "two functions": (
        "def one(i):\n    return Users.get_user_by_id(i)\ndef two(i):\n    return one(i)\nreturn str(await two('no')).lower()",
        A,
    ),
    "lambda in a task": (
        "get = lambda i: Users.get_user_by_id(i)\nreturn str(await asyncio.create_task(get('no'))).lower()",
        A,
    ),
    "method of the class": ("return str(await self.found('no')).lower()", A),
    # Anything else: the value.
    "lambda, its value": ("get = lambda i: Users.get_user_by_id(i)\nreturn str(get('no')).lower()", S),
    "compared": ("return 'none' if Users.get_user_by_id('no') is None else 'found'", S),
    "negated": ("return 'none' if not Users.get_user_by_id('no') else 'found'", S),
    "in a thread": ("return str(await asyncio.to_thread(Users.get_user_by_id, 'no')).lower()", S),
    "in the loop's executor": (
        "return str(await asyncio.get_running_loop().run_in_executor(None, Users.get_user_by_id, 'no')).lower()",
        S,
    ),
    "a lambda in a thread": ("return str(await asyncio.to_thread(lambda: Users.get_user_by_id('no'))).lower()", S),
    "mapped": ("return str(list(map(Users.get_user_by_id, ['no']))[0]).lower()", S),
    "mapped through a lambda": ("return str([*map(lambda i: Users.get_user_by_id(i), ['no'])][0]).lower()", S),
    "given to a coroutine": (
        "async def answer(user):\n    return str(user).lower()\nreturn await answer(Users.get_user_by_id('no'))",
        S,
    ),
    "returned by a coroutine": (
        "async def get():\n    return Users.get_user_by_id('no')\nreturn str(await get()).lower()",
        S,
    ),
    "iscoroutinefunction": (
        "get = Users.get_user_by_id\nuser = (await get('no')) if inspect.iscoroutinefunction(get) else get('no')\nreturn str(user).lower()",
        S,
    ),
    "iscoroutinefunction or a thread": (
        "get = Users.get_user_by_id\nif asyncio.iscoroutinefunction(get):\n    user = await get('no')\nelse:\n    user = await asyncio.to_thread(get, 'no')\nreturn str(user).lower()",
        S,
    ),
    "a name that something else is awaited into": (
        "async def other():\n    return None\nuser = Users.get_user_by_id('no')\nfound = await other()\nreturn str(user).lower()",
        S,
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_no_user_is_none_however_it_is_asked(name):
    """None can't be awaited: here only the right guess is right."""
    code, how = SPELLINGS[name]
    head = f"{HEAD}class Base:\n    def found(self, id):\n        return Users.get_user_by_id(id)\n\n\n"
    indented = textwrap.indent(code, " " * 8)
    host = Answers()
    answers = items(loaded(f"{head}class Pipe(Base):\n    async def pipe(self, body):\n{indented}\n"), host=host)
    answer = "".join(answers)
    assert (answer, host.asked) == ("none", [(how, "users.get")])


@pytest.mark.parametrize(
    ("awaited", "value", "shown"),
    [
        ("await Users.is_user_active('u1')", "Users.is_user_active('u1')", "False"),
        ("await Users.get_num_users()", "Users.get_num_users()", "1"),
        ("await Files.delete_file_by_id('x')", "Files.delete_file_by_id('x')", "True"),
        ("await Users.get_valid_user_ids([])", "Users.get_valid_user_ids([])", "[]"),
        ("await Users.get_users_by_user_ids(['x'])", "Users.get_users_by_user_ids(['x'])", "[]"),
    ],
)
def test_plain_values_are_plain_both_ways(awaited, value, shown):
    code = f"one, two = {awaited}, {value}\nassert type(one) is type(two) and one == two\nreturn str(two)"
    assert said(code)[0] == shown


def test_what_is_there_can_be_awaited_again():
    code = """
def get(everybody=False):
    found = Users.get_users() if everybody else Users.get_user_by_id("u1")
    return found

found = get()
assert found.name == "Ann" and inspect.isawaitable(found) and (await found) is found
assert len(await get(everybody=True)) == 1
return (await asyncio.wait_for(get(), 5)).name
"""
    assert said(code)[0] == "Ann"


def test_synchronous_hooks_may_run_it_on_a_loop_of_their_own():
    assert said("return asyncio.run(Users.get_user_by_id('u1')).name", sync=True) == ("Ann", [(A, "users.get")])


def test_a_thread_of_the_authors_with_the_calls_context_asks_for_it():
    code = """
import contextvars, threading
found = []
context = contextvars.copy_context()
thread = threading.Thread(target=context.run, args=(lambda: found.append(Users.get_user_by_id("u1")),))
thread.start()
thread.join()
return found[0].name
"""
    assert said(code, sync=True) == ("Ann", [(S, "users.get")])


def test_a_method_knows_the_call_that_it_was_taken_in():
    code = """
import threading
found = []
get = Users.get_user_by_id
thread = threading.Thread(target=lambda: found.append(get("u1")))
thread.start()
thread.join()
return found[0].name
"""
    assert said(code, sync=True) == ("Ann", [(S, "users.get")])


def test_methods_look_like_methods():
    code = "return str((Users.get_user_by_id.__name__, inspect.signature(Users.get_user_by_id), bool(Users.get_users.__doc__)))"
    assert said(code)[0] == "('get_user_by_id', <Signature (id: 'str', db: 'Any' = None) -> 'Asking'>, True)"


def test_tables_that_ask_nobody_answer_while_the_module_loads():
    source = (
        HEAD
        + """
from open_webui.models.config import Config
from open_webui.models.tools import Tools

TEMPLATE = Config.get("rag.template", "none")
TOOLS = Tools.get_tools()

class Pipe:
    def __init__(self):
        self.connections = Config.get("tool_server.connections")
        self.everything = asyncio.run(Config.get_many("webui.name", "no.such.key"))

    async def pipe(self, body):
        assert await Config.get("no.such.key") is None and await Config.get("no.such.key", 3) == 3
        return repr((TEMPLATE, TOOLS, self.connections, self.everything))
"""
    )
    assert items(loaded(source)) == ["('', [], [], {'webui.name': 'Open WebUI'})"]


def test_equal_code_in_another_version_is_looked_at_in_its_own_source():
    """The code of ``pipe`` is the same in both, at the same line; only one of them awaits what it gives away."""
    source = (
        HEAD
        + """
class Pipe:
    async def pipe(self, body):
        return await keep(Users.get_user_by_id("nobody"))

async def keep(found):
    return {}
"""
    )
    for number, (ending, how) in enumerate([("str(await found)", A), ("str(found)", S), ("str(await found)", A)]):
        host = Answers()
        function = loaded(source.format(ending), number=number)
        assert (items(function, host=host), host.asked) == (["None"], [(how, "users.get")])


def test_a_source_that_python_can_not_read_has_no_places():
    compat.install()
    handed_on = importlib.import_module("open_webui._places").handed_on
    assert handed_on(["def f(:\n"]) == frozenset()
    assert handed_on(["await x(\n", ")\n"]) == {(2, 1)}
    assert handed_on(["await " + "-" * 500 + "x()\n"]) == frozenset()
    assert handed_on(["x = y(" + "[" * 150 + "z()" + "]" * 150 + ")\nawait x\n"]) == {(1, 310)}


def test_a_source_is_read_while_it_loads_not_when_it_first_calls():
    loaded(HEAD + "class Pipe:\n    def pipe(self, body):\n        return ''\n", "early", 3)
    awaited = importlib.import_module("open_webui._awaited")
    assert "/functions/early/v3.py" in awaited._files
    loaded("class Pipe:\n    def pipe(self, body):\n        return ''\n", "plain", 1)
    assert "/functions/plain/v1.py" not in awaited._files


def test_what_a_loop_runs_in_its_executor_belongs_to_the_call_that_gave_it():
    told: ContextVar[str] = ContextVar("told", default="nobody")

    async def call(name):
        told.set(name)
        await asyncio.sleep(0)
        return await asyncio.get_running_loop().run_in_executor(None, lambda: told.get())

    async def calls():
        asyncio.get_running_loop().set_default_executor(InContext())
        return await asyncio.gather(*(call(name) for name in ("one", "two")))

    assert asyncio.run(calls()) == ["one", "two"]
