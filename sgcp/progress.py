"""What a command says while it works: a bar on a terminal, plain lines elsewhere; parallel work."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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

from sgcp.errors import SgcpError, encodable, printable

Task = TypeVar("Task")
Result = TypeVar("Result")

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


def usable_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def track(items: Iterable[Task], description: str, total: int) -> Iterator[Task]:
    """Yield ``items`` under a progress bar."""
    with progress_bar() as bar:
        yield from bar.track(items, total=total, description=description)


def map_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | str, description: str
) -> list[Result]:
    """Apply ``function`` to every task on several processes, in order, under a progress bar.

    Args:
        workers: processes, or ``auto`` for one a core; 1 runs in this process.
    """
    return list(each_parallel(function, tasks, workers, description))


def each_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | str, description: str
) -> Iterator[Result]:
    """Yield what ``map_parallel`` returns, one by one: for results to be added up, not kept."""
    count = usable_cores() if workers == "auto" else int(workers)
    count = min(count, len(tasks))
    if count <= 1:
        yield from track(map(function, tasks), description, len(tasks))
        return
    chunk = max(1, min(32, len(tasks) // (4 * count)))
    with ProcessPoolExecutor(count, initializer=_follow_parent) as pool:
        try:
            results = pool.map(function, tasks, chunksize=chunk)
            yield from track(results, description, len(tasks))
        except BrokenProcessPool:
            raise SgcpError(
                "a worker process was killed, perhaps for want of memory; run the command again, "
                "with a lower machine.prepare_workers if it happens again"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def map_threads(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Apply ``function`` to every task on several threads; yield the results in order.

    For work that spends its time outside Python's lock: decoding, inference, packing. No more
    than twice ``workers`` results wait at a time, so memory stays flat however many there are.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone, even killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # looking through what is inherited would copy it: half of a worker's memory
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
