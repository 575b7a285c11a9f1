"""Ground truth for scores: the class of each pixel, and its object.

Cityscapes' instance-weighted scores (iIoU) need both. They are stored in one image of segments: a
number for each object and each remaining class of the scene, with the owner of each number in the
PNG's text. Reading it costs as much as reading a label map.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.index import Item
from sgcp.media.images import DAMAGED, UInt8, read_label, write_png

# Cityscapes' instance ids: label_id * 1000 + number for a single object, label_id elsewhere.
IDS_A_LABEL = 1000
OWNERS = "owners"  # key of the PNG's text


@dataclass(frozen=True)
class GroundTruth:
    """One image's segments, with the class and object of each."""

    segments: NDArray[np.integer]
    """(H, W) uint8 or uint16."""
    train_ids: UInt8
    """(S,) class of each segment, ``IGNORE`` where it is not scored."""
    objects: UInt8
    """(S,) class of the single object that the segment belongs to, ``IGNORE`` where it is none."""
    instances: NDArray[np.int64]
    """(S,) number of that object or region, rising: neighbours of one number are one object."""


def ground_truth_of_labels(label: UInt8) -> GroundTruth:
    """Return the ground truth of a label map (H, W) alone: its train ids are the segments."""
    train_ids = np.arange(256, dtype=np.uint8)
    return GroundTruth(label, train_ids, np.full(256, IGNORE, np.uint8), train_ids.astype(np.int64))


def ground_truth_of_instance_ids(instance_ids: NDArray[np.integer], label: UInt8) -> GroundTruth:
    """Number the segments of Cityscapes' instance ids (H, W) and train ids (H, W).

    With more than 1000 objects of a class, instance ids run on into the next label's: car 1001 and
    truck 1 are both 27001. As the official evaluator does, classes are then those of ``label``, and
    what shares an instance id is one object.
    """
    values, places = _number(instance_ids)
    codes, numbers = _number(places * 256 + label)
    objects = np.array([_object_class(value) for value in values.tolist()], dtype=np.uint8)
    kind = np.uint8 if len(codes) <= 256 else np.uint16
    train_ids, instances = (codes % 256).astype(np.uint8), codes // 256
    return GroundTruth(numbers.astype(kind), train_ids, objects[instances], instances)


def _number(values: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sorted values and each pixel's place among them: ``np.unique`` in linear time."""
    present = np.flatnonzero(np.bincount(values.ravel()))
    places = np.zeros(present[-1] + 1, dtype=np.int64)
    places[present] = np.arange(len(present))
    return present, places[values]


def _object_class(instance_id: int) -> int:
    """Return the train id of the object that an instance id names, ``IGNORE`` if it names none."""
    from cityscapesscripts.helpers.labels import id2label

    owner = id2label.get(instance_id // IDS_A_LABEL)
    if instance_id <= IDS_A_LABEL or owner is None or owner.ignoreInEval:
        return IGNORE
    return int(owner.trainId)


def write_segments(path: Path, truth: GroundTruth) -> None:
    """Write segments as a PNG of 8 or 16 bits, with their owners in its text."""
    owners = {key: getattr(truth, key).tolist() for key in ("train_ids", "objects", "instances")}
    write_png(path, truth.segments, {OWNERS: json.dumps(owners)})


def read_ground_truth(prepared: Path, item: Item) -> GroundTruth:
    """Read an image's segments, else its label map; SgcpError: missing, damaged, another size."""
    if item.label is None:
        raise SgcpError(f"{item.image}: has no label")
    path = prepared / (item.segments or item.label)
    truth = _read_segments(path) if item.segments else ground_truth_of_labels(read_label(path))
    size = (item.height, item.width)
    if truth.segments.shape != size:
        raise SgcpError(f"{path}: size {truth.segments.shape}, its image has {size}")
    return truth


def _read_segments(path: Path) -> GroundTruth:
    try:
        with Image.open(path) as image:
            segments = np.array(image)
            owners = json.loads(image.info[OWNERS])
        train_ids = np.array(owners["train_ids"], dtype=np.uint8)
        objects = np.array(owners["objects"], dtype=np.uint8)
        instances = np.array(owners["instances"], dtype=np.int64)
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such image; prepare again") from None
    except (*DAMAGED, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SgcpError(
            f"{path}: damaged or written by an older version ({error}); prepare again"
        ) from None
    fits = segments.ndim == 2 and segments.dtype in (np.uint8, np.uint16)
    fits = fits and train_ids.shape == objects.shape == instances.shape == (len(train_ids),)
    if not fits or segments.max() >= len(train_ids) or (np.diff(instances) < 0).any():
        raise SgcpError(f"{path}: not a map of segments; prepare again")
    return GroundTruth(segments, train_ids, objects, instances)
