"""``sgcp validate --predictions DIR``: predictions of any network -> scores.

Nothing here imports torch: that takes longer than scoring a hundred images.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.findings import describe, group_by_kind
from sgcp.core.machine import keep_freed_memory
from sgcp.core.parallel import each_parallel
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import read_dataset
from sgcp.datasets.label_files import IDS
from sgcp.datasets.source import find_source
from sgcp.datasets.stale import refuse_stale
from sgcp.metrics.confusion import count_classes, count_label_ids, count_segments, regroup
from sgcp.metrics.encodings import Doubts
from sgcp.metrics.iou import Tally
from sgcp.metrics.predictions import read_prediction, refuse_mixed
from sgcp.metrics.protocol import Protocol, protocol_of
from sgcp.metrics.results import place_beside, write_scores
from sgcp.submission.archive import Folder
from sgcp.submission.check import match_files
from sgcp.submission.expected import KnownImages
from sgcp.submission.rules import AMBIGUOUS, DOUBLE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Item
    from sgcp.media.images import UInt8
    from sgcp.metrics.confusion import Counts
    from sgcp.settings import MachineSettings, ValidateSettings


def score_predictions(
    layout: Layout,
    settings: ValidateSettings,
    machine: MachineSettings,
    folder: Path,
    name: str | None = None,
    encoding: str | None = None,
) -> dict[str, Any]:
    """Score predictions on a split; write ``metrics/DATASET/predictions/NAME``, and return it.

    Files are found as by the official evaluator: at any depth below ``folder``, one for each image,
    by ``<city>_<seq>_<frame>*.png`` (custom data: by the image's folders and name).

    Args:
        name: their name; None: the last two parts of the folder's path, ``NET-val``.
        encoding: of their values, one of ``ENCODINGS``; None: label ids, refused where they look
            like another encoding.

    Raises:
        SgcpError: a prediction is missing, double, damaged, of another size, or has values that
            the encoding lacks or that look like another encoding's.
    """
    if not folder.is_dir():
        raise SgcpError(f"{folder}: no such folder of predictions")
    place, source = place_beside(layout, "predictions", folder, name)
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split)
    refuse_stale(layout, dataset, items, images=False)
    protocol = protocol_of(dataset)
    files = find_predictions(folder, items, find_source(layout.dataset).has_server)
    count = partial(
        count_file, prepared=layout.prepared, protocol=protocol, encoding=encoding or IDS
    )
    keep_freed_memory()
    pairs = [(item, files[item.prediction]) for item in items]
    tally, doubts = Tally(protocol), Doubts(folder, protocol, encoding)
    try:
        each = each_parallel(count, pairs, machine.prepare_workers, "scoring")
        for (item, path), (counts, evidence) in zip(pairs, each, strict=True):
            tally.add(item.key, counts)
            if evidence is not None:
                doubts.add(path, *evidence)
    except SgcpError:
        refuse_mixed(folder, files.values(), protocol)  # explains more than the first bad file
        raise
    doubts.refuse()
    layout.snapshot.check()
    origin = {"predictions": place.scores.parent.name, "source": source}
    origin["encoding"] = encoding or IDS
    return write_scores(place.scores, dataset, settings.split, items, tally, origin)


def find_predictions(folder: Path, items: list[Item], cityscapes: bool = True) -> dict[str, Path]:
    """Return the file of each image by its prediction's name; other files are skipped."""
    sizes = {item.prediction: (item.height, item.width) for item in items}
    images = KnownImages(sizes, cityscapes=cityscapes)
    entries, _ = Folder(folder).entries()
    found, findings = match_files(entries, images)
    findings = [finding for finding in findings if finding.kind in (DOUBLE, AMBIGUOUS)]
    findings += images.lacking(found)
    findings += [file.closed for files in found.values() for file in files if file.closed]
    if findings:
        raise SgcpError(
            f"{folder}: {len(findings)} problem(s), nothing was scored\n"
            f"{describe(group_by_kind(findings), images.cityscapes)}"
        )
    return {image: folder / files[0].name for image, files in found.items()}


def count_file(
    pair: tuple[Item, Path], prepared: Path, protocol: Protocol, encoding: str
) -> tuple[Counts, tuple[NDArray[np.int64], UInt8 | None] | None]:
    """Count one prediction; with it, unless it describes itself, what ``Doubts.add`` takes."""
    item, path = pair
    truth = read_ground_truth(prepared, item)
    prediction = read_prediction(path, encoding, protocol)
    try:
        joint = count_segments(truth, prediction.values, protocol)
    except ValueError as error:
        raise SgcpError(f"{path}: {error}") from None
    evidence = None
    if not prediction.described:
        evidence = count_classes(truth, joint, len(protocol.classes)), prediction.palette
    if prediction.encoding != IDS:
        joint = regroup(joint, protocol.label_id_of_train_id)
    return count_label_ids(truth, joint, protocol), evidence
