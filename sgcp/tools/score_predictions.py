"""``sgcp validate --predictions DIR``: anybody's predictions -> scores.

Nothing here imports torch: starting it takes longer than scoring a hundred images.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.core.findings import describe, group_by_kind
from sgcp.core.memory import keep_freed_memory
from sgcp.core.parallel import each_parallel
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import read_dataset
from sgcp.datasets.label_files import IDS
from sgcp.datasets.stale import refuse_stale
from sgcp.metrics.confusion import Counts, count_classes, count_ids, count_segments
from sgcp.metrics.doubts import Doubts, Readings, read_values
from sgcp.metrics.encodings import label_ids_of
from sgcp.metrics.iou import Tally
from sgcp.metrics.predictions import read_prediction, refuse_mixed
from sgcp.metrics.protocol import Protocol, protocol_of
from sgcp.metrics.results import place_beside, write_scores
from sgcp.submission.archive import Folder
from sgcp.submission.check import match_files
from sgcp.submission.expected import Expected, KnownImages
from sgcp.submission.rules import AMBIGUOUS, DOUBLE

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Item
    from sgcp.settings import MachineSettings, ValidateSettings


def score_predictions(
    layout: Layout,
    settings: ValidateSettings,
    machine: MachineSettings,
    folder: Path,
    name: str | None = None,
    encoding: str | None = None,
) -> dict[str, Any]:
    """Score a folder of predictions on a split of ``layout.prepared``.

    The scores go to ``metrics/DATASET/predictions/NAME``.

    Files are found as the official evaluator finds them: at any depth below ``folder``, one for
    each image, by ``<city>_<seq>_<frame>*.png`` (own data: by the image's folders and name).

    Args:
        name: what to call them; None: the last two parts of the folder's path, ``NET-val``.
        encoding: what their values are, one of ``ENCODINGS``; None: label ids, refused where they
            look like something else.

    Returns:
        What the metrics file holds.

    Raises:
        SgcpError: a prediction is missing, doubled, damaged, of another size, has values that the
            encoding does not have, or values that look like another encoding's.
    """
    if not folder.is_dir():
        raise SgcpError(f"{folder}: no such folder of predictions")
    place, source = place_beside(layout, "predictions", folder, name)
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split)
    refuse_stale(layout, dataset, items, images=False)
    benchmark = protocol_of(dataset)
    files = find_predictions(folder, items, layout.dataset == "cityscapes")
    refuse_mixed(folder, files.values(), benchmark)
    score = partial(
        count_file, prepared=layout.prepared, benchmark=benchmark, encoding=encoding or IDS
    )
    keep_freed_memory()
    pairs = [(item, files[item.prediction]) for item in items]
    # Added up as they come: kept, they are 100 KB an image.
    each = each_parallel(score, pairs, machine.prepare_workers, "scoring")
    tally, doubts = Tally(benchmark), Doubts(folder, benchmark, encoding)
    for (item, path), scored in zip(pairs, each, strict=True):
        tally.add(item.key, scored.counts)
        if scored.readings is not None:
            doubts.add(path, scored.readings)
    doubts.refuse()
    layout.snapshot.check()
    origin = {
        "predictions": place.scores.parent.name,
        "source": source,
        "encoding": encoding or IDS,
    }
    return write_scores(place.scores, dataset, items, tally, origin)


def find_predictions(folder: Path, items: list[Item], cityscapes: bool = True) -> dict[str, Path]:
    """Return the one file of each image, by the prediction's name; other images' files are skipped.

    Raises:
        SgcpError: an image has none, or several.
    """
    images = KnownImages(
        [Expected(item.prediction, (item.height, item.width)) for item in items],
        cityscapes=cityscapes,
    )
    entries, _ = Folder(folder).entries()
    answers, findings = match_files(entries, images)
    findings = [finding for finding in findings if finding.kind in (DOUBLE, AMBIGUOUS)]
    findings += images.lacking(answers)
    findings += [file.closed for files in answers.values() for file in files if file.closed]
    if findings:
        raise SgcpError(
            f"{folder}: {len(findings)} problem(s), nothing was scored\n"
            f"{describe(group_by_kind(findings), images.cityscapes)}"
        )
    return {image: folder / files[0].name for image, files in answers.items()}


@dataclass(frozen=True)
class Scored:
    """One prediction, counted."""

    counts: Counts
    readings: Readings | None
    """In every encoding; None where the file says itself what it is."""


def count_file(
    pair: tuple[Item, Path], prepared: Path, benchmark: Protocol, encoding: str
) -> Scored:
    """Count one prediction file, once for all readings of its values.

    Raises:
        SgcpError: naming the file.
    """
    item, path = pair
    truth = read_ground_truth(prepared, item)
    prediction = read_prediction(path, encoding, benchmark)
    try:
        joint = count_segments(truth, prediction.values, benchmark)
    except ValueError as error:
        raise SgcpError(f"{path}: {error}") from None
    readings = None
    if prediction.foreign:
        by_value = count_classes(truth, joint, len(benchmark.classes))
        readings = read_values(by_value, encoding, benchmark, prediction.palette)
    by_id = np.zeros_like(joint)
    np.add.at(by_id.T, label_ids_of(benchmark, prediction.encoding), joint.T)
    return Scored(count_ids(truth, by_id, benchmark), readings)
