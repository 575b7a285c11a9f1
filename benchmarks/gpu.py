"""Time labelling and training steps on a GPU, and check what several processes share there.

    python benchmarks/gpu.py [labels] [steps] [sync]

labels: the network and the whole way from array to labels, at the sizes of the paper, in each
precision, eager and from a recorded CUDA graph. steps: training steps of Cityscapes' recipe `paper`
on images in memory, the authors' way and ours, eager and recorded. sync: eight steps of one
process, of two that share the GPU and halve the batch, their batch norms synchronised as on two
GPUs (by gloo: NCCL refuses two processes on one GPU), and of one process under NCCL.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from timing import time_by_turns
from torch.nn import functional as F

from sgcp.inference.engines.torch_engine import CudaEngine
from sgcp.models.card import ModelCard
from sgcp.models.network import Normalize, SGCPNet
from sgcp.settings.load import load_params
from sgcp.training.loop import train_one_step
from sgcp.training.run import start

ROOT = Path(__file__).parent.parent
CLASSES = 19
SIZES = ((768, 1536), (1024, 2048))
PUBLISHED = "published: 178.5 frames/s at 768x1536 on a GTX 1080 Ti"
BATCHES = (12, 36)
AUTHORS = "authors' way"
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
STEPS = 8


def settled(function: Callable[[], Any]) -> Callable[[], None]:
    """Return a call that ends when the GPU has done its work."""

    def call() -> None:
        function()
        torch.cuda.synchronize()

    return call


def time_labels() -> None:
    """Print the milliseconds of the network, and of everything from array to labels."""
    print(PUBLISHED)
    rows = [
        {"train_id": i, "label_id": i, "name": str(i), "color": [i] * 3} for i in range(CLASSES)
    ]
    card = ModelCard(classes=rows, dataset="noise", edition="", protocol="")
    network = SGCPNet(CLASSES).eval()
    for size in SIZES:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        calls: dict[str, Callable[[], Any]] = {}
        plain = SGCPNet(CLASSES).eval().cuda()
        x = torch.randn(1, 3, *size, device="cuda")
        calls["network  eager, channels first, fp32"] = lambda x=x, plain=plain: plain(x)
        for precision in CudaEngine.precisions:
            engine = CudaEngine(network, card, precision)
            given = torch.from_numpy(image)[None].cuda()
            calls[f"network  eager, {precision}"] = lambda e=engine, g=given: e.graph(g)
            engine.run(image)  # records
            recording = next(iter(engine.recorded.values()))[0]
            calls[f"network  recorded, {precision}"] = recording.replay
            calls[f"labels   {precision}"] = lambda e=engine, i=image, s=size: e.label(i, s)
        with torch.inference_mode():
            settled_calls = {name: settled(call) for name, call in calls.items()}
            times = time_by_turns(settled_calls, rounds=40, warm_up=5)
        print(f"{size[0]}x{size[1]}")
        for name, seconds in times.items():
            print(f"    {name:40} {1000 * seconds:7.2f} ms  {1 / seconds:7.1f}/s")


def batch_of(count: int, crop: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (B, 3, H, W) and labels (B, H, W) of noise, uint8, in pinned memory."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (count, 3, *crop), dtype=torch.uint8, generator=generator)
    label = torch.randint(0, CLASSES, (count, *crop), dtype=torch.uint8, generator=generator)
    return image.pin_memory(), label.pin_memory()


def authors_step(crop: tuple[int, int], count: int) -> Callable[[], Any]:
    """Return a step as benchmarks/authors_way.py takes it, on the GPU."""
    network = SGCPNet(CLASSES).cuda().train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-5)
    image = torch.randn(count, 3, *crop).pin_memory()
    label = torch.randint(0, CLASSES, (count, *crop)).pin_memory()

    def step() -> None:
        scores = network(image.cuda())
        full = F.interpolate(scores, size=crop, mode="bilinear", align_corners=False)
        loss = F.cross_entropy(full, label.cuda(), ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def our_step(count: int, precision: str, recorded: bool) -> Callable[[], Any]:
    """Return a step of this project's loop."""
    settings = load_params(ROOT / "params.yaml").cityscapes.recipes["paper"]
    settings = settings.model_copy(update={"batch_size": count})
    fabric = Fabric(accelerator="cuda", devices=1, precision=precision)  # type: ignore[arg-type]
    way: Any = "auto" if recorded else False
    run = start(fabric, SGCPNet(CLASSES), Normalize(), settings, 1000, way)
    assert run.compiled == recorded
    run.wrapped.train()
    image, label = batch_of(count, settings.crop)
    return lambda: train_one_step(run, image, label)


def time_steps() -> None:
    """Print images/s of training steps, and the peak of the GPU's memory, each in turn."""
    crop = load_params(ROOT / "params.yaml").cityscapes.recipes["paper"].crop
    print(f"training steps at {crop[0]}x{crop[1]}, images in memory")
    for count in BATCHES:
        base = 0.0
        for name in [AUTHORS, *(f"{p}{r}" for p in PRECISIONS for r in ("", ", recorded"))]:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            precision, _, recorded = name.partition(", ")
            step = (
                authors_step(crop, count)
                if name == AUTHORS
                else our_step(count, precision, bool(recorded))
            )
            seconds = time_by_turns({"": settled(step)}, rounds=10, warm_up=4)[""]
            base = base or count / seconds
            peak = torch.cuda.max_memory_allocated() / 2**30
            print(f"    batch {count:2}  {name:22} {count / seconds:7.1f} images/s"
                  f"  x{count / seconds / base:4.2f}  {peak:5.1f} GiB", flush=True)  # fmt: skip
            del step


def losses_here(backend: str | None) -> list[float]:
    """Take the steps with the processes that torchrun started; return the mean loss of each."""
    settings = load_params(ROOT / "params.yaml").cityscapes.recipes["paper"]
    settings = settings.model_copy(update={"batch_size": 8, "crop": (256, 256), "lr": 0.05})
    strategy: Any = "auto"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if backend:
        devices = [torch.device("cuda", 0)] * world
        strategy = DDPStrategy(parallel_devices=devices, process_group_backend=backend)
    fabric = Fabric(accelerator="cuda", devices=1, strategy=strategy)
    fabric.launch()
    torch.manual_seed(3)
    torch.backends.cudnn.allow_tf32 = False
    run = start(fabric, SGCPNet(CLASSES), Normalize(), settings, STEPS, False)
    norms = [type(m).__name__ for m in run.network.modules() if "BatchNorm" in type(m).__name__]
    run.wrapped.train()
    image, label = batch_of(8, settings.crop)
    mine = slice(fabric.global_rank, None, fabric.world_size)
    losses = []
    for _ in range(STEPS):
        loss = train_one_step(run, image[mine], label[mine])
        losses.append(float(fabric.all_reduce(loss, reduce_op="mean")))
    if fabric.is_global_zero:
        print(json.dumps({"losses": losses, "norms": sorted(set(norms))}))
    return losses


def check_sync() -> None:
    """Print how far the losses of each kind of run are from those of one process."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node"]
    kinds = {
        "one process": [sys.executable],
        "two processes, gloo": [*launcher, "2"],
        "one process, NCCL": [*launcher, "1"],
    }
    # Both ends are on this machine, which may have no other network.
    given = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    running = {}
    for port, (name, command) in enumerate(kinds.items(), 29510):
        backend = name.partition(", ")[2].lower()
        arguments = ["--losses", *([backend] if backend else [])]
        running[name] = subprocess.Popen(
            [*command, *([f"--master-port={port}"] if backend else []), __file__, *arguments],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | given,
        )  # fmt: skip
    first: list[float] = []
    for name, process in running.items():
        out, err = process.communicate()
        if process.returncode:
            print(f"    {name}: exit code {process.returncode}\n{err[:3000]}")
            continue
        row = json.loads(next(line for line in out.splitlines() if line.startswith("{")))
        first = first or row["losses"]
        apart = max(abs(a / b - 1) for a, b in zip(row["losses"], first, strict=True))
        print(f"    {name:22} {', '.join(row['norms']):28} last loss {row['losses'][-1]:.5f}, "
              f"apart by at most {apart:.1e}", flush=True)  # fmt: skip


def main() -> None:
    """Run the parts that are asked for, or all."""
    parts = {"labels": time_labels, "steps": time_steps, "sync": check_sync}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*parts, []])
    parser.add_argument("--losses", nargs="?", const="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.losses is not None:
        losses_here(options.losses or None)
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    for name in options.parts or parts:
        parts[name]()


if __name__ == "__main__":
    main()
