"""Measure training beside busy processes, by how torch's threads wait for each other.

    python benchmarks/sharing.py [--busy 0 1 3] [--rounds 2]

Trains the embedded sample with `sgcp train`, beside so many processes that never wait, in each way
by turns. Prints images/s: medians of the epochs but the first, over all rounds.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training_throughput import make_project, run_python

WAYS = {
    "GOMP_SPINCOUNT=300000, libgomp's default": {"GOMP_SPINCOUNT": "300000"},
    "GOMP_SPINCOUNT=60000": {"GOMP_SPINCOUNT": "60000"},
    "GOMP_SPINCOUNT=20000, of our commands": {},
    "GOMP_SPINCOUNT=2000": {"GOMP_SPINCOUNT": "2000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "machine.threads: 1": {"OMP_NUM_THREADS": "1"},
}


@contextmanager
def busy_processes(number: int) -> Iterator[None]:
    """Keep so many processes busy."""
    loop = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(loop) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def train(folder: Path, epochs: int, variables: dict[str, str]) -> list[float]:
    """Return images/s of each epoch but the first."""
    settings = ("--set", f"epochs={epochs}", "--set", f"validate_every={epochs}")
    os.environ.update(variables)
    try:
        output = run_python(folder, "-m", "sgcp", "train", "sample", *settings)
    finally:
        for name in variables:
            del os.environ[name]
    return [float(speed) for speed in re.findall(r"^epoch .* (\S+) images/s", output, re.M)][1:]


def main() -> None:
    """Run every way by turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 3], help="busy processes")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    speeds: dict[tuple[str, int], list[float]] = {
        (way, busy): [] for way in WAYS for busy in options.busy
    }
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), None)
        for _ in range(options.rounds):
            for (way, busy), found in speeds.items():
                with busy_processes(busy):
                    found += train(Path(folder), options.epochs, WAYS[way])
    print(f"{'images/s beside busy processes:':42}", *(f"{busy:6}" for busy in options.busy))
    for way in WAYS:
        medians = (statistics.median(speeds[way, busy]) for busy in options.busy)
        print(f"{way:42}", *(f"{median:6.1f}" for median in medians))


if __name__ == "__main__":
    main()
