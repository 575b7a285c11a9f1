"""Whether freed memory stays in the process, and the most that a process has held."""

import ctypes
import sys

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -3, -4, -8


def keep_freed_memory() -> bool:
    """Tell glibc not to hand freed memory back to the system; other C libraries are left alone.

    By default every large array is mapped anew and its pages cleared, each time.
    ``benchmarks/training_throughput.py`` measures it. Worker processes inherit it.

    Returns:
        Whether the setting took effect.
    """
    return _set_glibc((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 256 << 20))


def return_freed_memory() -> bool:
    """Tell glibc to hand freed memory back to the system: a server's peaks would add up.

    By default arrays below 32 MiB come to be kept, in eight heaps for each processor.

    Returns:
        Whether the setting took effect.
    """
    return _set_glibc((M_MMAP_THRESHOLD, 1 << 18), (M_TRIM_THRESHOLD, 1 << 20), (M_ARENA_MAX, 2))


def _set_glibc(*settings: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def peak_bytes() -> int:
    """Return the most memory this process has held at once, in bytes."""
    import resource
    from pathlib import Path

    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent held before it started us
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
