"""Time `sgcp prepare` and `sgcp validate --predictions` on more and more images.

    python benchmarks/scaling.py [--images 1000 5000 25000] [--size 256 512] [--workers 1 2]

The images are scenes of the sample's generator in Cityscapes' form, linked under many names, so
that reading them costs no disk access. Both commands run whole. Prints seconds a thousand images,
the peak memory of the main process and of the largest worker (without shared pages), and ratios to
the row before. The first number of images is measured with every number of workers, the others with
the last.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sgcp.datasets.sample import generate_sample

ROOT = Path(__file__).parent.parent
SGCP = Path(sys.executable).with_name("sgcp")
SCENES, CITIES = 64, 25
COMMANDS = (
    ("prepare", "cityscapes", "--allow-missing"),
    ("validate", "cityscapes", "--predictions", "predictions", "--name", "scored"),
)


def make_project(folder: Path, scenes: Path, count: int, workers: str) -> None:
    """Link the scenes under ``count`` names; their labels serve as predictions."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    params = (ROOT / "params.yaml").read_text()
    assert "prepare_workers: auto" in params
    params = params.replace("prepare_workers: auto", f"prepare_workers: {workers}")
    (folder / "params.yaml").write_text(params)
    images = sorted(scenes.glob("leftImg8bit/val/*/*.png"))
    raw = folder / "data/raw/cityscapes"
    for index in range(count):
        image = images[index % len(images)]
        city = f"city{index % CITIES:02d}"
        stem = f"{city}_{index:06d}_000019"
        label = scenes / "gtFine/val" / image.parent.name / image.name.replace(
            "leftImg8bit.png", "gtFine_{}"
        )  # fmt: skip
        for source, target in {
            str(image): raw / f"leftImg8bit/val/{city}/{stem}_leftImg8bit.png",
            str(label).format("polygons.json"):
                raw / f"gtFine/val/{city}/{stem}_gtFine_polygons.json",
            str(label).format("labelIds.png"): folder / "predictions" / f"{stem}.png",
        }.items():  # fmt: skip
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)


def memory(process: str, file: str, kind: str) -> float:
    """Return the sum of lines of /proc/PROCESS/FILE, MB; 0 if it has ended."""
    try:
        lines = Path("/proc", process, file).read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def children(process: int) -> list[str]:
    """Return the processes that a process started."""
    try:
        tasks = Path("/proc", str(process), "task").glob("*/children")
        return [child for task in tasks for child in task.read_text().split()]
    except OSError:
        return []


def measure(folder: Path, command: tuple[str, ...]) -> tuple[float, float, float]:
    """Run a command; return seconds, and the peak MB of its process and of its largest worker."""
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
    return seconds, main, worker


def main() -> None:
    """Measure both commands at every number of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 5000, 25000])
    parser.add_argument("--size", type=int, nargs=2, default=(256, 512), metavar=("H", "W"))
    parser.add_argument("--workers", nargs="+", default=["1", "2"])
    options = parser.parse_args()
    cases = [(options.images[0], workers) for workers in options.workers]
    cases += [(count, options.workers[-1]) for count in options.images[1:]]
    height, width = options.size
    print(f"images of {height}x{width}, {len(os.sched_getaffinity(0))} cores\n"
          f"{'command':10}{'images':>8}{'workers':>8}{'s':>9}{'s/1000':>9}{'main MB':>9}"
          f"{'worker MB':>10}")  # fmt: skip
    before: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        scenes = Path(temporary, "scenes")
        generate_sample(scenes, 7, (height, width), {"train": 1, "val": SCENES, "test": 1}, "auto")
        for count, workers in cases:
            folder = Path(temporary, f"{count}-{workers}")
            make_project(folder, scenes, count, workers)
            for command in COMMANDS:
                seconds, main, worker = measure(folder, command)
                each = seconds / count
                row = f"{command[0]:10}{count:>8}{workers:>8}{seconds:>9.1f}{1000 * each:>9.2f}"
                row += f"{main:>9.0f}{worker:>10.0f}"
                if command[0] in before:
                    time_before, memory_before = before[command[0]]
                    row += f"   x{each / time_before:.2f} time an image"
                    row += f", x{main / memory_before:.2f} memory"
                print(row, flush=True)
                before[command[0]] = each, main
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
