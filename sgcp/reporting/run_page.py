"""The page about one run: what it scored, how it was made, and where it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sgcp.media.images import UInt8
from sgcp.reporting.page import Cell, Chart, label_uri, percent, photo_uri, render
from sgcp.reporting.palettes import official, safe

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass

LONGEST = 1024  # pixels of an image's longer side on the page
# A label map on the page is grey: train id + 1, and 0 where nothing is scored.
IDS = np.arange(1, 256, dtype=np.uint8)[:, None].repeat(3, axis=1)


@dataclass(frozen=True)
class Facts:
    """A table of names and values."""

    title: str
    rows: Sequence[tuple[str, Cell]]
    note: str = ""
    """Said instead, where there are no rows."""


@dataclass(frozen=True)
class Shown:
    """One image of the page."""

    place: str
    """``best``, ``median``, ..."""
    name: str
    miou: float
    pixel_accuracy: float
    image: UInt8
    """(H, W, 3) RGB."""
    truth: UInt8
    """(H, W) train ids, as the prediction."""
    prediction: UInt8

    @property
    def title(self) -> str:
        """What it is called on the page."""
        return f"{self.place.capitalize()}: {self.name}"

    @property
    def said(self) -> str:
        """Its scores in words."""
        return f"mIoU {percent(self.miou)} %, pixel accuracy {percent(self.pixel_accuracy)} %"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) on the page, pixels."""
        height, width = self.truth.shape
        factor = min(1.0, LONGEST / max(height, width))
        return max(1, round(width * factor)), max(1, round(height * factor))

    @property
    def sources(self) -> dict[str, str]:
        """Photo and label maps as addresses that hold them, by view."""
        photo = Image.fromarray(self.image).resize(self.size, Image.Resampling.LANCZOS)
        maps = {"truth": self.truth, "prediction": self.prediction}
        return {"image": photo_uri(np.asarray(photo))} | {
            name: label_uri(self._shrink(label), IDS) for name, label in maps.items()
        }

    def _shrink(self, label: UInt8) -> UInt8:
        return np.asarray(Image.fromarray(label).resize(self.size, Image.Resampling.NEAREST))


@dataclass(frozen=True)
class RunPage:
    """All that the page shows."""

    title: str
    subtitle: str
    headline: Sequence[tuple[str, str, str]]
    """Name, value in per cent, and what stands below it, of each score."""
    warnings: Sequence[str]
    """What keeps numbers from meaning what they seem to."""
    recipe: Facts
    scoring: Facts
    origin: Facts
    curves: Sequence[Chart]
    no_curves: str
    """Why there are none."""
    unfinished: str
    """How far a later training run is; empty where there is none."""
    unfinished_curves: Sequence[Chart]
    """Curves of that run."""
    classes: Chart
    confusion: Chart
    images: Sequence[Shown]
    speed: Speed
    links: Sequence[tuple[str, str]]
    """What a file is, and where it lies from the page."""
    made: str
    """By what, and where."""

    @property
    def charts(self) -> list[Chart]:
        """Every chart, in the order of the page."""
        return [*self.curves, *self.unfinished_curves, self.classes, self.confusion]

    def to_html(self, classes: tuple[SemanticClass, ...]) -> str:
        """Return the page; it asks no network for anything."""
        return render("report.html", page=self, charts=self.charts, legend=make_legend(classes))


@dataclass(frozen=True)
class Speed:
    """Times as a table; without rows where nothing was timed."""

    said: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Cell]] = field(default_factory=tuple)


def make_legend(classes: tuple[SemanticClass, ...]) -> list[dict[str, Any]]:
    """Return each class's name and its colour in both palettes, in order of train id."""
    palettes = (official(classes), safe(len(classes)))
    return [
        {"name": item.name, "official": hexadecimal(one), "safe": hexadecimal(two)}
        for item, one, two in zip(classes, *palettes, strict=True)
    ]


def hexadecimal(color: UInt8) -> str:
    """Return (3,) RGB as ``#rrggbb``."""
    return "#" + bytes(color.tolist()).hex()


def flatten(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Cell]]:
    """Return names and values of nested JSON as rows, inner names after a dot."""
    rows: list[tuple[str, Cell]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", write(value)))
    return rows


def write(value: Any) -> str:
    """Return a setting as ``params.yaml`` has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write, value))}]"
    return str(value)


def speed_table(speed: Mapping[str, Any]) -> Speed:
    """Return the table of ``speed.json``, medians in milliseconds."""
    tasks = list(speed["tasks"])
    columns = ["network, engine", *(f"{task}, ms" for task in tasks), "peak, MiB", "parameters",
               "GFLOP"]  # fmt: skip
    rows: list[list[Cell]] = []
    for row in speed["rows"]:
        times = [row["tasks"].get(task, {}).get("p50_ms") for task in tasks]
        name = f"{row['network']}, {row['engine']} {row['precision']} ({row['device']})"
        peak = row["peak_mib"].get("labels")
        rows.append([name, *times, peak, row.get("parameters"), row.get("gflop")])
    height, width = speed["size"]
    meant = "; ".join(f"{task}: {text}" for task, text in speed["tasks"].items())
    said = (
        f"Medians of an image of {height}x{width} pixels (height, width) on "
        f"{speed['processor']}, {speed['threads']} threads, {speed['device']}. {meant}."
    )
    return Speed(said, columns, rows)
