"""Runs all cases on a combination of layers: ``python -m tests.hostile --without landlock``.

Without an option the four combinations of the docs are run: all layers, without bubblewrap, without Landlock, and all
as an ordinary user (which takes root to become).
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent

COMBINATIONS: dict[str, list[str]] = {
    "all layers": [],
    "without bubblewrap": ["--without", "bubblewrap"],
    "without Landlock": ["--without", "bubblewrap", "landlock"],
    "without seccomp": ["--without", "bubblewrap", "seccomp"],
    "ordinary user": ["--user", "nobody"],
    "ordinary user, without bubblewrap": ["--user", "nobody", "--without", "bubblewrap"],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--without", nargs="+", default=[], metavar="LAYER", help="layers to leave out")
    parser.add_argument("--user", help="run everything as this user; takes root")
    parser.add_argument("--table", type=Path, metavar="FILE", help="run all combinations and write the page to FILE")
    parser.add_argument("--cases", help="numbers and ranges, such as 1,40-60; all by default")
    parser.add_argument("--json", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.table is not None:
        return _table(asked.table, asked.cases)
    if asked.user:
        _become(asked.user)
    return _run([name for names in asked.without for name in names.split(",")], asked.cases, asked.json)


def _become(name: str) -> None:
    """Goes on as another user, with copies of what only root may read. Ends the program when that cannot be."""
    user = pwd.getpwnam(name)
    home = Path(tempfile.mkdtemp(prefix=f"hostile-{name}-"))
    shutil.copytree(
        os.environ.get("FUNCTIONS_ENVIRONMENTS") or CHECKOUT / ".pytest_cache/environments", home / "environments"
    )
    for folder, _, _ in os.walk(home):
        os.chown(folder, user.pw_uid, user.pw_gid)
    atexit.register(_remove_home, home, os.getpid())
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=str(home), USER=name, LOGNAME=name, FUNCTIONS_ENVIRONMENTS=str(home / "environments"))
    for needed in (sys.executable, sysconfig.get_path("stdlib"), str(CHECKOUT)):
        if not os.access(needed, os.R_OK):
            sys.exit(
                f"The user {name} may not read {needed}; run this with a Python and a checkout that everybody may read."
            )


def _remove_home(home: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(home, ignore_errors=True)


def _run(layers_off: list[str], numbers: str | None, to: Path | None) -> int:
    """Runs the cases on one combination, prints what is not right, and returns how many that are, at most 1."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.hostile.arena import Arena, Result
    from tests.hostile.cases import CASES
    from tests.hostile.schedule import Schedule
    from tests.hostile.table import counted
    from tests.servers import migrated_database

    chosen = [case for case in CASES if numbers is None or _is_in(case.number, numbers)]
    began = time.monotonic()
    results: list[Result | None] = []
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        (Path(folder) / "template").mkdir()
        arena = Arena(Path(folder), migrated_database(Path(folder) / "template"), chosen, layers_off=layers_off)
        isolation = arena.isolation()
        print(f"isolation: {isolation}; stored after {time.monotonic() - began:.0f} s", flush=True)
        schedule = Schedule(arena, chosen)
        try:
            for case in chosen:
                result = schedule.result(case) if case in arena.cases else None
                results.append(result)
                if result is not None and not result.right:
                    print(result, flush=True)
        finally:
            schedule.close()
            arena.close()
    print(f"{counted(results)}, in {time.monotonic() - began:.0f} s")
    if to is not None:
        told = {
            case.number: result and [result.outcome, result.detail[:200], result.outside, result.neighbour]
            for case, result in zip(chosen, results, strict=True)
        }
        to.write_text(json.dumps({"isolation": isolation, "results": told}))
    return int(any(result is not None and not result.right for result in results))


def _is_in(number: int, numbers: str) -> bool:
    for part in numbers.split(","):
        first, _, last = part.partition("-")
        if int(first) <= number <= int(last or first):
            return True
    return False


def _table(to: Path, numbers: str | None) -> int:
    """Runs every combination in a process of its own and writes the page."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    from tests.hostile.arena import Result
    from tests.hostile.cases import BY_NUMBER
    from tests.hostile.table import page

    columns: dict[str, dict[int, Result | None]] = {}
    notes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="hostile-table-") as folder:
        os.chmod(folder, 0o777)
        for name, options in COMBINATIONS.items():
            file = Path(folder) / f"{len(columns)}.json"
            print(f"=== {name}", flush=True)
            more = ["--cases", numbers] if numbers else []
            subprocess.run([sys.executable, "-m", "tests.hostile", *options, "--json", str(file), *more], check=False)
            told = json.loads(file.read_text())
            notes[name] = told["isolation"]
            columns[name] = {
                int(number): one and Result(BY_NUMBER[int(number)], one[0], one[1], one[2], 0.0, one[3])
                for number, one in told["results"].items()
            }
    to.write_text(page(columns, notes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
