"""Parallel maps: worker processes do not depend on what this one is doing."""

import threading

from sgcp.core.parallel import map_parallel, map_threads

lock = threading.Lock()


def takes_lock(_):
    if taken := lock.acquire(timeout=1):
        lock.release()
    return taken


def test_a_lock_that_another_thread_holds_does_not_hang_a_worker():
    """Whatever is locked when a process is forked stays so in it for ever."""
    with lock:
        assert map_parallel(takes_lock, range(2), 2, "locks") == [True, True]


def test_closing_the_results_of_threads_does_not_wait_for_those_that_run():
    """The collector may close them in a thread that holds what joining another one takes."""
    begun, released = threading.Event(), threading.Event()

    def work(waits):
        if waits:
            begun.set()
            released.wait(60)

    results = map_threads(work, [False] * 4 + [True] * 4, 2)
    next(results)
    next(results)
    assert begun.wait(20)
    closer = threading.Thread(target=results.close, daemon=True)
    closer.start()
    closer.join(10)
    ended = not closer.is_alive()
    released.set()
    assert ended
