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

WIDTH = 80  # columns off a terminal
SILENCE, LONGEST_SILENCE = 10.0, 60.0  # seconds without output, off a terminal


class Lines(Console):
    """Lines and tables, as wide as the terminal, and ``WIDTH`` columns off it."""

    def __init__(self, stderr: bool = False) -> None:
        # No markup: a path may hold brackets.
        super().__init__(highlight=False, soft_wrap=True, markup=False, stderr=stderr)
        if not self.file.isatty() and "COLUMNS" not in os.environ:
            self.width = WIDTH  # rich would take the width of any terminal of this process

    def render_str(self, text: str, **options: Any) -> Text:
        """Lay out text as it will be printed, so that tables stay aligned in any encoding."""
        return super().render_str(encodable(text, self.encoding), **options)


class Output:
    """Terminal output settings; the command line sets them before each command."""

    def __init__(self) -> None:
        self.set()

    def set(self, quiet: bool = False, document: bool = False) -> None:
        """Reset all settings.

        Args:
            quiet: print only results, warnings and errors.
            document: reserve standard output for one JSON document, which replaces the results
                that ``answer`` prints; everything else goes to standard error.
        """
        self.quiet, self.document, self.console = quiet, document, Lines(stderr=document)
        self.printed_at = time.monotonic()

    def print(self, message: Any) -> None:
        """Print one line or a rich table."""
        self.console.print(printable(message) if isinstance(message, str) else message)
        self.printed_at = time.monotonic()


output = Output()


def say(message: Any) -> None:
    """Print one line or a rich table, unless ``--quiet``."""
    if not output.quiet:
        output.print(message)


def warn(message: Any) -> None:
    """Print what the user must read to trust the result, even with ``--quiet``."""
    output.print(message)


def answer(message: Any) -> None:
    """Print the result, even with ``--quiet``; JSON on standard output replaces it."""
    if not output.document:
        output.print(message)


class SparseLines(Progress):
    """Progress off a terminal: a line after ``SILENCE`` seconds without output, then fewer."""

    pause = SILENCE

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Count more of a task as done."""
        super().advance(task_id, advance)
        self._print_if_silent(task_id)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task's fields."""
        super().update(task_id, **changes)
        self._print_if_silent(task_id)

    def _print_if_silent(self, task_id: TaskID) -> None:
        if time.monotonic() - output.printed_at < self.pause:
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
    """Return a bar with further columns and the time left; off a terminal, lines now and then."""
    output.printed_at = time.monotonic()
    parts: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(columns or (MofNCompleteColumn(),)),
        TimeRemainingColumn(),
    ]
    console = output.console
    # FORCE_COLOR makes a pipe interactive for rich, but nobody redraws a bar there.
    if console.is_interactive and console.file.isatty() and not output.quiet:
        return Progress(*parts, console=console, transient=True)
    kind = Progress if output.quiet else SparseLines
    return kind(*parts, console=console, disable=True, auto_refresh=False)


def track(items: Iterable[Item], description: str, total: int) -> Iterator[Item]:
    """Yield ``items`` under a progress bar."""
    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=description)


def percent(share: float | None, digits: int = 2) -> str:
    """Write a share in per cent, without the sign: ``0.5`` is ``50.00``; a dash for no number."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"
