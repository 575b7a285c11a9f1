"""Time what one core does for one training image of Cityscapes: read, check, augment.

    python benchmarks/loading.py [--images 8]

The images are scenes of the sample's generator at 1024x2048, of 4.1 MB each as PNG; Cityscapes'
own have 2.2 MB. Prints milliseconds an image on one thread, and the time to average the network's
gradients over two processes of this machine with gloo.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, nn

from sgcp.datasets.index import Item
from sgcp.datasets.loader import SegmentationDataset
from sgcp.datasets.sample import generate_sample
from sgcp.datasets.transforms import TrainTransform
from sgcp.media.images import read_image, read_label, write_png
from sgcp.models import SGCPNet
from sgcp.settings.load import load_params

ROUNDS = 3


def milliseconds(function: Callable[[object], object], tasks: list) -> float:
    """Return the median over the tasks of the fastest call of each."""

    def once(task: object) -> float:
        started = time.perf_counter()
        function(task)
        return time.perf_counter() - started

    return 1000 * statistics.median(min(once(task) for _ in range(ROUNDS)) for task in tasks)


def load(folder: Path, pictures: int) -> None:
    """Print what loading costs."""
    generate_sample(folder, 5, (1024, 2048), {"train": pictures, "val": 1, "test": 1}, "auto")
    settings = load_params(Path(__file__).parent.parent / "params.yaml").cityscapes.recipes["paper"]
    transform = TrainTransform(
        settings.crop, settings.scale, settings.min_short_side, settings.flip,
        settings.color_jitter,
    )  # fmt: skip
    images = sorted(folder.glob("leftImg8bit/train/*/*.png"))
    labels = sorted(folder.glob("gtFine/train/*/*_labelIds.png"))
    for label in labels:  # as `sgcp prepare` writes them
        write_png(label, read_label(label))
    items = [
        Item("train", image, "", 1024, 2048, "", label)
        for image, label in zip(images, labels, strict=True)
    ]
    pairs = SegmentationDataset(items, Path(), Path(), 34, transform)
    size = statistics.mean(path.stat().st_size for path in images)
    indices = list(range(len(items)))
    print(f"{len(items)} images of 1024x2048, {size / 1e6:.1f} MB, one thread, ms an image")
    print(f"read the image            {milliseconds(read_image, images):8.1f}")
    print(f"read the label map        {milliseconds(read_label, labels):8.1f}")
    print(f"the pair, read, augmented {milliseconds(pairs.__getitem__, indices):8.1f}")


def average() -> None:
    """As one of two processes, average gradients; the first prints the milliseconds."""
    distributed.init_process_group("gloo")
    network = SGCPNet(19)
    flat = torch.zeros(sum(p.numel() for p in network.parameters()))
    times = []
    for _ in range(50):
        distributed.barrier()
        started = time.perf_counter()
        distributed.all_reduce(flat)
        times.append(time.perf_counter() - started)
    if distributed.get_rank() == 0:
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        channels = sum(norm.num_features for norm in norms)
        print(f"gradients                 {flat.numel() * 4 / 1e6:8.2f} MB")
        print(f"averaged over gloo        {1000 * statistics.median(times):8.2f}")
        print(f"batch-norm layers         {len(norms):8} of {channels} channels in all")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        average()
        return
    with tempfile.TemporaryDirectory() as folder:
        load(Path(folder), options.pictures)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        __file__,
    ]  # fmt: skip
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
