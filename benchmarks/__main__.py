"""The command: starts the servers, measures in interleaved rounds, writes the report."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks import client, extras, machine, memory, report
from benchmarks.functions import CHUNKS
from benchmarks.servers import Installation, Installations, Server, installed, ours, peer
from benchmarks.workloads import BARE, PLAIN, SERVERS, STOCK, Case, cases, limit_of

WARM_UP = 0.2
"""The share of a measurement's time that runs before it."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    """All servers of one run, up at once, and what was measured of them."""

    def __init__(self, rows: list[Case], seconds: float, folder: Path, stack: ExitStack) -> None:
        self.rows = rows
        self.seconds = seconds
        self.servers: dict[str, Server] = {}
        self.keys: dict[str, str] = {}
        self.installed: dict[str, Installation] = {}
        self.idle: dict[str, float] = {}
        self.measured: dict[Case, list[tuple[client.Result, client.Result, float]]] = {row: [] for row in rows}
        self.installations = Installations(folder)
        wanted = {row.server for row in rows}
        for name in SERVERS:
            if name not in wanted:
                continue
            say(f"Starting: {name}")
            if name in (BARE, STOCK):
                self.keys[name] = ""
                server = peer("benchmarks.peers:bare" if name == BARE else "benchmarks.stock:application")
            else:
                made = self.installations.make(name.replace(" ", "-").replace(",", ""), *installed()[name])
                self.installed[name], self.keys[name] = made, made.key
                server = ours(made)
            self.servers[name] = stack.enter_context(server)
            self.idle[name] = server.memory_mb()

    async def check(self) -> None:
        """Asks every row's question once and compares the answer with what it must be."""
        for row in self.rows:
            head, body, _ = await client.once(self.servers[row.server].port, row.request(self.keys[row.server]))
            row.check(head, body)

    async def measure(self, row: Case) -> None:
        server, request = self.servers[row.server], row.request(self.keys[row.server])
        await client.load(server.port, request, row.connections, self.seconds * WARM_UP)
        cpu = server.cpu_seconds()
        if row.bystander:
            beside = Case(row.workload, row.server, "hello", 1).request(self.keys[row.server])
            result, shown = await asyncio.gather(
                client.load(server.port, request, row.connections, self.seconds),
                client.load(server.port, beside, 1, self.seconds),
            )
        else:
            result = shown = await client.load(server.port, request, row.connections, self.seconds)
        self.measured[row].append((result, shown, server.cpu_seconds() - cpu))

    def row(self, case: Case) -> report.Row:
        """Returns the medians of a case."""
        measured = self.measured[case]
        rate = median(result.rate for result, _, _ in measured)
        limit = limit_of(case, self.rows)
        ratio = rate / median(result.rate for result, _, _ in self.measured[limit]) if limit else math.nan
        answers = [(result.requests + (shown.requests if case.bystander else 0)) for result, shown, _ in measured]
        times = [shown.first_frames if case.first else shown.latencies for _, shown, _ in measured]
        return report.Row(
            case.workload,
            case.server,
            case.connections,
            rate,
            rate * CHUNKS if case.stream and not case.first else math.nan,
            ratio,
            median(cpu / count * 1000 for (_, _, cpu), count in zip(measured, answers, strict=True)),
            median(client.percentile(seconds, 0.5) for seconds in times) * 1000,
            median(client.percentile(seconds, 0.99) for seconds in times) * 1000,
            max(result.busy for result, _, _ in measured),
            "latencies: another pipe beside it" if case.bystander else "latencies: first chunk" if case.first else "",
        )


async def run(options: argparse.Namespace) -> None:
    rows = [row for row in cases() if all(word.lower() in row.name.lower() for word in options.only)]
    if not rows:
        raise SystemExit(f"No row has {options.only} in its name. Rows: " + "; ".join(row.name for row in cases()))
    wanted = set(rows) | {limit for row in rows if (limit := limit_of(row, cases()))}
    rows = [row for row in cases() if row in wanted]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bench = Bench(rows, options.seconds, Path(folder), stack)
        os.sched_setaffinity(0, machine.LOAD_CORE)
        await bench.check()
        for number in range(options.rounds):
            for row in rows:
                say(f"Round {number + 1} of {options.rounds}: {row.name}")
                await bench.measure(row)
        figures = [bench.row(row) for row in rows]
        sizes = {name: (bench.idle[name], server.memory_mb()) for name, server in bench.servers.items()}
        more: list[tuple[str, str]] = []
        if not options.only:
            say("Edits and lists")
            for name in PLAIN:
                more += await extras.edits(name, bench.servers[name].port, bench.installed[name])
            more += await extras.lists(bench.installations)
            more += await extras.workers(bench.installations)
            say("Packages")
            more += extras.packages(bench.installations)
    how = f"medians of {options.rounds} interleaved rounds of {options.seconds:g} s each"
    text = report.markdown(figures, more, sizes, how)
    print(text)
    if not options.only:
        report.FILE.write_text(text)
    if options.json:
        options.json.write_text(json.dumps(report.as_data(figures, more, sizes), indent=2))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["speed", "memory"], default="speed", help="default: speed")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement (3)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds over all rows; the figures are medians (3)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="WORD",
        help="only rows with this in their names; may be repeated",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument("--requests", type=int, default=20_000, help="memory: how many requests (20000)")
    options = parser.parse_args(arguments)
    if not hasattr(os, "sched_setaffinity"):
        raise SystemExit("The benchmarks pin processes to cores and read /proc: they need Linux.")
    with asyncio.Runner(loop_factory=_loop) as runner:
        if options.what == "memory":
            print(runner.run(memory.measure(options.requests, say)))
        else:
            runner.run(run(options))


def _loop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


if __name__ == "__main__":
    main()
