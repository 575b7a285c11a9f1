"""Count pixels by ground truth and prediction, and objects: the counts behind all scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8

if TYPE_CHECKING:
    from sgcp.datasets.ground_truth import GroundTruth
    from sgcp.metrics.protocol import Protocol


@dataclass(frozen=True)
class Counts:
    """Counts of one image or of many; they add up."""

    pixels: NDArray[np.int64]
    """(K, 256): true train id by predicted label id, without ignored pixels."""
    objects: NDArray[np.float64]
    """(K, 4): object pixels predicted as their class, as another class, as their category, as
    another category; each object is weighted by its class's mean size over its own size."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.pixels + other.pixels, self.objects + other.objects)


def no_counts(protocol: Protocol) -> Counts:
    """Return the counts of no image, to which others are added."""
    size = len(protocol.classes)
    return Counts(np.zeros((size, 256), np.int64), np.zeros((size, 4), np.float64))


def count_pairs(rows: NDArray[np.integer], columns: UInt8, size: int) -> NDArray[np.int64]:
    """Count pixels by the values of two maps of one shape, uint8 or uint16: (size, 256).

    Counts runs of equal pairs, in half the time of counting pixels.
    """
    wide = np.uint16 if size <= 256 else np.uint32
    codes = np.left_shift(rows, 8, dtype=wide).ravel() | columns.ravel()
    ends = np.append(np.flatnonzero(codes[1:] != codes[:-1]), codes.size - 1)
    counts = np.bincount(codes[ends], np.diff(ends, prepend=-1), minlength=size << 8)
    return counts.astype(np.int64).reshape(size, 256)


def count_image(
    truth: GroundTruth, prediction: UInt8, protocol: Protocol, label_ids: UInt8 | None = None
) -> Counts:
    """Count one image.

    Args:
        truth: of an image (H, W).
        prediction: (H, W) label ids, or other values with a table of them.
        label_ids: (256,) label id of each value, such as ``protocol.label_id_of_train_id``.

    Raises:
        ValueError: sizes differ, the ground truth has a train id without a class, or an id outside
            the protocol is predicted, even where the ground truth is ignored.
    """
    joint = count_segments(truth, prediction, protocol)
    if label_ids is not None:
        joint = regroup(joint, label_ids)
    unknown = np.setdiff1d(np.flatnonzero(joint.any(axis=0)), protocol.label_ids)
    if unknown.size:
        hint = "; 255 stands in train-id maps" if 255 in unknown else ""
        raise ValueError(
            f"ids {unknown[:8].tolist()} are no label ids ({protocol.describe_ids()}){hint}"
        )
    return count_label_ids(truth, joint, protocol)


def count_segments(truth: GroundTruth, prediction: UInt8, protocol: Protocol) -> NDArray[np.int64]:
    """Count the pixels (S, 256) of an image by segment and predicted value, in any encoding."""
    if truth.segments.shape != prediction.shape:
        raise ValueError(
            f"size {prediction.shape}, expected {truth.segments.shape} (height, width)"
        )
    joint = count_pairs(truth.segments, prediction, len(truth.train_ids))
    used = truth.train_ids[joint.any(axis=1)]
    beyond = used[(used >= len(protocol.classes)) & (used != IGNORE)]
    if beyond.size:
        raise ValueError(f"the ground truth has train id {beyond[0]}, which is no class")
    return joint


def regroup(counts: NDArray[np.int64], table: UInt8) -> NDArray[np.int64]:
    """Add up columns (..., 256) of values by what a table (256,) says each value means."""
    grouped = np.zeros_like(counts)
    np.add.at(grouped.T, table, counts.T)
    return grouped


def count_classes(truth: GroundTruth, joint: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Add up segments (S, 256) by true class: (size + 1, 256), ignored pixels last."""
    rows = np.append(np.arange(size), IGNORE)[:, None]
    return (truth.train_ids == rows).astype(np.int64) @ joint


def count_label_ids(truth: GroundTruth, joint: NDArray[np.int64], protocol: Protocol) -> Counts:
    """Return the counts of segments (S, 256) by predicted label id."""
    pixels = count_classes(truth, joint, len(protocol.classes))[:-1]
    category = protocol.category_of_label()
    weighted = no_counts(protocol).objects
    first = np.flatnonzero(np.diff(truth.instances, prepend=-1))  # segment of each object
    rows = np.add.reduceat(joint, first, axis=0)
    for row, train_id in zip(rows, truth.objects[first].tolist(), strict=True):
        size = row.sum()
        if train_id not in protocol.object_size or size == 0:
            continue
        label_id = protocol.classes[train_id].label_id
        right = row[label_id]
        near = row[category == category[label_id]].sum()
        parts = np.array([right, size - right, near, size - near])
        weighted[train_id] += parts * (protocol.object_size[train_id] / size)
    return Counts(pixels, weighted)
