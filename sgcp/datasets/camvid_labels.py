"""CamVid's labels, of any edition and under either protocol, to train ids."""

import csv
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import IGNORE, UNLISTED, camvid_classes, color_code, color_codes
from sgcp.media.images import UInt8

SEGNET_VOID = 11  # the SegNet edition's twelfth index
MAX_BYTES = 2**16  # of a list of colours, which has 32 lines
HEADINGS = ["name", "r", "g", "b"]  # of class_dict.csv

# Which of the 32 source classes become which of the 11 (DESIGN, section 4, with the measured
# shares); every class not named is ignored.
STRICT = {
    "Sky": "Sky",
    "Building": "Building",
    "Column_Pole": "Pole",
    "Road": "Road",
    "Sidewalk": "Pavement",
    "Tree": "Tree",
    "SignSymbol": "SignSymbol",
    "Fence": "Fence",
    "Car": "Car",
    "Pedestrian": "Pedestrian",
    "Bicyclist": "Bicyclist",
}
GROUPED = STRICT | {
    "Bridge": "Building",
    "Tunnel": "Building",
    "Wall": "Building",
    "LaneMkgsDriv": "Road",
    "LaneMkgsNonDriv": "Road",
    "ParkingBlock": "Pavement",
    "RoadShoulder": "Pavement",
    "VegetationMisc": "Tree",
    "Misc_Text": "SignSymbol",
    "TrafficLight": "SignSymbol",
    "SUVPickupTruck": "Car",
    "Truck_Bus": "Car",
}
PROTOCOLS: Mapping[str, Mapping[str, str]] = {"strict": STRICT, "grouped": GROUPED}


def read_colors(path: Path) -> dict[str, tuple[int, int, int]]:
    """Read a list of colours, a line for each class.

    ``label_colors.txt`` has lines ``R G B<tabs>Name``; ``class_dict.csv``, ``Name,R,G,B`` below a
    line of headings.

    Raises:
        SgcpError: missing, far too long, a line that is not of this form, or a colour or name
            given twice.
    """
    colors: dict[str, tuple[int, int, int]] = {}
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise SgcpError(f"{path}: no list of colours; get it again")
    form = "Name,R,G,B" if path.suffix == ".csv" else "R G B Name"
    # A byte that is no UTF-8 ends up in the message about its line.
    text = path.read_text(encoding="utf-8-sig", errors="backslashreplace")
    for number, line in enumerate(text.splitlines(), start=1):
        name, *parts = _split_line(line, path.suffix)
        if not line.strip() or (number == 1 and [name, *parts] == HEADINGS):
            continue
        valid = len(parts) == 3 and all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts)
        if not valid or max(map(int, parts)) > 255 or not re.fullmatch(r"\w+", name):
            raise SgcpError(f"{path}, line {number}: expected '{form}', got {line[:80]!r}")
        red, green, blue = map(int, parts)
        color = (red, green, blue)
        if name in colors or color in colors.values():
            raise SgcpError(f"{path}, line {number}: {name} {color} is listed twice")
        colors[name] = color
    return colors


def _split_line(line: str, ending: str) -> list[str]:
    """Return a line's name and what should be its colour."""
    if ending == ".csv":
        return [field.strip() for field in next(csv.reader([line]), [])] or [""]
    parts = line.split()
    return [*parts[3:4], *parts[:3], *parts[4:]] or [""]


def color_table(colors_file: Path, protocol: str) -> UInt8:
    """Return a table from 24-bit colour (R * 65536 + G * 256 + B) to train id, (2**24,) uint8.

    Raises:
        SgcpError: the colours lack a class that the protocol names.
    """
    colors = read_colors(colors_file)
    absent = sorted(PROTOCOLS[protocol].keys() - colors.keys())
    if absent:
        raise SgcpError(f"{colors_file}: lacks {', '.join(absent)}, which the protocol needs")
    # Kept by content: another project's file may have the same name.
    return _fill_table(tuple(colors.items()), protocol)


@cache
def _fill_table(colors: tuple[tuple[str, tuple[int, int, int]], ...], protocol: str) -> UInt8:
    mapping = PROTOCOLS[protocol]
    train_ids = {item.name: item.train_id for item in camvid_classes()}
    table = np.full(2**24, UNLISTED, dtype=np.uint8)
    for name, (red, green, blue) in colors:
        target = mapping.get(name)
        code = color_code(red, green, blue)
        table[code] = IGNORE if target is None else train_ids[target]
    return table


def convert_colors(rgb: UInt8, table: UInt8, source: Path) -> UInt8:
    """Map colours (H, W, 3) to train ids (H, W).

    Raises:
        SgcpError: a colour that the list of colours lacks.
    """
    return _refuse_unlisted(table[color_codes(rgb)], rgb, source, "colour")


def convert_indices(indices: UInt8, source: Path) -> UInt8:
    """Map the SegNet edition's indices (H, W) to train ids (H, W): void, 11, becomes 255.

    Raises:
        SgcpError: an index beyond 11 other than 255.
    """
    table = np.full(256, UNLISTED, dtype=np.uint8)
    table[:SEGNET_VOID] = np.arange(SEGNET_VOID)
    table[[SEGNET_VOID, IGNORE]] = IGNORE
    return _refuse_unlisted(table[indices], indices, source, "id")


def _refuse_unlisted(label: UInt8, values: UInt8, source: Path, what: str) -> UInt8:
    unlisted = label == UNLISTED
    if unlisted.any():
        y, x = np.argwhere(unlisted)[0].tolist()
        value = values[y, x].tolist()
        raise SgcpError(
            f"{source}: unlisted {what} {value} at row {y}, column {x} "
            f"({int(unlisted.sum())} such pixels); the label map is damaged or of another dataset"
        )
    return label
