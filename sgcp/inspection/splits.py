"""A prepared dataset in numbers, split by split; images are counted one by one, and not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.datasets.index import SPLITS
from sgcp.inspection.statistics import ImageStatistics

WORST = 10  # images of least label coverage that are named


@dataclass
class SplitSummary:
    """One split in numbers."""

    name: str
    classes: Sequence[SemanticClass]
    images: int = 0
    labels: int = 0
    """Label maps that could be read."""
    pixels: Counter[int] = field(default_factory=Counter)
    """Of all label maps, by id, 255 included."""
    images_with: Counter[int] = field(default_factory=Counter)
    """Label maps in which a class occurs, by train id."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Images by (height, width), as the files are."""
    sequences: Counter[str] = field(default_factory=Counter)
    """Images by city or recording."""
    coverage: list[tuple[float, str]] = field(default_factory=list)
    """Share of labelled pixels and path of each image that has a label."""

    def add(self, one: ImageStatistics) -> None:
        """Count one image."""
        self.images += 1
        self.sequences[one.item.sequence] += 1
        if one.image is not None:
            self.sizes[one.image.size] += 1
        if one.label is not None:
            self.labels += 1
            self.pixels.update(one.label.pixels)
            self.images_with.update(one.label.classes)
            self.coverage.append((one.label.coverage, one.name))

    @property
    def labelled_share(self) -> float | None:
        """Share of the pixels that are not 255; None without labels."""
        total = self.pixels.total()
        return 1 - self.pixels[IGNORE] / total if total else None

    def pixel_share(self, train_id: int) -> float | None:
        """Share of a class among the labelled pixels; None where nothing is labelled."""
        labelled = self.pixels.total() - self.pixels[IGNORE]
        return self.pixels[train_id] / labelled if labelled else None

    def image_share(self, train_id: int) -> float | None:
        """Share of the labelled images in which a class occurs; None without labels."""
        return self.images_with[train_id] / self.labels if self.labels else None

    def worst(self) -> list[tuple[float, str]]:
        """Return the images of least label coverage."""
        return sorted(self.coverage)[:WORST]

    def to_json(self) -> dict[str, Any]:
        """Return every number, for scripts."""
        shares = [share for share, _ in self.coverage]
        return {
            "images": self.images,
            "labels": self.labels,
            "sizes": {f"{h}x{w}": n for (h, w), n in self.sizes.most_common()},
            "sequences": dict(sorted(self.sequences.items())),
            "labelled_share": self.labelled_share,
            "least_labelled_share": min(shares, default=None),
            "least_labelled": [{"name": n, "labelled_share": s} for s, n in self.worst()],
            "classes": {
                item.name: {
                    "pixels": self.pixels[item.train_id],
                    "pixel_share": self.pixel_share(item.train_id),
                    "images": self.images_with[item.train_id],
                    "image_share": self.image_share(item.train_id),
                }
                for item in self.classes
            },
        }


def summarize_splits(
    images: Iterable[ImageStatistics], classes: Sequence[SemanticClass]
) -> dict[str, SplitSummary]:
    """Count images by split, in the order of ``SPLITS``; a split without images is left out."""
    found = {name: SplitSummary(name, classes) for name in SPLITS}
    for one in images:
        found[one.item.split].add(one)
    return {name: summary for name, summary in found.items() if summary.images}


def of_split(splits: Mapping[str, SplitSummary], split: str | None) -> dict[str, SplitSummary]:
    """Return the numbers of one split, or of all for None."""
    return {name: part for name, part in splits.items() if split in (None, name)}
