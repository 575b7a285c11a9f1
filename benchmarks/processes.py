"""Time training steps of one process and of two that share the work over gloo.

    python benchmarks/processes.py [--size 360 480] [--steps 8]

The steps are those of `sgcp train`, on images that are already in memory. Cores are divided
among the processes. Prints images a second, and efficiency: the speed over that of one process on
one core times the cores used.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 3
WARM_UP = 2
# Name, processes, threads of each, images a step of each.
CASES = (
    ("1 process, 1 core", 1, 1, 8),
    ("1 process, 2 cores", 1, 2, 8),
    ("2 processes, same batch of all", 2, 1, 4),
    ("2 processes, same batch of each", 2, 1, 8),
)


def work(batch: int, size: tuple[int, int], steps: int) -> None:
    """Take steps as one of the launcher's processes; print images a second of all together."""
    import torch

    from sgcp.core.memory import keep_freed_memory
    from sgcp.models.network import Normalize, SGCPNet
    from sgcp.settings.load import load_params
    from sgcp.stages.train import launch
    from sgcp.training.loop import train_one_step
    from sgcp.training.run import start

    params = load_params(Path(__file__).parent.parent / "params.yaml")
    keep_freed_memory()
    settings = params.camvid.recipes["quick"]
    fabric = launch(settings, params.machine)
    run = start(fabric, SGCPNet(11), Normalize(), settings, steps + WARM_UP, False)
    image = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)
    label = torch.randint(0, 11, (batch, *size))
    for step in range(steps + WARM_UP):
        if step == WARM_UP:
            fabric.barrier()
            started = time.perf_counter()
        train_one_step(run, image, label)
    fabric.barrier()
    if fabric.is_global_zero:
        speed = steps * batch * fabric.world_size / (time.perf_counter() - started)
        print(f"speed {speed}", flush=True)


def measure(processes: int, threads: int, batch: int, options: argparse.Namespace) -> float:
    """Launch processes and return their images a second."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={processes}", __file__, "--batch", str(batch),
        "--size", *map(str, options.size), "--steps", str(options.steps),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    output = subprocess.check_output(command, env=environment, text=True)
    return float(output.rpartition("speed ")[2])


def main() -> None:
    """Measure every case by turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("H", "W"))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.batch:
        work(options.batch, tuple(options.size), options.steps)
        return
    speeds: dict[str, list[float]] = {name: [] for name, *_ in CASES}
    for _ in range(ROUNDS):
        for name, *case in CASES:
            speeds[name].append(measure(*case, options))
    base = statistics.median(speeds[CASES[0][0]])
    print(f"images of {options.size[0]}x{options.size[1]}, medians of {ROUNDS}")
    for name, processes, threads, batch in CASES:
        speed = statistics.median(speeds[name])
        efficiency = speed / base / (processes * threads)
        print(f"{name:34}{processes} x {batch} images{speed:7.1f} images/s{efficiency:6.0%}")


if __name__ == "__main__":
    main()
