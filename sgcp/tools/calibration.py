"""Calibration of an 8-bit export: its images, and how much accuracy 8 bits cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.layout import Layout
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import percent, progress_bar, say, track, warn
from sgcp.datasets.index import (
    Dataset,
    Item,
    fingerprint_items,
    read_dataset,
    spread,
    trained_among,
)
from sgcp.datasets.raw import walk_files
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.engines.base import cores
from sgcp.inference.engines.choice import open_engine
from sgcp.inference.segmenter import Segmenter
from sgcp.inference.tta import resize_input
from sgcp.media.images import UInt8, is_photo, read_image, read_photo
from sgcp.metrics.confusion import Counts, no_counts
from sgcp.metrics.iou import score_counts
from sgcp.metrics.scorer import Scorer
from sgcp.models.card import ModelCard, whole_cells
from sgcp.settings import DatasetSettings

FEW = 16  # images, below which a warning is printed
COMPARED = 100  # images whose labels are compared if there is nothing to score
Prepared = tuple[Layout, DatasetSettings]
Scored = tuple[Layout, Dataset, list[Item]]


@dataclass(frozen=True)
class Quantizer:
    """Images to calibrate with, and how the result is judged."""

    card: ModelCard
    paths: Sequence[Path]
    reader: Callable[[Path], UInt8]
    split: str | None
    """Of a prepared dataset; None: any images."""
    size: tuple[int, int] | None
    """(height, width) of the network's input; None: as the model was trained."""
    scored: Scored | str
    """What to score, or why nothing is scored."""

    def quantize(self, file: Path, out: Path) -> tuple[dict[Path, bytes], dict[str, Any]]:
        """Quantize a graph, compare the two; return what to write as ``out``, and facts."""
        from sgcp.inference.graph import ir_files
        from sgcp.inference.quantize import quantize

        with progress_bar() as bar:
            task = bar.add_task("calibrating", total=len(self.paths))

            def read(path: Path) -> UInt8:
                bar.advance(task)
                return self._read(path)

            model = quantize(file, self.paths, read)
        int8 = file.with_name(f"int8-{file.name}")
        onnx = file.suffix == ".onnx"
        files = {int8: model.SerializeToString()} if onnx else ir_files(model, int8)
        for path, content in files.items():
            path.write_bytes(content)
        engine = "onnxruntime" if onnx else "openvino"
        models = [
            Segmenter(open_engine(one, "cpu", engine, "fp32", cores()), self.card)
            for one in (file, int8)
        ]
        facts: dict[str, Any] = {
            "images": len(self.paths),
            "split": self.split,
            "nncf": version("nncf"),
        }
        if isinstance(self.scored, str):
            facts |= {"scores": None, "equal_labels": self._compare(models)}
            warn(f"mIoU not measured: {self.scored}")
        else:
            facts["scores"] = self._score(models, *self.scored)
        return {out.with_suffix(path.suffix): content for path, content in files.items()}, facts

    def _read(self, path: Path) -> UInt8:
        """Return an image (H, W, 3) at the size of the network's input."""
        image = self.reader(path)
        size = whole_cells(*self.size) if self.size else self.card.input_size(*image.shape[:2])
        return resize_input(image, size)

    def _compare(self, models: Sequence[Segmenter]) -> float:
        """Return the share of labels that two models have in common on these images."""

        def share(path: Path) -> float:
            image = self._read(path)
            first, second = (model.engine.label(image, image.shape[:2]) for model in models)
            return float((first == second).mean())

        chosen = spread(self.paths, COMPARED)
        shares = map_threads(share, chosen, models[0].workers)
        equal = float(np.mean(list(track(shares, "comparing fp32 and int8", len(chosen)))))
        say(
            f"int8 against fp32 on {len(chosen)} of the calibration images: {percent(equal)} % "
            "of the labels equal"
        )
        return equal

    def _score(
        self, models: Sequence[Segmenter], layout: Layout, dataset: Dataset, items: list[Item]
    ) -> dict[str, Any]:
        """Score both on the same images, as ``sgcp validate`` does without augmentation.

        Of images that the model was trained on, only the difference is stated.
        """
        scorers = [Scorer(layout, dataset, model, self.size) for model in models]

        def score(item: Item) -> tuple[Counts, Counts, float]:
            first, second = (scorer.score(item) for scorer in scorers)
            equal = float((first.prediction == second.prediction).mean())
            return first.counts, second.counts, equal

        counts, equal = [no_counts(scorer.protocol) for scorer in scorers], 0.0
        found = map_threads(score, items, models[0].workers)
        for *both, share in track(found, "scoring fp32 and int8", len(items)):
            counts = [one + more for one, more in zip(counts, both, strict=True)]
            equal += share / len(items)
        fp32, int8 = (score_counts(one, scorers[0].protocol).miou for one in counts)
        learned = bool(trained_among(self.card.trained_on, items))
        scores = "" if learned else f"{percent(fp32)} % in fp32, {percent(int8)} % in int8, "
        say(
            f"{dataset.name} '{items[0].split}', {len(items)} images"
            f"{' that the model was trained on' if learned else ''}: mIoU {scores}"
            f"{100 * (int8 - fp32):+.2f} points by int8; {percent(equal)} % of the labels equal"
        )
        return {
            "split": items[0].split,
            "split_fingerprint": fingerprint_items(items),
            "input_size": list(self.size) if self.size else None,
            "trained_on": learned,
            **({} if learned else {"miou_fp32": fp32, "miou_int8": int8}),
            "miou_difference": int8 - fp32,
            "equal_labels": equal,
        }


@dataclass(frozen=True)
class Calibration:
    """Which images to calibrate with."""

    images: int
    """How many, spread over their folder or split."""
    folder: Path | None = None
    """Any images; None: the prepared training images."""
    prepared: Prepared | str = ""
    """The dataset that the model was trained on, with its splits; or why it is not available."""

    def read(self, card: ModelCard, size: tuple[int, int] | None, labels: bool) -> Quantizer:
        """Find the images to calibrate with, and those to score if there are any.

        Args:
            size: (height, width) of the only images that the export takes; None: of any.
            labels: whether it gives labels.
        """
        try:
            scored: Scored | str = self._find_scored(card, size, labels)
        except SgcpError as error:
            scored = str(error)
        if self.folder:
            paths = find_images(self.folder, self.images)
            reader: Callable[[Path], UInt8] = partial(read_photo, doubt=str)  # was printed already
            return Quantizer(card, paths, reader, None, size, scored)
        try:
            layout, settings = self._prepared()
            dataset, split = read_dataset(layout.prepared), settings.train.split
            items = spread(dataset.split(split, False), self.images)
            refuse_stale(layout, dataset, items, labels=False)
        except SgcpError as error:
            raise SgcpError(
                f"--int8: no training images: {error}. Or pass any folder of images: "
                "--calibrate DIR"
            ) from None
        paths = [layout.raw / item.image for item in items]
        return Quantizer(card, paths, read_image, split, size, scored)

    def _prepared(self) -> Prepared:
        if isinstance(self.prepared, str):
            raise SgcpError(self.prepared)
        return self.prepared

    def _find_scored(self, card: ModelCard, size: tuple[int, int] | None, labels: bool) -> Scored:
        """Return the images to score."""
        layout, settings = self._prepared()
        dataset = read_dataset(layout.prepared)
        items = dataset.split(settings.validate_.split)
        if {row["name"] for row in card.classes} != {item.name for item in dataset.classes}:
            raise SgcpError(f"{dataset.name}: prepared with other classes than the model has")
        if labels and size and any((i.height, i.width) != size for i in items):
            raise SgcpError(
                f"{dataset.name}: its images do not have the size of the labels, "
                f"{size[0]}x{size[1]}. Leave out --labels or --size"
            )
        refuse_stale(layout, dataset, items)
        return layout, dataset, items


def find_images(folder: Path, count: int) -> list[Path]:
    """Return up to ``count`` readable images at any depth; print the skipped files."""
    if not folder.is_dir():
        raise SgcpError(f"--calibrate {folder}: no such folder")
    files = sorted({path.resolve() for path in walk_files(folder)})
    photos = [path for path in files if is_photo(path)]
    skipped = sorted(set(files) - set(photos))
    found = []
    doubts: list[str] = []
    for path in spread(photos, count):
        try:
            read_photo(path, doubts.append)
            found.append(path)
        except SgcpError:
            skipped.append(path)
    if skipped:
        names = shorten(path.name for path in skipped)
        warn(f"{folder}: {len(skipped)} files are not readable images, skipped: {names}")
    if doubts:
        warn(f"warning: {shorten(doubts, 1)}")
    if not found:
        raise SgcpError(f"--calibrate {folder}: no readable image in it. Choose another folder")
    if len(found) < FEW:
        warn(
            f"{folder}: {len(found)} images are few to calibrate with; {FEW} or more keep the "
            "labels closer to those of fp32"
        )
    return found
