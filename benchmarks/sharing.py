"""Measure training and inference beside busy processes, by how threads wait for each other.

    python benchmarks/sharing.py [--busy 0 1 3] [--rounds 2]

Trains the embedded sample with `sgcp train`, beside so many processes that never wait, in each way
by turns, and prints images/s: medians of the epochs but the first, over all rounds. Then labels an
image of 1024x2048 in memory, by each engine in turn, and prints the median of its milliseconds.
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
from functools import partial
from pathlib import Path

import numpy as np
from timing import time_by_turns
from training_throughput import make_project, run_python

import sgcp
from sgcp.core.machine import usable_cores

WAYS = {
    "as it is": {},
    "GOMP_SPINCOUNT=60000": {"GOMP_SPINCOUNT": "60000"},
    "GOMP_SPINCOUNT=20000": {"GOMP_SPINCOUNT": "20000"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "machine.threads: 1": {"OMP_NUM_THREADS": "1"},
}
ENGINES = {  # and the number of callers; for several, its threads do not spin
    "OpenVINO": ("openvino", 1),
    "ONNX Runtime, threads spin": ("onnxruntime", 1),
    "ONNX Runtime, threads sleep": ("onnxruntime", 2),
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
    found = re.findall(r"^epoch .* (\S+) images/s, .* waiting for data", output, re.M)
    return [float(speed) for speed in found][1:]


def segment(busy: int) -> dict[str, float]:
    """Return the median seconds in which each engine labels an image, on as many threads."""
    image = np.add.outer(np.arange(1024), np.arange(2048))[..., None] // np.array([5, 9, 13])
    calls = {}
    for title, (engine, callers) in ENGINES.items():
        model = sgcp.load("camvid", "cpu", engine, "fp32", callers, callers * usable_cores())
        calls[title] = partial(model.segment, image.astype(np.uint8))
    with busy_processes(busy):
        return time_by_turns(calls, 20, warm_up=3)


def print_table(title: str, columns: list[int], rows: dict[str, list[float]]) -> None:
    """Print numbers, a column for each number of busy processes."""
    print(f"{title:44}", *(f"{busy:6}" for busy in columns))
    for name, row in rows.items():
        print(f"{name:44}", *(f"{number:6.1f}" for number in row))


def main() -> None:
    """Run every way by turns and print two tables."""
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
                print(f"{way}, beside {busy}: {found[-1]} images/s", file=sys.stderr, flush=True)
    trained = {way: [statistics.median(speeds[way, busy]) for busy in options.busy] for way in WAYS}
    print_table("training, images/s; busy processes:", options.busy, trained)
    found = [segment(busy) for busy in options.busy]
    labelled = {title: [1000 * one[title] for one in found] for title in ENGINES}
    print_table("segment, ms; busy processes:", options.busy, labelled)


if __name__ == "__main__":
    main()
