"""Measure how busy `sgcp segment` keeps the cores of a machine that does nothing else.

    python benchmarks/idle_cores.py MODEL PATH...

Labels images or videos with every output, to a temporary folder, twice. Prints images (or frames)
a second, the CPU time of each, and the idle share: 1 - CPU time / (wall time x cores).
"""

import argparse
import tempfile
from pathlib import Path
from time import perf_counter, process_time

from sgcp.core.machine import usable_cores
from sgcp.tools.segment import segment
from sgcp.tools.segment_outputs import SegmentOptions


def main() -> None:
    """Measure each run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("paths", type=Path, nargs="+")
    options = parser.parse_args()
    every = SegmentOptions(labels=True, colors=True, overlay=True)
    for _ in range(2):
        with tempfile.TemporaryDirectory() as out:
            wall, cpu = perf_counter(), process_time()
            result = segment(options.paths, options.model, Path(out), every)
            wall, cpu = perf_counter() - wall, process_time() - cpu
        count = result["images"] + result["frames"]
        idle = 1 - cpu / (wall * usable_cores())
        print(f"{count / wall:.1f}/s, {1e3 * cpu / count:.0f} ms of CPU each, idle {idle:.1%}")


if __name__ == "__main__":
    main()
