"""Async code that waits the wrong way: calls that hold up the loop, loops inside the loop, coroutines left alone.

Only what a call certainly is counts: names are followed to their imports, and what is handed to a thread is no call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .findings import Finding, Text, function_of

_HTTP = "await an async client instead (httpx.AsyncClient, aiohttp), or use await asyncio.to_thread(...)"
_THREAD = "use await asyncio.to_thread(...)"
_PROCESS = "functions cannot start programs; use a package instead"
_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "request")

BLOCKING: dict[str, str] = {
    "time.sleep": "use await asyncio.sleep(...)",
    **{f"requests.{verb}": _HTTP for verb in _VERBS},
    **{f"requests.Session.{verb}": _HTTP for verb in _VERBS},
    **{f"httpx.{verb}": _HTTP for verb in (*_VERBS, "stream")},
    **{f"httpx.Client.{verb}": _HTTP for verb in (*_VERBS, "stream", "send")},
    "urllib.request.urlopen": _HTTP,
    "urllib.request.urlretrieve": _HTTP,
    "http.client.HTTPConnection.request": _HTTP,
    "http.client.HTTPSConnection.request": _HTTP,
    "socket.create_connection": "use await asyncio.open_connection(...)",
    "socket.getaddrinfo": "use await asyncio.get_running_loop().getaddrinfo(...)",
    "socket.gethostbyname": "use await asyncio.get_running_loop().getaddrinfo(...)",
    "input": "nobody can type here; ask through __event_call__",
    "os.system": _PROCESS,
    "os.popen": _PROCESS,
    **{f"subprocess.{name}": _PROCESS for name in ("run", "call", "check_call", "check_output", "getoutput")},
    "subprocess.Popen.wait": _PROCESS,
    "subprocess.Popen.communicate": _PROCESS,
    "asyncio.run_coroutine_threadsafe.result": "await the coroutine itself, or asyncio.wrap_future(...)",
    "concurrent.futures.ThreadPoolExecutor.submit.result": _THREAD,
    "threading.Thread.join": _THREAD,
    "openai.OpenAI.chat.completions.create": "use openai.AsyncOpenAI",
    "openai.OpenAI.responses.create": "use openai.AsyncOpenAI",
    "openai.OpenAI.embeddings.create": "use openai.AsyncOpenAI",
    "openai.OpenAI.images.generate": "use openai.AsyncOpenAI",
    "openai.OpenAI.models.list": "use openai.AsyncOpenAI",
    "anthropic.Anthropic.messages.create": "use anthropic.AsyncAnthropic",
    "google.genai.Client.models.generate_content": "use client.aio.models",
}
"""What blocks, by its full name, and what to do instead. A result's method follows the name of what made it."""

LOOPS = frozenset(
    ("asyncio.run", "asyncio.new_event_loop.run_until_complete", "asyncio.get_event_loop.run_until_complete")
)
_TELLERS = frozenset(("__event_emitter__", "__event_call__"))

Function = ast.FunctionDef | ast.AsyncFunctionDef
Key = tuple[str, str]
"""A function by the class it stands in ("" for none) and its name."""


def of_source(tree: ast.Module, text: Text) -> Iterator[Finding]:
    """Yields what async functions of a source do that they had better await."""
    names = _Names(tree)
    functions: dict[Key, Function] = {}
    own: list[tuple[Function, str]] = []
    waiting: list[tuple[ast.AST, str, bool]] = [(tree, "", True)]
    while waiting:
        node, owner, is_open = waiting.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                waiting.append((child, child.name, True))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                if is_open:
                    functions[owner, child.name] = child
                own.append((child, owner))
                waiting.append((child, owner, False))
            else:
                waiting.append((child, owner, is_open))
    scans = {function: _Scan(function, owner, names) for function, owner in own}
    through = _blocking_helpers(functions, scans)
    asynchronous = {key for key, found in functions.items() if isinstance(found, ast.AsyncFunctionDef)}
    coroutines = {key for key in asynchronous if not _yields(functions[key])}
    for function, owner in own:
        scan = scans[function]
        for call in scan.left_alone:
            name = scan.own_name(call.func, owner)
            if _is_teller(call.func) or (name in coroutines and not functions[name].decorator_list):
                if _is_teller(call.func) and not isinstance(function, ast.AsyncFunctionDef):
                    advice = f"Make {function.name} async and await it"
                else:
                    advice = "Write await in front of it"
                message = f"{ast.unparse(call.func)[:80]}(...) makes a coroutine that nobody awaits: it does nothing."
                yield text.at(call, "not-awaited", f"{message} {advice}.")
        if not isinstance(function, ast.AsyncFunctionDef):
            continue
        said: set[tuple[str, int]] = set()
        for call, full in scan.calls:
            key = scan.own_name(call.func, owner)
            if full in BLOCKING:
                message = f"{full} holds up every other call of this function while it waits: {BLOCKING[full]}."
                yield text.at(call, "blocking-call", message)
            elif full in LOOPS:
                message = f"{full} fails where a loop runs already, as in every async function: await the coroutine."
                yield text.at(call, "nested-loop", message)
            elif key is not None and key in through and through[key] not in said:
                said.add(through[key])
                what, line = through[key]
                message = (
                    f"{key[1]} calls {what} (line {line}), which holds up every other call of this function while it "
                    f"waits: use await asyncio.to_thread({ast.unparse(call.func)[:80]}, ...)."
                )
                yield text.at(call, "blocking-call", message)


def _blocking_helpers(functions: dict[Key, Function], scans: dict[Function, _Scan]) -> dict[Key, tuple[str, int]]:
    """Returns the plain functions that block, themselves or through others, with what they call and where."""
    found: dict[Key, tuple[str, int]] = {}
    callers: dict[Key, list[Key]] = {}
    for key, function in functions.items():
        if isinstance(function, ast.AsyncFunctionDef) or _yields(function):
            continue  # a generator does nothing yet when it is called
        scan = scans[function]
        for call, full in scan.calls:
            if full in BLOCKING:
                found.setdefault(key, (full, call.lineno))
            else:
                called = scan.own_name(call.func, key[0])
                if called is not None:
                    callers.setdefault(called, []).append(key)
    waiting = list(found)
    while waiting:
        key = waiting.pop()
        for caller in callers.get(key, ()):
            if caller not in found:
                found[caller] = found[key]
                waiting.append(caller)
    return found


class _Names:
    """What names of a source stand for: imports by their full names."""

    def __init__(self, tree: ast.Module) -> None:
        self.full: dict[str, str] = {"input": "input"}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.asname:
                        self.full[alias.asname] = alias.name
                    else:
                        top = alias.name.partition(".")[0]
                        self.full[top] = top
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                for alias in node.names:
                    self.full[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == "input":
                self.full.pop("input", None)


class _Scan:
    """The calls of one function's own body, what is called by its full name where that is known."""

    def __init__(self, function: Function, owner: str, names: _Names) -> None:
        self._names = names
        self._made: dict[str, str] = {}
        self.calls: list[tuple[ast.Call, str]] = []
        self.left_alone: list[ast.Call] = []
        given = function.args
        self._hidden = {argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
        nodes = list(_own(function))
        for node in nodes:
            self._note(node)
        awaited = {id(node.value) for node in nodes if isinstance(node, ast.Await)}
        for node in nodes:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                self.left_alone.append(node.value)
            if isinstance(node, ast.Call) and id(node) not in awaited:
                self.calls.append((node, self._full(node.func)))

    def own_name(self, called: ast.expr, owner: str) -> Key | None:
        """Returns which function of the source a call means, if one."""
        if isinstance(called, ast.Name) and called.id not in self._hidden:
            return ("", called.id)
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "self":
            return (owner, called.attr)
        return None

    def _note(self, node: ast.AST) -> None:
        """Takes note of what a name is made by: ``session = requests.Session()``."""
        pairs: list[tuple[ast.expr, ast.expr]] = []
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            pairs.append((node.targets[0], node.value))
        elif isinstance(node, ast.With):
            pairs += [(item.optional_vars, item.context_expr) for item in node.items if item.optional_vars is not None]
        for target, value in pairs:
            if isinstance(target, ast.Name):
                made = self._full(value.func) if isinstance(value, ast.Call) else ""
                if made:
                    self._made[target.id] = made
                else:
                    self._made.pop(target.id, None)

    def _full(self, node: ast.expr) -> str:
        """Returns the full name of what an expression is, empty where that cannot be told."""
        parts: list[str] = []
        while True:
            if isinstance(node, ast.Attribute):
                parts.append(node.attr)
                node = node.value
            elif isinstance(node, ast.Call):
                node = node.func
            elif isinstance(node, ast.Name):
                known = self._made.get(node.id)
                if known is None and node.id not in self._hidden:
                    known = self._names.full.get(node.id)
                return ".".join([known, *reversed(parts)]) if known else ""
            else:
                return ""


def _own(function: Function) -> Iterator[ast.AST]:
    """Yields the nodes of a function's body in its order, not those of functions and classes inside it."""
    waiting: list[ast.AST] = []
    waiting += reversed(function.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not (function_of(node) or isinstance(node, ast.Lambda | ast.ClassDef)):
            waiting += list(ast.iter_child_nodes(node))[::-1]


def _yields(function: Function) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own(function))


def _is_teller(called: ast.expr) -> bool:
    return isinstance(called, ast.Name) and called.id in _TELLERS
