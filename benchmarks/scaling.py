"""Time `sgcp prepare` and `sgcp validate --predictions` on more and more images.

    python benchmarks/scaling.py [--images 1000 5000 25000] [--size 256 512] [--workers 1 2]

The images are in Cityscapes' own form: scenes of the sample's generator, linked under as many
names as asked for, so that reading them costs what reading from memory costs. Both commands run
whole, as a user starts them. Prints seconds a thousand images, the peak memory of the main
process and of the largest worker (without what the two share), and ratios to the row before. The
first number of images is measured with every number of workers, the others with the last.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sgcp.datasets.sample import generate_sample

ROOT = Path(__file__).parent.parent
SGCP = Path(sys.executable).with_name("sgcp")
SCENES = 64
CITIES = 25
PREPARE = ("prepare", "cityscapes", "--allow-missing")
SCORE = ("validate", "cityscapes", "--predictions", "predictions", "--name", "scored")


@dataclass
class Run:
    """What one command took."""

    command: str
    pictures: int
    workers: str
    seconds: float
    main: float
    """Peak memory of the main process, MB."""
    worker: float
    """Peak memory of the largest worker beside what it shares with the main process, MB."""


def make_project(folder: Path, scenes: Path, pictures: int, workers: str) -> None:
    """Link the scenes under as many names as asked for; the first of each serve as predictions."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    params = (ROOT / "params.yaml").read_text()
    assert "prepare_workers: auto" in params
    params = params.replace("prepare_workers: auto", f"prepare_workers: {workers}")
    (folder / "params.yaml").write_text(params)
    (folder / "predictions").mkdir()
    images = sorted(scenes.glob("leftImg8bit/val/*/*.png"))
    for index in range(pictures):
        image = images[index % len(images)]
        truth = scenes / "gtFine" / "val" / image.parent.name
        base = image.name.removesuffix("_leftImg8bit.png")
        city = f"city{index % CITIES:02d}"
        stem = f"{city}_{index:06d}_000019"
        raw = folder / "data/raw/cityscapes"
        for source, target in (
            (image, raw / f"leftImg8bit/val/{city}/{stem}_leftImg8bit.png"),
            (truth / f"{base}_gtFine_polygons.json",
             raw / f"gtFine/val/{city}/{stem}_gtFine_polygons.json"),
            (truth / f"{base}_gtFine_labelIds.png", folder / "predictions" / f"{stem}.png"),
        ):  # fmt: skip
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)


def memory(process: str, file: str, *kinds: str) -> float:
    """Return the sum of some lines of /proc/PROCESS/FILE, MB; 0 if it has ended."""
    try:
        lines = Path("/proc", process, file).read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(kinds)) / 1024


def children(process: int) -> Iterator[str]:
    """Yield the processes that a process started."""
    for task in Path("/proc", str(process), "task").glob("*/children"):
        try:
            yield from task.read_text().split()
        except OSError:
            continue


def measure(folder: Path, command: tuple[str, ...], pictures: int, workers: str) -> Run:
    """Run a command to its end, looking at its memory all the while."""
    log = (folder / "log.txt").open("a")
    started = time.perf_counter()
    process = subprocess.Popen([SGCP, *command], cwd=folder, stdout=log, stderr=log)
    main = worker = 0.0
    while process.poll() is None:
        main = max(main, memory(str(process.pid), "status", "VmHWM:"))
        for child in children(process.pid):
            worker = max(worker, memory(child, "smaps_rollup", "Private_"))
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit((folder / "log.txt").read_text()[-2000:])
    return Run(command[0], pictures, workers, seconds, main, worker)


def show(run: Run, before: Run | None) -> None:
    """Print a row; the ratios are those of seconds an image and of memory."""
    row = (
        f"{run.command:10}{run.images:>8}{run.workers:>8}{run.seconds:>9.1f}"
        f"{1000 * run.seconds / run.images:>9.2f}{run.main:>9.0f}{run.worker:>9.0f}"
    )
    if before is not None:
        each = run.seconds / run.pictures / (before.seconds / before.pictures)
        row += f"   x{each:.2f} time an image, x{run.main / before.main:.2f} memory"
    print(row, flush=True)


def main() -> None:
    """Measure both commands at every number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000, 25000])
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), metavar=("H", "W"))
    parser.add_argument("--workers", nargs="+", default=["1", "2"])
    options = parser.parse_args()
    cases = [(options.pictures[0], workers) for workers in options.workers]
    cases += [(pictures, options.workers[-1]) for pictures in options.pictures[1:]]
    height, width = options.size
    print(f"images of {height}x{width}, {len(os.sched_getaffinity(0))} cores\n"
          f"{'command':10}{'images':>8}{'workers':>8}{'s':>9}{'s/1000':>9}{'main MB':>9}"
          f"{'worker MB':>9}")  # fmt: skip
    before: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as temporary:
        scenes = Path(temporary, "scenes")
        generate_sample(scenes, 7, (height, width), {"train": 1, "val": SCENES, "test": 1}, "auto")
        for pictures, workers in cases:
            folder = Path(temporary, f"{pictures}-{workers}")
            make_project(folder, scenes, pictures, workers)
            for command in (PREPARE, SCORE):
                run = measure(folder, command, pictures, workers)
                show(run, before.get(run.command))
                before[run.command] = run
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
