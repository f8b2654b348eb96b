"""Who may import whom, as pyproject.toml says, and how large a module may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tests.settings import CHECKOUT

PACKAGES = ("webui_functions", "functions_app", "pipeline_app")
MODULES = sorted(
    path
    for package in PACKAGES
    for path in (CHECKOUT / package).rglob("*.py")
    if "migrations" not in path.parts and "node_modules" not in path.parts
)
WORKER = CHECKOUT / "pipeline_app" / "worker"
# What author code is written against; the worker may import it lazily, since it is among the base packages.
BASE_PACKAGES_OF_THE_WORKER = {"starlette", "fastapi", "pydantic", "pydantic_core", "pyflakes", "sqlalchemy"}


def test_imports_keep_their_directions():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_passes_400_lines():
    long = {
        str(path.relative_to(CHECKOUT)): lines for path in MODULES if (lines := len(path.read_text().split("\n"))) > 401
    }
    assert long == {}


def test_no_module_has_a_name_that_says_nothing():
    empty_words = {"utils.py", "helpers.py", "services.py", "core.py", "common.py", "misc.py"}
    # What stands in for ``open_webui`` has the names that functions import.
    ours = [path for path in MODULES if WORKER / "compat" / "open_webui" not in path.parents]
    assert [path for path in ours if path.name in empty_words] == []


def test_the_worker_imports_only_the_standard_library_itself_and_base_packages_lazily():
    found = []
    for path in sorted(WORKER.rglob("*.py")):
        tree = ast.parse(path.read_text())
        # What stands in for ``open_webui`` is imported by author code, and under that name.
        stands_in = WORKER / "compat" / "open_webui" in path.parents
        at_import = set() if stands_in else {id(node) for node in tree.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.partition(".")[0]
                if top in sys.stdlib_module_names:
                    continue
                if stands_in and name.startswith("pipeline_app.worker"):
                    continue
                if top in BASE_PACKAGES_OF_THE_WORKER and id(node) not in at_import:
                    continue
                found.append(f"{path.relative_to(CHECKOUT)}:{node.lineno} imports {name}")
    assert found == []
