"""Time each change of colours in training, on one core.

    python benchmarks/augmentation.py [--size 360 480]

Prints milliseconds a crop (median), and how many times that of ``color_jitter: 0.4`` it is.
"""

import argparse
from functools import partial

import torch
from timing import time_by_turns

from sgcp.datasets.photometric import Photometric
from sgcp.datasets.transforms import sample_generator

ROUNDS = 100
SETTINGS = {
    "color_jitter": 0.4, "gamma": 0.4, "channel_gain": 0.28, "hue": 0.05, "grey": 1.0,
    "noise": 10.0,
}  # fmt: skip


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[360, 480])
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = sample_generator(0, 0, 0)
    image = torch.randint(0, 256, (3, *options.size), dtype=torch.uint8, generator=generator)
    ways = {key: Photometric(**{key: value}) for key, value in SETTINGS.items()}
    ways["all but noise"] = Photometric(**SETTINGS | {"noise": 0.0})
    times = time_by_turns(
        {name: partial(way, image, generator) for name, way in ways.items()}, ROUNDS
    )
    for name, seconds in times.items():
        print(f"{name:14} {1e3 * seconds:6.2f} ms  x{seconds / times['color_jitter']:.2f}")


if __name__ == "__main__":
    main()
