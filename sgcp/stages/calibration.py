"""The pictures that an 8-bit export takes its ranges from, and those it is scored on."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.datasets.images import UInt8, read_image
from sgcp.datasets.index import fingerprint_items, read_dataset, refuse_overlap, spread
from sgcp.errors import SgcpError
from sgcp.evaluation.counts import Counts, no_counts
from sgcp.evaluation.scores import score_counts
from sgcp.inference.engines.base import cores
from sgcp.inference.segmenter import Segmenter, resize_input
from sgcp.progress import map_threads, progress_bar, say, track
from sgcp.stages.scorer import Scorer
from sgcp.stages.stale import refuse_stale

if TYPE_CHECKING:
    from sgcp.datasets.index import Dataset, Item
    from sgcp.models.card import ModelCard
    from sgcp.settings import ValidateSettings
    from sgcp.stages.export import ExportOptions
    from sgcp.stages.layout import Layout


@dataclass(frozen=True)
class Calibration:
    """Where the pictures are."""

    layout: Layout
    """Of the dataset that the model learnt."""
    split: str
    """Split that the ranges are taken from."""
    scoring: ValidateSettings
    """Split that is scored, and the size that the network sees there."""
    images: int
    """Pictures that the ranges are taken from, spread over their split."""

    def read(self, card: ModelCard, options: ExportOptions) -> Pictures:
        """Find the pictures.

        Raises:
            SgcpError: the dataset is not prepared, was learnt where it is to be scored, or cannot
                be scored with these options.
        """
        dataset = read_dataset(self.layout.prepared)
        learnt, scored = dataset.split(self.split, False), dataset.split(self.scoring.split)
        refuse_overlap(card.trained_on, scored)
        size = options.size or self.scoring.input_size
        if options.labels and size and any((i.height, i.width) != size for i in scored):
            raise SgcpError(
                f"--int8 --labels: at {size[0]}x{size[1]} its labels do not fit the pictures of "
                f"{dataset.name}, so its mIoU cannot be measured; leave out --labels or --size"
            )
        chosen = spread(learnt, self.images)
        refuse_stale(self.layout, dataset, chosen, labels=False)
        refuse_stale(self.layout, dataset, scored)
        return Pictures(self.layout, dataset, self.split, chosen, scored, size)


@dataclass(frozen=True)
class Pictures:
    """Pictures to take ranges from, and to score."""

    layout: Layout
    dataset: Dataset
    split: str
    """That the ranges are taken from."""
    learnt: list[Item]
    scored: list[Item]
    size: tuple[int, int] | None
    """(height, width) that the network sees; None: as it was trained."""

    def quantize(
        self, file: Path, out: Path, card: ModelCard
    ) -> tuple[dict[Path, bytes], dict[str, Any]]:
        """Turn an exported ``.xml`` into 8 bits and score both.

        Returns:
            The files to be written as ``out``, and what there is to say of them.
        """
        import openvino

        from sgcp.inference.export import ir_files
        from sgcp.inference.quantize import quantize

        with progress_bar() as bar:
            task = bar.add_task("calibrating", total=len(self.learnt))

            def read(item: Item) -> UInt8:
                bar.advance(task)
                size = self.size or card.input_size(item.height, item.width)
                return resize_input(read_image(self.layout.raw / item.image), size)

            model = quantize(openvino.Core().read_model(file), self.learnt, read)
        files = ir_files(model, file.with_name(f"int8-{file.name}"))
        for path, content in files.items():
            path.write_bytes(content)
        facts = {
            "images": len(self.learnt),
            "split": self.split,
            "nncf": version("nncf"),
            "scores": self.compare(file, next(iter(files)), card),
        }
        return {out.with_suffix(path.suffix): content for path, content in files.items()}, facts

    def compare(self, plain: Path, int8: Path, card: ModelCard) -> dict[str, Any]:
        """Score two exported files on the same pictures, as ``sgcp validate`` does in one view."""
        from sgcp.inference.engines.openvino_engine import OpenVinoEngine

        models = [Segmenter(OpenVinoEngine(f, "fp32", cores()), card) for f in (plain, int8)]
        scorers = [Scorer(self.layout, self.dataset, model, self.size) for model in models]

        def score(item: Item) -> tuple[Counts, Counts, float]:
            first, second = (scorer.score(item) for scorer in scorers)
            equal = float((first.prediction == second.prediction).mean())
            return first.counts, second.counts, equal

        counts, equal = [no_counts(scorer.benchmark) for scorer in scorers], 0.0
        found = map_threads(score, self.scored, models[0].workers)
        for *both, share in track(found, "scoring fp32 and int8", len(self.scored)):
            counts = [one + more for one, more in zip(counts, both, strict=True)]
            equal += share / len(self.scored)
        miou = [score_counts(one, scorers[0].benchmark).miou for one in counts]
        say(
            f"{self.dataset.name} '{self.scored[0].split}', {len(self.scored)} images: mIoU "
            f"{100 * miou[0]:.2f} % in fp32, {100 * miou[1]:.2f} % in int8 "
            f"({100 * (miou[1] - miou[0]):+.2f}); {100 * equal:.2f} % of the labels equal"
        )
        return {
            "split": self.scored[0].split,
            "split_fingerprint": fingerprint_items(self.scored),
            "input_size": list(self.size) if self.size else None,
            "miou_fp32": miou[0],
            "miou_int8": miou[1],
            "equal_labels": equal,
        }
