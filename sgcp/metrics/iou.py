"""Scores from counts: IoU of classes and categories, instance-weighted IoU, and their means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sgcp.metrics.confusion import Counts, no_counts

if TYPE_CHECKING:
    from sgcp.metrics.protocol import Category, Protocol

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Shares, 0 .. 1; NaN where there is nothing to score.

    As in the official evaluator (``cityscapesscripts.evaluation``), a class in neither ground truth
    nor prediction has no IoU, and means leave it out.
    """

    iou: Floats
    """(K,) TP / (TP + FP + FN) over the whole split."""
    recall: Floats
    """(K,) TP / (TP + FN); NaN where the class is not in the ground truth."""
    precision: Floats
    """(K,) TP / (TP + FP); NaN where the class is never predicted."""
    pixel_accuracy: float
    """Share of scored pixels that are right."""
    weighted_iou: float
    """Mean of ``iou``, weighted by the true pixels of each class (Long et al., 2015)."""
    iiou: Floats
    """(K,) IoU with each object's pixels weighted by mean object size over its own (``nIoU`` in
    the newest official output); NaN for classes without single objects."""
    category_iou: dict[str, float] = field(default_factory=dict)
    category_iiou: dict[str, float] = field(default_factory=dict)

    @property
    def miou(self) -> float:
        """Mean of ``iou`` over the classes in ground truth or prediction."""
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


def to_numbers(value: Any) -> Any:
    """Return numbers, also in dicts, for JSON: null where there is none."""
    if isinstance(value, dict):
        return {name: to_numbers(one) for name, one in value.items()}
    return None if np.isnan(value) else float(value)


def share(part: Any, whole: Any) -> Floats:
    """Return part / whole, NaN where the whole is zero."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.float64(part) / np.float64(whole), dtype=np.float64)


def square(counts: Counts, protocol: Protocol) -> NDArray[np.int64]:
    """Return the (K, K) confusion matrix: truth in rows, predictions of evaluated classes."""
    return counts.pixels[:, [item.label_id for item in protocol.classes]]


def class_iou(confusion: NDArray[np.int64], true: NDArray[np.int64]) -> Floats:
    """Return (K,) IoU of a (K, K) confusion matrix with true classes in rows.

    ``true`` (K,) pixels of a class are more than its row where ids without a class are predicted.
    """
    right = np.diag(confusion)
    return share(right, true + confusion.sum(axis=0) - right)


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Return the mIoU of a (K, K) confusion matrix with true classes in rows."""
    return mean(class_iou(confusion, confusion.sum(axis=1)))


def score_counts(counts: Counts, protocol: Protocol) -> Scores:
    """Compute every score of a split; equal to the official evaluator's where it has one."""
    confusion = square(counts, protocol)
    right, predicted = np.diag(confusion), confusion.sum(axis=0)
    true = counts.pixels.sum(axis=1)  # predictions outside the evaluated classes are misses too
    found, missed = counts.objects[:, 0], counts.objects[:, 1]
    no_objects = [k for k in range(len(right)) if k not in protocol.object_size]
    iiou = share(found, found + missed + (predicted - right))
    iiou[no_objects] = np.nan
    iou = class_iou(confusion, true)
    categories = protocol.categories.items()
    return Scores(
        iou=iou,
        recall=share(right, true),
        precision=share(right, predicted),
        pixel_accuracy=float(share(right.sum(), true.sum())),
        weighted_iou=float(share((true * np.nan_to_num(iou)).sum(), true.sum())),
        iiou=iiou,
        category_iou={name: _category_iou(confusion, true, part) for name, part in categories},
        category_iiou={name: _category_iiou(counts, part) for name, part in categories},
    )


def _category_iou(
    confusion: NDArray[np.int64], true: NDArray[np.int64], category: Category
) -> float:
    """Return the IoU of a category's evaluated classes taken as one."""
    members = list(category.classes)
    right = confusion[np.ix_(members, members)].sum()
    return float(share(right, true[members].sum() + confusion[:, members].sum() - right))


def _category_iiou(counts: Counts, category: Category) -> float:
    """Return the instance-weighted IoU of a category; NaN where it has none."""
    if not category.object_ids:
        return float("nan")
    members = list(category.classes)
    found, missed = counts.objects[members, 2].sum(), counts.objects[members, 3].sum()
    claimed = counts.pixels[:, list(category.object_ids)]
    wrong = claimed.sum() - claimed[members].sum()
    return float(share(found, found + missed + wrong))


@dataclass(frozen=True)
class ImageScore:
    """Scores of one image, by its key; shares, NaN where none of its pixels is labelled."""

    image: str
    miou: float
    pixel_accuracy: float
    labelled: int
    """Scored pixels."""


class Tally:
    """Counts of a split, and the scores of its images in the order in which they were added."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol, self.counts = protocol, no_counts(protocol)
        self.images: list[ImageScore] = []
        self._by_class: list[NDArray[np.int64]] = []

    def add(self, image: str, counts: Counts) -> None:
        """Add one image."""
        scores = score_counts(counts, self.protocol)
        labelled = int(counts.pixels.sum())
        self.images.append(ImageScore(image, scores.miou, scores.pixel_accuracy, labelled))
        self.counts += counts
        confusion = square(counts, self.protocol)
        rows = np.diag(confusion), counts.pixels.sum(axis=1), confusion.sum(axis=0)
        self._by_class.append(np.stack(rows))

    @property
    def by_class(self) -> NDArray[np.int64]:
        """Right, true and predicted pixels (N, 3, K) of each image and class."""
        return np.stack(self._by_class)
