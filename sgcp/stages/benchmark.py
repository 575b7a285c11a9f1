"""Stage ``benchmark``: model and prepared pictures -> how fast, in how much memory."""

from __future__ import annotations

import platform
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from rich.table import Table

from sgcp.datasets.images import UInt8, read_image
from sgcp.datasets.index import read_dataset
from sgcp.errors import SgcpError
from sgcp.files import write_json
from sgcp.inference.engines.base import cores
from sgcp.inference.engines.choice import onnx_of
from sgcp.progress import say, track
from sgcp.speed.contender import TASKS
from sgcp.speed.jobs import OWN, REFERENCE, Job, jobs_on_cpu, jobs_on_gpu
from sgcp.speed.runner import Runner, write_pictures
from sgcp.speed.size import size_of
from sgcp.stages.model import choose_device

if TYPE_CHECKING:
    from sgcp.settings import BenchmarkSettings, MachineSettings
    from sgcp.stages.layout import Layout

PACKAGES = ("torch", "openvino", "onnxruntime", "opencv-python-headless", "numpy", "pillow")


def benchmark(
    layout: Layout,
    settings: BenchmarkSettings,
    machine: MachineSettings,
    images: Path | None = None,
    out: Path | None = None,
    by_hand: bool = False,
) -> None:
    """Time every engine, the authors' way and the peers by turns.

    Args:
        images: folder of pictures to take instead of the dataset's.
        out: where to write; None: ``layout.speed``, which holds what params.yaml asks for.
        by_hand: something else than that is asked for: without ``out``, nothing is written.

    Raises:
        SgcpError: there is no model or no picture, or nothing could be timed.
    """
    model = layout.model / "model.safetensors"
    if not model.is_file():
        raise SgcpError(f"{model}: no such file; run `sgcp train {layout.dataset}` first")
    onnx_of(model)  # kept in the cache, so that no contender's process has to make it
    device, threads = choose_device(machine), settings.threads or cores()
    jobs = jobs_on_cpu(model, settings.size, threads, settings.contenders)
    if device == "cuda":
        jobs = jobs_on_gpu(model, settings.size, settings.contenders) + jobs
    with TemporaryDirectory() as folder, ExitStack() as stack:
        files = folder_pictures(images) if images else dataset_pictures(layout)
        pictures = write_pictures(load_pictures(files, settings), Path(folder))
        runners, left_out = start(jobs, pictures, stack)
        rows = [Row(runner, threads) for runner in runners]
        take_turns(rows, settings.rounds)
        agree(rows, plain_labels(model, pictures))
    content = describe(settings, device, threads) | {
        "pictures": {"from": str(images) if images else layout.dataset, "number": len(pictures)},
        "rows": [row.to_json(settings.size) for row in rows],
        "left_out": left_out,
    }
    show(rows, left_out, settings.size)
    target = out or (None if by_hand else layout.speed)
    if target is not None:
        write_json(target, content)
        say(f"{target}: {len(rows)} contenders")


def dataset_pictures(layout: Layout) -> list[Path]:
    """Return the pictures of the validation split."""
    items = read_dataset(layout.prepared).split("val", labelled=False)
    return [layout.raw / item.image for item in items]


def folder_pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder, by their names.

    Raises:
        SgcpError: it has none.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    pictures = [file for file in files if file.suffix.lower() in (".png", ".jpg", ".jpeg")]
    if not pictures:
        raise SgcpError(f"{folder}: no folder of PNG or JPEG pictures")
    return pictures


def load_pictures(files: list[Path], settings: BenchmarkSettings) -> list[UInt8]:
    """Read some of the pictures, from first to last, resized to the size that is timed."""
    chosen = np.linspace(0, len(files) - 1, min(settings.images, len(files))).astype(int)
    height, width = settings.size
    pictures = []
    for index in chosen:
        image = read_image(files[index])
        if image.shape[:2] != settings.size:
            resized = Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)
            image = np.array(resized)
        pictures.append(image)
    return pictures


def start(
    jobs: list[Job], pictures: list[Path], stack: ExitStack
) -> tuple[list[Runner], dict[str, str]]:
    """Start the contenders one after the other; return them, and why others are left out."""
    runners, left_out = [], {}
    for job in track(jobs, "starting", len(jobs)):
        runner = Runner(job, pictures)
        stack.callback(runner.close)
        try:
            runner.start()
            runners.append(runner)
        except SgcpError as error:
            left_out[title(job)] = str(error)
    if not runners:
        raise SgcpError(f"nothing could be timed: {'; '.join(left_out.values())}")
    return runners, left_out


class Row:
    """One contender's times, in seconds, and what else is known of it."""

    def __init__(self, runner: Runner, threads: int) -> None:
        self.runner = runner
        self.job = runner.job
        self.threads = threads
        self.seconds: dict[str, list[float]] = {task: [] for task in runner.tasks}
        self.peak: dict[str, int] = {}
        self.others: int | None = None
        """Pixels labelled otherwise than by eager PyTorch in fp32, over all pictures."""

    def take_turn(self, task: str) -> None:
        """Time a task once more."""
        self.seconds[task] += self.runner.ask(task)
        if not self.job.exports_itself:
            self.peak["files" if task == "files" else "labels"] = self.runner.ask("memory")

    def milliseconds(self, task: str, percentile: int = 50) -> float:
        """Return a percentile of a task's times."""
        return float(np.percentile(self.seconds[task], percentile)) * 1e3

    def to_json(self, size: tuple[int, int]) -> dict[str, Any]:
        """Return what the metrics file says of it."""
        tasks = {
            task: {
                "p50_ms": round(self.milliseconds(task), 2),
                "p95_ms": round(self.milliseconds(task, 95), 2),
                "images_per_second": round(1e3 / self.milliseconds(task), 2),
                "runs": len(self.seconds[task]),
            }
            for task in self.seconds
        }
        return {
            "network": self.job.network,
            "engine": self.job.engine,
            "precision": self.job.precision,
            "device": self.job.device,
            "threads": self.threads,
            "tasks": tasks,
            "peak_mib": {task: round(peak / 2**20) for task, peak in self.peak.items()},
            "other_labels": self.others,
            **size_of(self.job, size),
        }


def take_turns(rows: list[Row], rounds: int) -> None:
    """Time every task of every contender, by turns, so that a noisy moment hits all alike."""
    turns = [
        (row, task)
        for task in TASKS  # the folder last: its second engine adds to the peak memory
        for _ in range(rounds)
        for row in rows
        if task in row.seconds
    ]
    for row, task in track(turns, "timing", len(turns)):
        row.take_turn(task)


def plain_labels(model: Path, pictures: list[Path]) -> list[UInt8]:
    """Label pictures by eager PyTorch in fp32, all scores resized: what all are compared to."""
    import torch

    from sgcp.inference.predict import Predictor
    from sgcp.models.artifact import load_model
    from sgcp.models.network import Normalize

    network, card = load_model(model)
    predictor = Predictor(network, Normalize(card.mean, card.std))
    images = (torch.from_numpy(read_image(picture)).permute(2, 0, 1)[None] for picture in pictures)
    return [predictor(image)[0].numpy() for image in images]


def agree(rows: list[Row], plain: list[UInt8]) -> None:
    """Count the pixels that each way of running our network labels otherwise."""
    for row in rows:
        if row.job.network in (OWN, REFERENCE):
            pairs = zip(row.runner.ask("label"), plain, strict=True)
            row.others = sum(int(np.count_nonzero(one != other)) for one, other in pairs)


def describe(settings: BenchmarkSettings, device: str, threads: int) -> dict[str, Any]:
    """Return where and how was timed."""
    return {
        "size": list(settings.size),
        "batch": 1,
        "threads": threads,
        "device": device,
        "processor": processor(),
        "warm_up": "loading and one run, then one run before each turn",
        "timed": "network and labels: the first picture; files: all, a picture's share",
        "tasks": TASKS,
        "versions": {name: found for name in PACKAGES if (found := installed(name))},
    }


def installed(name: str) -> str | None:
    """Return a package's version, if it is there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """Return the processor's name, and how many cores of it this process may use."""
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{cores()} cores of {name}"


def title(job: Job) -> str:
    """Name a contender in one line."""
    place = " on the GPU" if job.device == "cuda" else ""
    return f"{job.network}, {job.engine} {job.precision}{place}"


def show(rows: list[Row], left_out: dict[str, str], size: tuple[int, int]) -> None:
    """Print the table, with ratios to the authors' way."""
    reference = next((row for row in rows if row.job.network == REFERENCE), None)
    table = Table(title=f"{size[0]}x{size[1]}, medians in ms (times as fast as the reference)")
    table.add_column("network, engine")
    for heading in ("network", "labels", "files", "peak MiB", "other labels"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [cell(row, reference, task) for task in TASKS]
        others = "" if row.others is None else f"{row.others:,}"
        peak = f"{row.peak['labels'] / 2**20:.0f}" if row.peak else ""
        table.add_row(title(row.job), *cells, peak, others)
    say(table)
    for name, reason in left_out.items():
        say(f"left out: {name}: {reason}")


def cell(row: Row, reference: Row | None, task: str) -> str:
    """Return a time and its ratio to the authors'."""
    if task not in row.seconds:
        return ""
    took = row.milliseconds(task)
    if reference is None:
        return f"{took:.1f}"
    return f"{took:.1f} ({reference.milliseconds(task) / took:.1f}x)"
