"""Terminal output: a progress bar on a terminal, plain lines elsewhere."""

import math
import os
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from sgcp.core.errors import encodable, printable

Item = TypeVar("Item")

WIDTH = 80  # columns, wherever no terminal says otherwise
SILENCE, LONGEST_SILENCE = 10.0, 60.0  # seconds of work without a line, off a terminal


class Lines(Console):
    """Lines and tables for people, as wide as the terminal, and ``WIDTH`` columns off it.

    Args:
        stderr: write to standard error: standard output is kept for a document.
    """

    def __init__(self, stderr: bool = False) -> None:
        # No markup: a path may hold brackets.
        super().__init__(highlight=False, soft_wrap=True, markup=False, stderr=stderr)
        if not self.file.isatty() and "COLUMNS" not in os.environ:
            self.width = WIDTH  # not that of a terminal that happens to be near

    def render_str(self, text: str, **options: Any) -> Text:
        """Lay out text as it will be printed, so that tables stay aligned in any encoding."""
        return super().render_str(encodable(text, self.encoding), **options)


class Output:
    """How this process speaks; the command line says so anew before each command."""

    def __init__(self) -> None:
        self.set()

    def set(self, quiet: bool = False, document: bool = False) -> None:
        """Choose how to speak.

        Args:
            quiet: say only what was asked for and what is wrong.
            document: standard output is kept for one JSON document, which takes the place of
                what ``answer`` shows; all else goes to standard error.
        """
        self.quiet = quiet
        self.document = document
        self.console = Lines(stderr=document)
        self.spoke = time.monotonic()

    def print(self, message: Any) -> None:
        """Print one line or a rich table."""
        self.console.print(printable(message) if isinstance(message, str) else message)
        self.spoke = time.monotonic()

    @property
    def draws(self) -> bool:
        """Whether there is a terminal to draw a bar on; FORCE_COLOR makes none of a pipe."""
        return self.console.is_interactive and self.console.file.isatty()


output = Output()


def say(message: Any) -> None:
    """Print one line or a rich table for the user, unless they want it quiet."""
    if not output.quiet:
        output.print(message)


def warn(message: Any) -> None:
    """Print what the user must know to trust the result, quiet or not."""
    output.print(message)


def answer(message: Any) -> None:
    """Print what the command was asked for, quiet or not; JSON on standard output replaces it."""
    if not output.document:
        output.print(message)


class SeldomLines(Progress):
    """Progress where no bar can be drawn: a line after ``SILENCE`` seconds, then ever fewer.

    Whatever else is printed breaks the silence too, so that short work and chatty work add nothing.
    """

    pause = SILENCE

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count more of a task as done."""
        super().advance(task_id, advance)
        self.tell(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change what is known of a task."""
        super().update(task_id, **changes)
        self.tell(task_id)

    def tell(self, task_id: TaskID) -> None:
        """Print how far a task is, if nothing was printed for long."""
        if time.monotonic() - output.spoke < self.pause:
            return
        self.pause = min(2 * self.pause, LONGEST_SILENCE)
        task = next(task for task in self.tasks if task.id == task_id)
        columns = [column for column in self.columns if isinstance(column, ProgressColumn)]
        texts = [str(column.render(task)) for column in columns
                 if not isinstance(column, BarColumn | TimeRemainingColumn)]  # fmt: skip
        if task.time_remaining is not None:
            texts.append(f"{timedelta(seconds=round(task.time_remaining))} left")
        say("  ".join(texts))


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Return a bar with time left and any further columns; off a terminal, lines now and then."""
    output.spoke = time.monotonic()  # the silence counts from here
    shown: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(columns or (MofNCompleteColumn(),)),
        TimeRemainingColumn(),
    ]
    if output.quiet or not output.draws:
        kind = Progress if output.quiet else SeldomLines
        return kind(*shown, console=output.console, disable=True, auto_refresh=False)
    return Progress(*shown, console=output.console, transient=True)


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield ``items`` under a progress bar."""
    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=description)


def percent(share: float | None, digits: int = 2) -> str:
    """Write a share in per cent, without the sign: ``0.5`` is ``50.00``; a dash for no number."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"
