"""Parallel maps: worker processes do not depend on what this one is doing."""

import threading

from sgcp.core.parallel import map_parallel

lock = threading.Lock()


def takes_lock(_):
    if taken := lock.acquire(timeout=1):
        lock.release()
    return taken


def test_a_lock_that_another_thread_holds_does_not_hang_a_worker():
    """Whatever is locked when a process is forked stays so in it for ever."""
    with lock:
        assert map_parallel(takes_lock, range(2), 2, "locks") == [True, True]
