"""Add up a split's counts as they come, and keep a line of scores for each picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sgcp.evaluation.counts import Counts, no_counts
from sgcp.evaluation.scores import score_counts

if TYPE_CHECKING:
    from sgcp.evaluation.benchmark import Benchmark


@dataclass(frozen=True)
class PictureScore:
    """What one picture says by itself; shares, NaN where none of its pixels is labelled."""

    image: str
    """Its key."""
    miou: float
    """Mean IoU over the classes that occur in its truth or its prediction."""
    pixel_accuracy: float
    labelled: int
    """Pixels that are scored."""


@dataclass
class Tally:
    """Counts of a split, and the scores of its pictures in the order in which they were added.

    Counts of single pictures are not kept: a picture costs a line, not a matrix.
    """

    benchmark: Benchmark
    pictures: list[PictureScore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counts = no_counts(self.benchmark)

    def add(self, image: str, counts: Counts) -> None:
        """Add one picture."""
        scores = score_counts(counts, self.benchmark)
        labelled = int(counts.pixels.sum())
        self.pictures.append(PictureScore(image, scores.miou, scores.pixel_accuracy, labelled))
        self.counts += counts
