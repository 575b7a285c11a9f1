"""Count pixels of truth against prediction, and objects found: what all scores are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sgcp.core.errors import shorten
from sgcp.datasets.classes import IGNORE
from sgcp.media.images import UInt8

if TYPE_CHECKING:
    from sgcp.datasets.ground_truth import GroundTruth
    from sgcp.metrics.protocol import Protocol

MOST_SHOWN = 8  # label ids in a message


@dataclass(frozen=True)
class Counts:
    """Counts of one image or of many; they add up."""

    pixels: NDArray[np.int64]
    """(K, 256): true train id by predicted label id; ignored truth is not counted."""
    objects: NDArray[np.float64]
    """(K, 4): object pixels predicted as their class, as another, as their category, as another;
    each object weighed by its class's mean size over its own."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.pixels + other.pixels, self.objects + other.objects)


def no_counts(benchmark: Protocol) -> Counts:
    """Return the counts of nothing, to which others are added."""
    size = len(benchmark.classes)
    return Counts(np.zeros((size, 256), np.int64), np.zeros((size, 4), np.float64))


def count_image(truth: GroundTruth, prediction: UInt8, benchmark: Protocol) -> Counts:
    """Count one image.

    Args:
        truth: of an image (H, W).
        prediction: (H, W) label ids.

    Raises:
        ValueError: sizes differ, the truth has a train id of no class, or an id that the benchmark
            does not know is predicted, be it where the truth is ignored.
    """
    joint = count_segments(truth, prediction, benchmark)
    foreign = np.setdiff1d(np.flatnonzero(joint.any(axis=0)), benchmark.label_ids)
    if foreign.size:
        hint = "; 255 stands in train-id maps" if 255 in foreign else ""
        known = known_ids(benchmark)
        raise ValueError(f"ids {foreign[:8].tolist()} are no label ids ({known}){hint}")
    return count_ids(truth, joint, benchmark)


def known_ids(benchmark: Protocol) -> str:
    """Return the label ids that exist, in words."""
    ids = benchmark.label_ids
    if len(ids) > 2 and ids == [*range(ids[0], ids[-1] + 1)]:
        return f"{ids[0]} to {ids[-1]}"
    return shorten(ids, MOST_SHOWN)


def count_segments(truth: GroundTruth, prediction: UInt8, benchmark: Protocol) -> NDArray[np.int64]:
    """Count the pixels (S, 256) of an image by segment and predicted value, of any encoding.

    Raises:
        ValueError: sizes differ, or the truth has a train id of no class.
    """
    if truth.segments.shape != prediction.shape:
        raise ValueError(
            f"size {prediction.shape}, expected {truth.segments.shape} (height, width)"
        )
    joint = count_pairs(truth.segments, prediction, len(truth.train_ids))
    used = truth.train_ids[joint.any(axis=1)]
    beyond = used[(used >= len(benchmark.classes)) & (used != IGNORE)]
    if beyond.size:
        raise ValueError(f"the truth has train id {beyond[0]}, which is no class")
    return joint


def count_classes(truth: GroundTruth, joint: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Add segments (S, 256) up by true class: (size + 1, 256), the last where it is ignored."""
    rows = np.append(np.arange(size), IGNORE)[:, None]
    return (truth.train_ids == rows).astype(np.int64) @ joint


def count_ids(truth: GroundTruth, joint: NDArray[np.int64], benchmark: Protocol) -> Counts:
    """Return the counts of segments (S, 256) by predicted label id."""
    pixels = count_classes(truth, joint, len(benchmark.classes))[:-1]
    return Counts(pixels, weigh_objects(truth, joint, benchmark))


def count_pairs(segments: NDArray[Any], prediction: UInt8, size: int) -> NDArray[np.int64]:
    """Count pixels by (segment, predicted id); returns (size, 256).

    Labels come in runs, so runs are counted rather than pixels, unless most are short.
    """
    wide = np.uint16 if size <= 256 else np.uint32
    codes = np.left_shift(segments, 8, dtype=wide).ravel() | prediction.ravel()
    ends = np.append(np.flatnonzero(codes[1:] != codes[:-1]), codes.size - 1)
    if len(ends) * 4 < codes.size:
        lengths = np.diff(ends, prepend=-1)
        counts = np.bincount(codes[ends], weights=lengths, minlength=size << 8)
    else:
        counts = np.bincount(codes, minlength=size << 8)
    return counts.astype(np.int64).reshape(size, 256)


def weigh_objects(
    truth: GroundTruth, joint: NDArray[np.int64], benchmark: Protocol
) -> NDArray[np.float64]:
    """Return the (K, 4) weighed object pixels of one image, as ``Counts.objects``.

    Args:
        joint: (S, 256) pixels by segment and predicted label id.
    """
    category = benchmark.category_of_label()
    weighed = no_counts(benchmark).objects
    first = np.flatnonzero(np.diff(truth.instances, prepend=-1))  # segment of each object
    rows = np.add.reduceat(joint, first, axis=0)
    for row, train_id in zip(rows, truth.objects[first].tolist(), strict=True):
        size = row.sum()
        if train_id not in benchmark.object_size or size == 0:
            continue
        label_id = benchmark.classes[train_id].label_id
        right = row[label_id]
        near = row[category == category[label_id]].sum()
        parts = np.array([right, size - right, near, size - near])
        weighed[train_id] += parts * (benchmark.object_size[train_id] / size)
    return weighed
