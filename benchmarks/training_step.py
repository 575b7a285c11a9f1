"""Compare ways to take one training step on a CPU.

Prints images/s of each way and its ratio to the first, measured in alternation in one run. Every
way runs in a process of its own, since memory settings cannot be taken back.
"""

import argparse
import statistics
import subprocess
import sys
import time

WAYS = ("contiguous", "channels-last", "channels-last + kept memory")


def measure(way: str, batch: int, height: int, width: int, steps: int) -> float:
    """Return images/s of one way, after two steps of warm-up."""
    import torch

    from sgcp.memory import keep_freed_memory
    from sgcp.models import SGCPNet
    from sgcp.training.optimization import segmentation_loss

    if "kept memory" in way and not keep_freed_memory():
        raise SystemExit("this C library has no mallopt")
    layout = torch.channels_last if "channels-last" in way else torch.contiguous_format
    network = SGCPNet(11).train().to(memory_format=layout)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    image = torch.randn(batch, 3, height, width).contiguous(memory_format=layout)
    label = torch.randint(0, 11, (batch, height, width))
    for step in range(steps + 2):
        if step == 2:
            started = time.perf_counter()
        loss = segmentation_loss(network(image), label, 0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps * batch / (time.perf_counter() - started)


def main() -> None:
    """Run every way in turn, several times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 480), metavar=("H", "W"))
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(measure(options.way, options.batch, *options.size, options.steps))
        return
    speeds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
            speeds[way].append(float(subprocess.check_output(command, text=True)))
    base = statistics.median(speeds[WAYS[0]])
    print(f"batch {options.batch} at {options.size[0]}x{options.size[1]}, medians")
    for way in WAYS:
        median = statistics.median(speeds[way])
        print(f"{way:30} {median:6.1f} images/s  x{median / base:.2f}")


if __name__ == "__main__":
    main()
