"""Calibration of an 8-bit export: its images, and how much accuracy 8 bits cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import percent, progress_bar, say, track, warn
from sgcp.datasets.index import fingerprint_items, read_dataset, refuse_overlap, spread
from sgcp.datasets.raw import walk_files
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.engines.base import cores
from sgcp.inference.segmenter import Segmenter, resize_input
from sgcp.media.images import UInt8, is_photo, read_image, read_photo
from sgcp.metrics.confusion import Counts, no_counts
from sgcp.metrics.iou import score_counts
from sgcp.metrics.scorer import Scorer

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item
    from sgcp.inference.export import ExportOptions
    from sgcp.models.card import ModelCard
    from sgcp.settings import ValidateSettings

FEW = 16  # images, below which a warning is printed
COMPARED = 100  # images whose labels are compared if there is nothing to score


@dataclass(frozen=True)
class Prepared:
    """The prepared dataset that the model was trained on."""

    layout: Layout
    split: str
    """Split to calibrate with."""
    settings: ValidateSettings
    """Split and input size to score with."""

    def training_images(self, count: int) -> list[Path]:
        """Return up to ``count`` images of the split.

        Raises:
            SgcpError: the dataset is not prepared, or its files have changed.
        """
        dataset = read_dataset(self.layout.prepared)
        items = spread(dataset.split(self.split, False), count)
        refuse_stale(self.layout, dataset, items, labels=False)
        return [self.layout.raw / item.image for item in items]

    def scoring(self, card: ModelCard, options: ExportOptions) -> Scoring:
        """Return the images to score.

        Raises:
            SgcpError: the dataset is not prepared, its files have changed, or the mIoU would be
                meaningless.
        """
        dataset = read_dataset(self.layout.prepared)
        items = dataset.split(self.settings.split)
        refuse_overlap(card.trained_on, items)
        if {row["name"] for row in card.classes} != {item.name for item in dataset.classes}:
            raise SgcpError(f"{dataset.name}: prepared with other classes than the model has")
        size = options.size or self.settings.input_size
        if options.labels and size and any((i.height, i.width) != size for i in items):
            raise SgcpError(
                f"{dataset.name}: its images do not have the size of the labels, "
                f"{size[0]}x{size[1]}. Leave out --labels or --size"
            )
        refuse_stale(self.layout, dataset, items)
        return Scoring(self.layout, dataset, items, size)


@dataclass(frozen=True)
class Calibration:
    """Which images to calibrate with."""

    images: int
    """How many, spread over their folder or split."""
    folder: Path | None = None
    """Any images; None: the prepared training images."""
    prepared: Prepared | None = None
    """None: not available."""
    missing: str = ""
    """Why it is not available."""

    def read(self, card: ModelCard, options: ExportOptions) -> CalibrationImages:
        """Find the images to calibrate with, and those to score if there are any.

        Raises:
            SgcpError: there are no images to calibrate with.
        """
        scoring: Scoring | str = self.missing
        if self.prepared:
            try:
                scoring = self.prepared.scoring(card, options)
            except SgcpError as error:
                scoring = str(error)
        if self.folder:
            paths = find_images(self.folder, self.images)
            read = partial(read_photo, doubt=str)  # find_images has printed the warnings
            return CalibrationImages(paths, read, None, options.size, scoring)
        try:
            if not self.prepared:
                raise SgcpError(self.missing)
            paths = self.prepared.training_images(self.images)
        except SgcpError as error:
            raise SgcpError(
                f"--int8: no training images: {error}. Or pass any folder of images: "
                "--calibrate DIR"
            ) from None
        size = options.size or self.prepared.settings.input_size
        return CalibrationImages(paths, read_image, self.prepared.split, size, scoring)


def find_images(folder: Path, count: int) -> list[Path]:
    """Return up to ``count`` readable images at any depth; print the skipped files.

    Raises:
        SgcpError: no such folder, or no image below it.
    """
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


@dataclass(frozen=True)
class CalibrationImages:
    """Images to calibrate with, and how the result is judged."""

    paths: Sequence[Path]
    reader: Callable[[Path], UInt8]
    split: str | None
    """Of a prepared dataset; None: any images."""
    size: tuple[int, int] | None
    """(height, width) of the network's input; None: as the model was trained."""
    scoring: Scoring | str
    """What to score, or why nothing is scored."""

    def quantize(
        self, file: Path, out: Path, card: ModelCard
    ) -> tuple[dict[Path, bytes], dict[str, Any]]:
        """Quantize an exported ``.xml`` to 8 bits and compare the two.

        Returns:
            The files to write as ``out``, and facts for the model's description.
        """
        import openvino

        from sgcp.inference.engines.openvino_engine import OpenVinoEngine
        from sgcp.inference.export import ir_files
        from sgcp.inference.quantize import quantize

        with progress_bar() as bar:
            task = bar.add_task("calibrating", total=len(self.paths))

            def read(path: Path) -> UInt8:
                bar.advance(task)
                return self._read(path, card)

            model = quantize(openvino.Core().read_model(file), self.paths, read)
        files = ir_files(model, file.with_name(f"int8-{file.name}"))
        for path, content in files.items():
            path.write_bytes(content)
        both = (file, next(iter(files)))
        models = [Segmenter(OpenVinoEngine(one, "fp32", cores()), card) for one in both]
        facts: dict[str, Any] = {
            "images": len(self.paths),
            "split": self.split,
            "nncf": version("nncf"),
        }
        if isinstance(self.scoring, Scoring):
            facts["scores"] = self.scoring.score(models)
        else:
            facts |= {"scores": None, "equal_labels": self._compare(models, card)}
            warn(f"mIoU not measured: {self.scoring}")
        return {out.with_suffix(path.suffix): content for path, content in files.items()}, facts

    def _read(self, path: Path, card: ModelCard) -> UInt8:
        """Return an image (H, W, 3) at the size of the network's input."""
        image = self.reader(path)
        return resize_input(image, self.size or card.input_size(image.shape[0], image.shape[1]))

    def _compare(self, models: Sequence[Segmenter], card: ModelCard) -> float:
        """Return the share of labels that two models have in common on these images."""

        def share(path: Path) -> float:
            image = self._read(path, card)
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


@dataclass(frozen=True)
class Scoring:
    """Labelled images to score fp32 and 8 bits on."""

    layout: Layout
    dataset: Dataset
    items: Sequence[Item]
    size: tuple[int, int] | None
    """(height, width) of the network's input; None: as the model was trained."""

    def score(self, models: Sequence[Segmenter]) -> dict[str, Any]:
        """Score both on the same images, as ``sgcp validate`` does without augmentation."""
        scorers = [Scorer(self.layout, self.dataset, model, self.size) for model in models]

        def score(item: Item) -> tuple[Counts, Counts, float]:
            first, second = (scorer.score(item) for scorer in scorers)
            equal = float((first.prediction == second.prediction).mean())
            return first.counts, second.counts, equal

        counts, equal = [no_counts(scorer.protocol) for scorer in scorers], 0.0
        found = map_threads(score, self.items, models[0].workers)
        for *both, share in track(found, "scoring fp32 and int8", len(self.items)):
            counts = [one + more for one, more in zip(counts, both, strict=True)]
            equal += share / len(self.items)
        fp32, int8 = (score_counts(one, scorers[0].protocol).miou for one in counts)
        say(
            f"{self.dataset.name} '{self.items[0].split}', {len(self.items)} images: mIoU "
            f"{percent(fp32)} % in fp32, {percent(int8)} % in int8 ({100 * (int8 - fp32):+.2f}); "
            f"{percent(equal)} % of the labels equal"
        )
        return {
            "split": self.items[0].split,
            "split_fingerprint": fingerprint_items(self.items),
            "input_size": list(self.size) if self.size else None,
            "miou_fp32": fp32,
            "miou_int8": int8,
            "equal_labels": equal,
        }
