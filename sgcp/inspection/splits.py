"""A prepared dataset in numbers, split by split."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.datasets.index import SPLITS
from sgcp.inspection.statistics import ImageStatistics

WORST = 10  # images of least label coverage that are named


class SplitSummary:
    """One split in numbers.

    Attributes:
        labels: number of label maps that could be read.
        pixels: of all label maps, by id, 255 included.
        images_with: label maps in which a class occurs, by train id.
        sizes: images by (height, width), as the files are.
        sequences: images by city or recording.
        coverage: share of labelled pixels and path of each image that has a label, the least first.
    """

    def __init__(self, images: Sequence[ImageStatistics], classes: Sequence[SemanticClass]) -> None:
        labelled = [(one.name, one.label) for one in images if one.label is not None]
        self.classes, self.images, self.labels = classes, len(images), len(labelled)
        self.pixels: Counter[int] = Counter()
        for _, label in labelled:
            self.pixels.update(label.pixels)
        self.images_with = Counter(k for _, label in labelled for k in label.classes)
        self.sizes = Counter(one.image.size for one in images if one.image is not None)
        self.sequences = Counter(one.item.sequence for one in images)
        self.coverage = sorted((label.coverage, name) for name, label in labelled)

    @property
    def labelled_share(self) -> float | None:
        """Share of the pixels that are not 255; None without labels."""
        total = self.pixels.total()
        return 1 - self.pixels[IGNORE] / total if total else None

    @property
    def least_labelled(self) -> float | None:
        """The least coverage of an image; None without labels."""
        return self.coverage[0][0] if self.coverage else None

    def pixel_share(self, train_id: int) -> float | None:
        """Share of a class among the labelled pixels; None where nothing is labelled."""
        labelled = self.pixels.total() - self.pixels[IGNORE]
        return self.pixels[train_id] / labelled if labelled else None

    def image_share(self, train_id: int) -> float | None:
        """Share of the labelled images in which a class occurs; None without labels."""
        return self.images_with[train_id] / self.labels if self.labels else None

    def to_json(self) -> dict[str, Any]:
        """Return every number, for scripts."""
        worst = self.coverage[:WORST]
        return {
            "images": self.images,
            "labels": self.labels,
            "sizes": {f"{h}x{w}": n for (h, w), n in self.sizes.most_common()},
            "sequences": dict(sorted(self.sequences.items())),
            "labelled_share": self.labelled_share,
            "least_labelled_share": self.least_labelled,
            "least_labelled": [{"name": name, "labelled_share": share} for share, name in worst],
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
    parts: dict[str, list[ImageStatistics]] = {name: [] for name in SPLITS}
    for one in images:
        parts[one.item.split].append(one)
    return {name: SplitSummary(part, classes) for name, part in parts.items() if part}
