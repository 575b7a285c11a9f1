"""Count how often each class was predicted as each class, and what follows from it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sgcp.datasets.classes import IGNORE


def count_confusion(label: Tensor, prediction: Tensor, num_classes: int) -> Tensor:
    """Count pixels by (true class, predicted class), leaving out ignored ones.

    Args:
        label: train ids of any shape; ``IGNORE`` is not counted.
        prediction: train ids 0 .. K-1 of the same shape.

    Returns:
        (K, K) int64; rows are the truth, columns the prediction.
    """
    scored = label != IGNORE
    codes = label[scored].long() * num_classes + prediction[scored].long()
    return torch.bincount(codes, minlength=num_classes**2).view(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says; NaN where a class occurs in neither truth nor prediction."""

    iou: NDArray[np.float64]
    """(K,) TP / (TP + FP + FN) over the whole split."""
    recall: NDArray[np.float64]
    """(K,) TP / (TP + FN); NaN where the class is not in the truth."""
    precision: NDArray[np.float64]
    """(K,) TP / (TP + FP); NaN where the class is never predicted."""
    miou: float
    """Mean of ``iou`` over the classes that occur in truth or prediction."""
    pixel_accuracy: float
    """Share of scored pixels that are right."""


def score_confusion(confusion: NDArray[np.int64]) -> Scores:
    """Compute the scores of a (K, K) confusion matrix with true classes in rows.

    As the official evaluator does (``cityscapesscripts.evaluation``), a class that occurs in
    neither truth nor prediction has no IoU and is left out of the mean.
    """
    right = np.diag(confusion).astype(np.float64)
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = right / (true + predicted - right)
        recall, precision = right / true, right / predicted
        accuracy = float(right.sum() / confusion.sum())
    occurring = ~np.isnan(iou)
    miou = float(iou[occurring].mean()) if occurring.any() else float("nan")
    return Scores(iou, recall, precision, miou, accuracy)
