"""Take a step of a recipe at the batches that fit here; reckon the memory that its own needs.

    python benchmarks/training_memory.py cityscapes strong [--batches 2 3 4]

Each batch is run in a process of its own, on images of noise at the recipe's crop, with all that
the recipe asks for (auxiliary heads, average, ...), uncompiled. Prints the peak memory of each, the
straight line through them, and where it comes to at the recipe's batch; and how far the largest
measured batch lies from a line through the others.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent


def step(dataset: str, recipe: str, batch: int) -> None:
    """Take two steps; print the peak memory in MiB, the seconds of the second, and the loss."""
    import torch

    from sgcp.core.machine import keep_freed_memory
    from sgcp.models.network import Normalize, SGCPNet
    from sgcp.settings.load import load_params
    from sgcp.stages.train import launch
    from sgcp.training.loop import train_one_step
    from sgcp.training.run import start

    params = load_params(ROOT / "params.yaml")
    classes = 11 if dataset == "camvid" else 19
    settings = params.dataset(dataset).recipes[recipe].model_copy(update={"batch_size": batch})
    keep_freed_memory()
    torch.manual_seed(settings.seed)
    fabric = launch(settings, params.machine.model_copy(update={"accelerator": "cpu"}))
    weights = torch.ones(classes) if settings.class_balance else None
    run = start(fabric, SGCPNet(classes), Normalize(), settings, 2, False, weights)
    run.wrapped.train()
    image = torch.randint(0, 256, (batch, 3, *settings.crop), dtype=torch.uint8)
    label = torch.randint(0, classes, (batch, *settings.crop), dtype=torch.uint8)
    for _ in range(2):
        before = time.perf_counter()
        loss = train_one_step(run, image, label)
    seconds = time.perf_counter() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak} {seconds} {float(loss)}")


def main() -> None:
    """Measure each batch and print the line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("recipe")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        step(options.dataset, options.recipe, options.one)
        return
    from sgcp.settings.load import load_params

    recipe = load_params(ROOT / "params.yaml").dataset(options.dataset).recipes[options.recipe]
    height, width = recipe.crop
    print(f"{options.dataset}, recipe {options.recipe}: crop {height}x{width}, one step on a CPU")
    peaks = []
    for batch in options.batches:
        command = [sys.executable, __file__, options.dataset, options.recipe, "--one", str(batch)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak, seconds, loss = map(float, output.splitlines()[-1].split())
        peaks.append(peak)
        print(f"batch {batch:3}  {peak / 1024:6.2f} GiB  {seconds:6.1f} s  loss {loss:.3f}")
    slope, base = np.polyfit(options.batches, peaks, 1)
    print(f"reckoned: {base / 1024:.2f} GiB + {slope / 1024:.3f} GiB an image")
    print(f"batch {recipe.batch_size:3}  {(base + slope * recipe.batch_size) / 1024:6.2f} GiB")
    if len(peaks) > 2:
        slope, base = np.polyfit(options.batches[:-1], peaks[:-1], 1)
        line = base + slope * options.batches[-1]
        print(f"a line through all but the last misses that by {line / peaks[-1] - 1:+.1%}")


if __name__ == "__main__":
    main()
