"""Parallel work: processes and threads, in order, under a progress bar."""

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import track

Task = TypeVar("Task")


Result = TypeVar("Result")


def usable_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
