"""Shows the steps of a command: spinners, bars and ticks on a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

Say = Callable[[str], None]


class Progress:
    """Writes steps to a command's output; ``with progress.step("Database") as say`` tells details through ``say``."""

    def __init__(self, output: OutputWrapper) -> None:
        # The stream itself: the wrapper ends every write with a new line, which tears a spinner apart.
        stream = cast("IO[str]", output._out)
        self.console = Console(file=stream, highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Say]:
        """Shows that a step is under way and, unless it raises, that it is done with the last detail said."""
        details: list[str] = []
        if self.console.is_terminal:
            with self.console.status(escape(title)) as status:

                def say(message: str) -> None:
                    details.append(message)
                    status.update(f"{escape(title)}  [dim]{escape(message)}[/dim]")

                yield say
        else:
            self.console.print(f"{title} ...", markup=False)
            yield details.append
        ending = f": {details[-1]}" if details else ""
        if self.console.is_terminal:
            self.console.print(f"[green]✓[/green] {escape(title)}[dim]{escape(ending)}[/dim]")
        elif ending:
            self.console.print(f"{title}{ending}", markup=False)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Say]:
        """Shows how far ``total`` equal steps have got; ``advance("greeter")`` says that one of them is next.

        Without a terminal it says so every tenth of the way.
        """
        done = 0
        if self.console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Bars(*columns, console=self.console, transient=True) as bars:
                task = bars.add_task(escape(title), total=total)

                def advance(detail: str) -> None:
                    nonlocal done
                    bars.update(task, completed=done, description=f"{escape(title)}  [dim]{escape(detail)}[/dim]")
                    done += 1

                yield advance
            return
        self.line(f"{title}: {total}")
        tenth = max(total // 10, 10)

        def tell(detail: str) -> None:
            nonlocal done
            if done and done % tenth == 0:
                self.line(f"{title}: {done} of {total}")
                self.console.file.flush()
            done += 1

        yield tell

    def line(self, text: str = "") -> None:
        """Writes a line as it is."""
        self.console.print(text, markup=False)
