"""The truth as scores need it: which class a pixel is of, and which single object.

Cityscapes' instance-weighted scores (iIoU) need both. They lie in one small picture of segments: a
number for each object and each remaining class of the scene, with the owner of each number in the
PNG's text. Reading it costs as much as reading a label map.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sgcp.datasets.classes import IGNORE
from sgcp.datasets.images import DAMAGED, UInt8, read_label
from sgcp.datasets.index import Item
from sgcp.errors import SgcpError
from sgcp.files import write_bytes

# Cityscapes' instance ids: label_id * 1000 + number for a single object, label_id elsewhere.
IDS_A_LABEL = 1000
OWNERS = "owners"  # key of the PNG's text


@dataclass(frozen=True)
class Truth:
    """One picture's segments and whose they are."""

    segments: NDArray[np.integer]
    """(H, W) uint8 or uint16."""
    train_ids: UInt8
    """(S,) class of each segment, ``IGNORE`` where it is not scored."""
    objects: NDArray[np.bool_]
    """(S,) whether the segment is a single object."""


def truth_of_labels(label: UInt8) -> Truth:
    """Return the truth of a label map (H, W) alone: its train ids are the segments."""
    return Truth(label, np.arange(256, dtype=np.uint8), np.zeros(256, dtype=bool))


def truth_of_instance_ids(instance_ids: NDArray[np.integer]) -> Truth:
    """Number the segments of Cityscapes' instance ids (H, W), objects and all else."""
    from cityscapesscripts.helpers.labels import id2label

    values = np.flatnonzero(np.bincount(instance_ids.ravel()))
    objects = values > IDS_A_LABEL  # as the official evaluator tells them
    label_ids = np.where(values >= IDS_A_LABEL, values // IDS_A_LABEL, values).tolist()
    train_ids = [id2label[label_id].trainId for label_id in label_ids]
    owners = [train_id if 0 <= train_id < IGNORE else IGNORE for train_id in train_ids]
    numbers = np.zeros(values[-1] + 1, dtype=np.uint8 if len(values) <= 256 else np.uint16)
    numbers[values] = np.arange(len(values))
    return Truth(numbers[instance_ids], np.array(owners, dtype=np.uint8), objects)


def write_segments(path: Path, truth: Truth) -> None:
    """Write segments as a PNG with their owners, whole or not at all.

    Up to 256 segments it is a palette image, so that a viewer shows them in colours, and without
    PNG's line filters, which halves the time to read it; beyond, it has 16 bits.
    """
    owners = {"train_ids": truth.train_ids.tolist(), "objects": truth.objects.tolist()}
    info = PngInfo()
    info.add_text(OWNERS, json.dumps(owners))
    image = Image.fromarray(truth.segments)
    if truth.segments.dtype == np.uint8:
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    write_bytes(path, buffer.getvalue(), flush=False)


def read_truth(prepared: Path, item: Item) -> Truth:
    """Read one picture's truth: its segments, or its label map where no objects are annotated.

    Raises:
        SgcpError: there is none, or it is damaged or of another size.
    """
    if item.label is None:
        raise SgcpError(f"{item.image}: has no label")
    path = prepared / (item.segments or item.label)
    truth = _read_segments(path) if item.segments else truth_of_labels(read_label(path))
    size = (item.height, item.width)
    if truth.segments.shape != size:
        raise SgcpError(f"{path}: size {truth.segments.shape}, its picture has {size}")
    return truth


def _read_segments(path: Path) -> Truth:
    try:
        with Image.open(path) as image:
            segments = np.array(image)
            owners = json.loads(image.info[OWNERS])
        train_ids = np.array(owners["train_ids"], dtype=np.uint8)
        objects = np.array(owners["objects"], dtype=bool)
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such picture; prepare again") from None
    except (*DAMAGED, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SgcpError(f"{path}: damaged ({error}); prepare again") from None
    fits = segments.ndim == 2 and segments.dtype in (np.uint8, np.uint16)
    if not fits or segments.max() >= len(train_ids) or train_ids.shape != objects.shape:
        raise SgcpError(f"{path}: no map of segments; prepare again")
    return Truth(segments, train_ids, objects)
