"""Ordered parallel maps over processes and threads."""

import gc
import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import TypeVar

from sgcp.core.errors import SgcpError
from sgcp.core.machine import usable_cores
from sgcp.core.terminal import track

Task = TypeVar("Task")
Result = TypeVar("Result")

LONGEST_FOLDER = 75  # bytes; a socket's path has 107 at most, "/pymp-12345678/listener-12345678" 32


def worker_context(module: str) -> ForkServerContext | SpawnContext:
    """Return what starts worker processes that need a module; refuse a too long TMPDIR.

    One forked amid the threads of this process could wait for a lock that is never released.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    folder = tempfile.gettempdir()
    if (length := len(os.fsencode(folder))) > LONGEST_FOLDER:
        raise SgcpError(
            f"TMPDIR={folder}: too long for the sockets of worker processes: {length} bytes, at "
            f"most {LONGEST_FOLDER}. Set TMPDIR to a shorter path"
        )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    return context


def map_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | str, description: str
) -> list[Result]:
    """Apply ``function`` to every task on several processes, in order, under a progress bar.

    ``workers``: processes, or ``auto`` for one per core; 1 runs in this process. Raise SgcpError if
    a process was killed.
    """
    return list(each_parallel(function, tasks, workers, description))


def each_parallel(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int | str, description: str
) -> Iterator[Result]:
    """Yield the results of ``map_parallel`` one by one, so that they need not fit into memory."""
    count = min(usable_cores() if workers == "auto" else int(workers), len(tasks))
    if count <= 1:
        yield from track(map(function, tasks), description, len(tasks))
        return
    chunk = max(1, min(32, len(tasks) // (4 * count)))
    context = worker_context(getattr(function, "func", function).__module__)
    with ProcessPoolExecutor(count, context, follow_parent) as pool:
        try:
            results = pool.map(function, tasks, chunksize=chunk)
            yield from track(results, description, len(tasks))
        except BrokenProcessPool:
            raise SgcpError(
                "a worker process was killed: possibly out of memory. Run the command again, "
                "with a lower machine.prepare_workers if it happens again"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def map_threads(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Yield ``function`` of every task, computed on several threads, in order.

    For work outside Python's lock: decoding, inference, compression. At most twice ``workers``
    results wait at a time, so memory stays flat. Closing the iterator does not wait for the tasks
    that run: the garbage collector may close it in any thread, amid locks that joining one takes.
    """
    pool, wait = ThreadPoolExecutor(workers), True
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) >= 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except GeneratorExit:
        wait = False
        raise
    finally:
        pool.shutdown(wait, cancel_futures=True)


def follow_parent() -> None:
    """Leave Ctrl-C to the parent, and exit when the parent is gone, even killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()  # collecting inherited objects would copy their pages: half of a worker's memory
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
