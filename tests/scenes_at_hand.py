"""A prepared dataset made by hand, small and without a fault, to be broken at will."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sgcp.datasets.classes import SemanticClass
from sgcp.datasets.index import Dataset, Item, digest_pixels, read_dataset, write_dataset
from sgcp.media.images import read_image, read_label, write_png

CLASSES = tuple(
    SemanticClass(index, index, name, color)
    for index, (name, color) in enumerate(
        [("road", (128, 64, 128)), ("sky", (70, 130, 180)), ("car", (0, 0, 142))]
    )
)
SIZE = (24, 32)
COUNTS = {"train": 16, "val": 6, "test": 3}  # the test split has no labels


class Folder:
    """Raw and prepared data below a root, as ``sgcp prepare`` leaves them."""

    def __init__(self, root: Path, name: str = "sample") -> None:
        self.raw = root / "data" / "raw" / name
        self.prepared = root / "data" / "prepared" / name
        items = [
            self._make(split, number) for split, count in COUNTS.items() for number in range(count)
        ]
        write_dataset(self.prepared, Dataset(name, "by hand", "three", CLASSES, tuple(items)))

    def _make(self, split: str, number: int) -> Item:
        random = np.random.default_rng([list(COUNTS).index(split), number])
        # Coarse blocks: fine noise would have no outline.
        blocks = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        label = random.integers(0, 3, SIZE, dtype=np.uint8)
        label[0, :number] = 255
        image = Path("images", split, f"{split}_{number:02}.png")
        write_png(self.raw / image, blocks.repeat(4, 0).repeat(4, 1))
        item = Item(split, image, f"place {number % 2}", *SIZE, "")
        if split != "test":
            item = replace(item, label=Path("labels", split, image.name))
            write_png(self.prepared / item.label, label)
        return self._digested(item)

    def _digested(self, item: Item) -> Item:
        image = digest_pixels(read_image(self.raw / item.image))
        label = "" if item.label is None else digest_pixels(read_label(self.prepared / item.label))
        return replace(item, image_digest=image, label_digest=label)

    @property
    def dataset(self) -> Dataset:
        return read_dataset(self.prepared)

    def image(self, split: str, number: int) -> Path:
        return self.raw / "images" / split / f"{split}_{number:02}.png"

    def label(self, split: str, number: int) -> Path:
        return self.prepared / "labels" / split / f"{split}_{number:02}.png"

    def index_again(self, *items: Item) -> None:
        """Describe the files as they are now, in the index; with other items if given."""
        listed = items or self.dataset.items
        changed = replace(self.dataset, items=tuple(self._digested(item) for item in listed))
        write_dataset(self.prepared, changed)
