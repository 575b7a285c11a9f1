"""What counts say: IoU a class and a category, instance-weighted IoU, and their means."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgcp.evaluation.benchmark import Benchmark, Category
from sgcp.evaluation.counts import Counts

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Shares, 0 .. 1; NaN where there is nothing to score.

    As the official evaluator does (``cityscapesscripts.evaluation``), a class that occurs in
    neither truth nor prediction has no IoU and is left out of the mean.
    """

    iou: Floats
    """(K,) TP / (TP + FP + FN) over the whole split."""
    recall: Floats
    """(K,) TP / (TP + FN); NaN where the class is not in the truth."""
    precision: Floats
    """(K,) TP / (TP + FP); NaN where the class is never predicted."""
    pixel_accuracy: float
    """Share of scored pixels that are right."""
    iiou: Floats
    """(K,) IoU with each object's pixels weighed by mean object size over its own (``nIoU`` in
    the newest official output); NaN for classes without single objects."""
    category_iou: dict[str, float] = field(default_factory=dict)
    category_iiou: dict[str, float] = field(default_factory=dict)

    @property
    def miou(self) -> float:
        """Mean of ``iou`` over the classes that occur in truth or prediction."""
        return mean(self.iou)

    @property
    def miiou(self) -> float:
        """Mean of ``iiou`` over the classes that have one."""
        return mean(self.iiou)

    @property
    def category_miou(self) -> float:
        """Mean of ``category_iou``."""
        return mean(np.array([*self.category_iou.values()]))

    @property
    def category_miiou(self) -> float:
        """Mean of ``category_iiou`` over the categories that have one."""
        return mean(np.array([*self.category_iiou.values()]))


def mean(values: Floats) -> float:
    """Return the mean of the values that are numbers; NaN if none is."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")


def share(part: Any, whole: Any) -> Floats:
    """Return part / whole, NaN where the whole is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.float64(part) / np.float64(whole), dtype=np.float64)


def square(counts: Counts, benchmark: Benchmark) -> NDArray[np.int64]:
    """Return the (K, K) confusion matrix: truth in rows, predictions of evaluated classes."""
    return counts.pixels[:, [item.label_id for item in benchmark.classes]]


def class_iou(confusion: NDArray[np.int64], true: NDArray[np.int64]) -> Floats:
    """Return (K,) IoU of a (K, K) confusion matrix with true classes in rows.

    Args:
        true: (K,) pixels of each class in the truth; more than its row where other ids were given.
    """
    right = np.diag(confusion)
    return share(right, true + confusion.sum(axis=0) - right)


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Return the mIoU of a (K, K) confusion matrix with true classes in rows."""
    return mean(class_iou(confusion, confusion.sum(axis=1)))


def score_counts(counts: Counts, benchmark: Benchmark) -> Scores:
    """Compute every score of a split; equal to the official evaluator's where it has one."""
    confusion = square(counts, benchmark)
    right, predicted = np.diag(confusion), confusion.sum(axis=0)
    true = counts.pixels.sum(axis=1)  # answers outside the evaluated classes are misses too
    found, missed = counts.objects[:, 0], counts.objects[:, 1]
    no_objects = [k for k in range(len(right)) if k not in benchmark.object_size]
    iiou = share(found, found + missed + (predicted - right))
    iiou[no_objects] = np.nan
    categories = benchmark.categories.items()
    return Scores(
        iou=class_iou(confusion, true),
        recall=share(right, true),
        precision=share(right, predicted),
        pixel_accuracy=float(share(right.sum(), true.sum())),
        iiou=iiou,
        category_iou={name: category_iou(confusion, true, part) for name, part in categories},
        category_iiou={name: category_iiou(counts, part) for name, part in categories},
    )


def category_iou(
    confusion: NDArray[np.int64], true: NDArray[np.int64], category: Category
) -> float:
    """Return the IoU of a category's evaluated classes taken as one."""
    own = list(category.classes)
    right = confusion[np.ix_(own, own)].sum()
    return float(share(right, true[own].sum() + confusion[:, own].sum() - right))


def category_iiou(counts: Counts, category: Category) -> float:
    """Return the instance-weighted IoU of a category; NaN where it has none."""
    if not category.object_ids:
        return float("nan")
    own = list(category.classes)
    found, missed = counts.objects[own, 2].sum(), counts.objects[own, 3].sum()
    claimed = counts.pixels[:, list(category.object_ids)]
    wrongly = claimed.sum() - claimed[own].sum()
    return float(share(found, found + missed + wrongly))
