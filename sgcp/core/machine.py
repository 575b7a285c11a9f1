"""What this machine's processor is, and how a process uses its memory."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -3, -4, -8


@cache
def cpu_info() -> dict[str, str]:
    """Return what Linux reports of the first processor; nothing on other systems."""
    if not CPU_INFO.is_file():
        return {}
    first = CPU_INFO.read_text().split("\n\n")[0]
    rows = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in rows}


def processor_name() -> str:
    """Return the processor's name."""
    return cpu_info().get("model name") or platform.processor() or platform.machine()


def processor_kind() -> str:
    """Return what tells this processor from others, also of one name: its instructions too."""
    return f"{processor_name()} {cpu_info().get('flags', '')}"


def usable_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory in the process; return whether the setting took effect.

    By default every large array is mapped anew and its pages cleared, each time.
    ``benchmarks/training_throughput.py`` measures it. Worker processes inherit it.
    """
    return _set_glibc((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 256 << 20))


def return_freed_memory() -> bool:
    """Let glibc return freed memory to the system; return whether the setting took effect.

    By default it keeps arrays below 32 MiB, in eight heaps for each processor: a server's peaks
    would add up.
    """
    return _set_glibc((M_MMAP_THRESHOLD, 1 << 18), (M_TRIM_THRESHOLD, 1 << 20), (M_ARENA_MAX, 2))


def _set_glibc(*settings: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def peak_bytes() -> int:
    """Return the most memory this process has held at once, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the parent held before it started us
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource  # of Unix

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
