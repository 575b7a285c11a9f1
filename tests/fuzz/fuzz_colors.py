"""label_colors.txt."""

from pathlib import Path

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["sgcp.datasets.camvid"]):
    from sgcp.datasets.camvid import read_colors


def read(path: Path) -> None:
    colors = read_colors(path)
    assert len(set(colors.values())) == len(colors)
    assert all(0 <= part <= 255 for color in colors.values() for part in color)


fuzz(read, "label_colors.txt", [b"64 128 64\tAnimal\n192 0 128\t\tArchway\n0 0 0\t\tVoid"])
