"""What a function runs into is said in words that lead on: which rule, of what size, in which line."""

from __future__ import annotations

import pytest

from functions_app.runtime import LoadError
from pipeline_app.errors import FunctionError, SandboxLimit

from .conftest import call, code

WALLS = """
    import asyncio, os, socket, subprocess, tempfile, threading, time
    class Filter:
        def inlet(self, body):
            getattr(self, body["do"])()
        def memory(self):
            kept = []
            while True:
                kept.append(bytes(8 << 20))
        def address(self):
            socket.create_connection(("169.254.169.254", 80), 3)
        def wrapped(self):
            import httpx
            httpx.get("http://169.254.169.254/")
        def program(self):
            subprocess.run(["ls"])
        def disk(self):
            with tempfile.TemporaryFile() as file:
                while True:
                    file.write(bytes(1 << 20))
        def descriptors(self):
            kept = []
            while True:
                kept.append(open(os.devnull))
        def file(self):
            open("/usr/made", "w")
        def own(self):
            raise PermissionError("You may not.")
"""


@pytest.mark.parametrize(
    ("do", "sentence"),
    [
        ("memory", "Its worker may use 256 MB (memory_mb of its policy)."),
        ("address", "where their policy lets them (network: public, and allow)"),
        ("wrapped", "where their policy lets them (network: public, and allow)"),
        ("program", "Operation not permitted. Functions can't start programs or processes"),
        ("disk", "File too large. Its temporary files may take 20 MB (disk_mb of its policy)."),
        ("descriptors", "files and connections open at once"),
        ("file", "Functions can write only in their own temporary folder"),
    ],
)
async def test_an_exception_of_the_sandbox_is_followed_by_its_rule(process_runner, do, sentence):
    version = code(WALLS, f"walls_{do}", memory_mb=256, disk_mb=20)
    with pytest.raises(FunctionError) as caught:
        await call(process_runner, version, "inlet", {"do": do})
    assert sentence in caught.value.message
    assert f"in function 'walls_{do}', inlet, line " in caught.value.message


async def test_an_authors_own_words_stay_as_they_are(process_runner):
    with pytest.raises(FunctionError) as caught:
        await call(process_runner, code(WALLS, "walls_own"), "inlet", {"do": "own"})
    assert caught.value.data["message"] == "You may not."


async def test_a_source_that_does_not_load_says_the_rule_too(process_runner):
    version = code("import subprocess\nsubprocess.run(['ls'])\nclass Pipe:\n    pass", "starter")
    with pytest.raises(LoadError) as caught:
        await process_runner.inspect(version)
    assert "Functions can't start programs" in caught.value.error["message"]
    assert caught.value.error["line"] == 2


LONG = """
    import asyncio
    class Filter:
        def inlet(self, body):
            while True:
                body["n"] = 1
        async def outlet(self, body):
            await asyncio.sleep(60)
"""


@pytest.mark.parametrize(("hook", "lines"), [("inlet", {4, 5}), ("outlet", {7})])
async def test_a_call_that_was_stopped_says_in_which_line_it_was(process_runner, hook, lines):
    with pytest.raises(SandboxLimit) as caught:
        await call(process_runner, code(LONG, f"long_{hook}"), hook, {}, time_limit=0.3)
    error = caught.value
    assert error.data["line"] in lines
    assert f"was stopped in {hook}, line {error.data['line']}: it took longer than 0.3 s" in error.message
    assert error.data["message"] == "it took longer than 0.3 s (the time limit of its policy)"
    assert f"line {error.data['line']}, in {hook}" in error.data["traceback"]


async def test_what_is_too_large_is_a_broken_limit(runner):
    version = code("class Filter:\n    def inlet(self, body):\n        return {'x': 'a' * 3000000}", "big", output_mb=1)
    with pytest.raises(SandboxLimit) as caught:
        await call(runner, version, "inlet")
    assert (caught.value.code, caught.value.status) == ("output_limit", 502)
    assert "was stopped in inlet: big returned more than the limit of 1 MB (output_mb)" in caught.value.message


async def test_files_that_nobody_can_count_are_said_so(process_runner):
    version = code(
        "import time\nclass Filter:\n    def inlet(self, body):\n"
        "        for n in range(12_000):\n            open(f'f{n}', 'w').close()\n        time.sleep(20)",
        "littering",
    )
    with pytest.raises(SandboxLimit) as caught:
        await call(process_runner, version, "inlet", time_limit=30)
    assert caught.value.code == "disk_limit"
    assert "more than 10,000" in caught.value.message
    assert "inf" not in caught.value.message
