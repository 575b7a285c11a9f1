"""Show where a training step's time goes on a CPU: batch 8 at 360x480, 11 classes.

    python benchmarks/training_profile.py [--plain-loss] [--compile]

Steps of this project's network, loss and optimizer on random images, under torch.profiler; its
operators are summed up by what they belong to.
"""

import argparse
from collections import Counter

import torch
from torch.profiler import profile

from sgcp.core.memory import keep_freed_memory
from sgcp.models import SGCPNet
from sgcp.training.kernels.banded_cross_entropy import plain_loss, segmentation_loss

WARM_UP, STEPS = 20, 10  # before that many steps, memory is still being fetched from the system
KINDS = {
    "compiled: norms, activations, sums": ("cpp_fused",),
    "convolution, backward": ("convolution_backward", "constant_pad"),
    "convolution": ("convolution",),
    "batch norm, backward": ("batch_norm_backward",),
    "batch norm": ("batch_norm",),
    "activations": ("hardswish", "threshold", "clamp_min", "silu", "hardsigmoid", "relu"),
    "resizing and pooling inside": ("upsample_nearest", "max_pool", "avg_pool", "mean"),
    "resizing of the scores, plain loss": ("upsample_bilinear",),
    "softmax and picking, plain loss": ("log_softmax", "nll_loss"),
    "banded loss": (
        "bmm", "mm", "gather", "scatter", "exp", "amax", "log", "where", "ne", "sub",
    ),
    "optimizer": ("adamw", "AdamW"),
}  # fmt: skip


def kind(operator: str) -> str:
    """Return what an operator belongs to."""
    name = operator.removeprefix("aten::").strip("_")
    for label, parts in KINDS.items():
        exact = label == "banded loss"
        if any(name == part if exact else part in name for part in parts):
            return label
    return "sums, products, copies, overhead"


def main() -> None:
    """Profile some steps and print ms a step and shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain-loss", action="store_true", help="resize all scores, then score")
    parser.add_argument("--compile", action="store_true", help="the compiled network")
    options = parser.parse_args()
    loss = plain_loss if options.plain_loss else segmentation_loss
    keep_freed_memory()
    torch._inductor.config.cpp.enable_kernel_profile = True  # else its kernels have no names
    network = SGCPNet(11).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    called = torch.compile(network, dynamic=False) if options.compile else network
    image = torch.randn(8, 3, 360, 480).contiguous(memory_format=torch.channels_last)
    label = torch.randint(0, 11, (8, 360, 480), dtype=torch.uint8)

    def step() -> None:
        optimizer.zero_grad()
        loss(called(image), label, 0.0).backward()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    with profile() as recorded:
        for _ in range(STEPS):
            step()
    times: Counter[str] = Counter()
    for event in recorded.key_averages():
        times[kind(event.key)] += event.self_cpu_time_total / 1000 / STEPS
    total = sum(times.values())
    print(f"{'':34}ms a step  share")
    for label_, time in times.most_common():
        print(f"{label_:34}{time:9.1f}  {time / total:5.1%}")
    print(f"{'all':34}{total:9.1f}")


if __name__ == "__main__":
    main()
