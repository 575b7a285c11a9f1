"""Time a training step with and without a teacher.

    python benchmarks/distillation.py TEACHER [--batch 8] [--rounds 10] [--compile]

TEACHER is a model of ours, by its folder or .safetensors, or the name of a network, which then has
random weights: they do not change the time. Steps of the recipe `strong` of CamVid on random crops,
by turns; prints the medians in milliseconds, and their ratio.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric

from sgcp.core.machine import keep_freed_memory
from sgcp.datasets.classes import camvid_classes, classes_to_json
from sgcp.models import build_network, trust
from sgcp.models.card import ModelCard
from sgcp.models.network import Normalize, SGCPNet
from sgcp.settings.load import load_params
from sgcp.speed.timing import time_by_turns
from sgcp.training.distillation import Teacher, read_teacher
from sgcp.training.loop import train_one_step
from sgcp.training.run import Run, start

ROOT = Path(__file__).parent.parent


def open_teacher(name: str) -> Teacher:
    """Return a trained teacher, or a network of that name with random weights."""
    if Path(name).exists():
        return read_teacher(Path(name))
    trust(name)
    card = ModelCard(classes_to_json(camvid_classes()), "camvid", "segnet", "grouped", name)
    return Teacher(build_network(name, len(card.classes)), card, "")


def step(run: Run, image: torch.Tensor, label: torch.Tensor) -> None:
    """Take a step and wait for its end."""
    train_one_step(run, image, label).item()


def main() -> None:
    """Time both by turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("teacher")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compile", action="store_true", help="the student; takes minutes")
    options = parser.parse_args()
    keep_freed_memory()
    teacher = open_teacher(options.teacher)
    classes = len(teacher.card.classes)
    changes = {"batch_size": options.batch, "distill": 1.0}
    settings = load_params(ROOT / "params.yaml").camvid.recipes["strong"]
    settings = settings.model_copy(update=changes)
    fabric = Fabric(devices=1)
    compiling = "auto" if fabric.device.type == "cuda" else options.compile
    ways = {
        name: start(fabric, SGCPNet(classes), Normalize(), settings, 100, compiling, None, given)
        for name, given in (("labels alone", None), ("and a teacher", teacher))
    }
    shape = (options.batch, *settings.crop)
    image = torch.randint(0, 256, (shape[0], 3, *shape[1:]), dtype=torch.uint8)
    label = torch.randint(0, classes, shape, dtype=torch.uint8)
    for run in ways.values():
        run.wrapped.train()
    steps = {name: partial(step, run, image, label) for name, run in ways.items()}
    medians = time_by_turns(steps, options.rounds, warm_up=2)
    place = fabric.device.type, torch.get_num_threads()
    print(f"{options.batch} crops of {shape[1]}x{shape[2]}, {place[0]}, {place[1]} threads")
    for name, median in medians.items():
        print(f"{name:14} {1000 * median:8.1f} ms  x{median / medians['labels alone']:.2f}")


if __name__ == "__main__":
    main()
