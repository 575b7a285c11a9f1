"""Stage ``validate``: prepared split and model -> scores, tables, panels and predictions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from sgcp.core.errors import SgcpError
from sgcp.core.files import building_folder
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import answer, percent, say, track, warn
from sgcp.datasets.index import (
    HOLDOUT,
    SPLITS,
    find_trained,
    fingerprint_items,
    name_items,
    read_dataset,
    refuse_overlap,
    score_needs,
)
from sgcp.datasets.label_files import train_ids_of
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.engines.choice import BUNDLED
from sgcp.inference.segmenter import find_model, load_segmenter
from sgcp.inference.tta import InferenceOptions
from sgcp.media.images import read_image, write_png
from sgcp.metrics.calibration import Sample, describe_calibration, pixels_of_each
from sgcp.metrics.corruptions import render_corruptions, score_corruptions
from sgcp.metrics.details import (
    BoundaryCounts,
    count_boundary,
    count_sizes,
    describe_boundary,
    describe_sizes,
)
from sgcp.metrics.iou import Tally
from sgcp.metrics.results import place_beside, write_scores
from sgcp.metrics.scorer import Scorer
from sgcp.models.card import model_digest, recipe_digest, stage_model
from sgcp.reporting.panels import choose_images, panel, write_prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item
    from sgcp.inference.segmenter import Segmenter
    from sgcp.metrics.confusion import Counts
    from sgcp.models.card import ModelCard
    from sgcp.settings import MachineSettings, ValidateSettings


def validate(
    layout: Layout,
    settings: ValidateSettings,
    machine: MachineSettings,
    model: str | None = None,
    name: str | None = None,
    own_split: bool = True,
    corruptions: bool = False,
    class_map: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Score ``layout.model`` on a split of ``layout.prepared``; write ``layout.scores``.

    Its tables go beside it, as ``write_scores`` says. The best, median and worst images go to
    ``layout.panels``: a panel and the prediction of each.

    Args:
        model: another model, as ``sgcp.load`` takes it; its scores go to
            ``metrics/DATASET/models/NAME``.
        name: what to call it; None: its bundled name, or the last two parts of its path.
        own_split: score a model that was trained without one drive on that drive, instead of on
            ``settings.split``.
        corruptions: score corrupted images too.
        class_map: for a model of other classes than the dataset; the classes that both then
            have are scored.

    Returns:
        The content of the metrics file.

    Raises:
        SgcpError: the model was trained on images of the split, has other classes, or a file is
            missing or damaged.
    """
    dataset = read_dataset(layout.prepared)
    origin: dict[str, Any] = {}
    if model is None:
        weights = stage_model(layout)
    else:
        weights = find_model(model)
        bundled = weights.stem if weights.parent == BUNDLED else None
        layout, origin["source"] = place_beside(layout, "models", Path(model), name or bundled)
    segmenter = load_segmenter(weights, machine, settings.precision)
    digest = model_digest(weights)
    split = choose_split(segmenter.card, dataset, settings) if own_split else settings.split
    items = dataset.split(split, instead=score_needs(dataset.name))
    trained_on = read_trained(weights, segmenter.card, dataset)
    refuse_overlap(trained_on, items, advise_split(trained_on, dataset))
    refuse_stale(layout, dataset, items)
    options = InferenceOptions(settings.flip, settings.scales, settings.window)
    scorer = Scorer(layout, dataset, segmenter, settings.input_size, options, class_map)
    dataset = scorer.dataset
    pixels = pixels_of_each(len(items), len(segmenter.classes))

    def score(
        item: Item,
    ) -> tuple[Counts, BoundaryCounts, NDArray[np.int64], bytes, Sample | None]:
        scored = scorer.score(item)
        truth = scored.truth.train_ids[scored.truth.segments]
        sample = None if scored.scores is None else Sample(scored.scores, truth, pixels)
        edges = count_boundary(truth, scored.prediction, len(dataset.classes))
        by_size = count_sizes(truth, scored.prediction, len(dataset.classes))
        packed = imagecodecs.lz4_encode(scored.prediction.tobytes(), header=True)
        # 2 % of the pixels, in 1 ms for 2 megapixels
        return scored.counts, edges, by_size, bytes(packed), sample

    named = name_items(items)
    tally, boundaries, sizes, predictions, samples = Tally(scorer.protocol), [], [], {}, []
    found = map_threads(score, items, segmenter.workers)
    shown = track(found, "validating", len(items))
    for key, (counts, edges, by_size, packed, sample) in zip(named, shown, strict=True):
        tally.add(key, counts)
        boundaries.append(edges)
        sizes.append(by_size)
        predictions[key] = packed
        samples += [sample] if sample and len(sample.truth) else []
    with building_folder(layout.panels, f"{settings.panels} {fingerprint_items(items)}") as folder:
        for place, chosen in choose_images(tally.images, settings.panels):
            unpacked = imagecodecs.lz4_decode(predictions[chosen.image], header=True)
            write_panel(folder / place, scorer, named[chosen.image], unpacked, digest)
        layout.snapshot.check()
    card = segmenter.card
    if (card.protocol, card.edition) != (dataset.protocol, dataset.edition):
        warn(
            f"note: the model was trained with protocol {card.protocol} of the {card.edition} "
            f"edition and is scored on {dataset.protocol} of {dataset.edition}; the metrics file "
            "contains both"
        )
    origin |= describe_model(segmenter, items, settings, digest)
    names = [item.name for item in dataset.classes]
    origin["boundary"] = describe_boundary(reduce(add, boundaries), names)
    origin["recall_by_size"] = describe_sizes(reduce(add, sizes), names)
    if samples:
        origin["calibration"] = describe_calibration(samples, card.temperature)
    if corruptions:
        origin["corruptions"] = score_corruptions(scorer, items, segmenter.workers)
    content = write_scores(layout.scores, dataset, split, items, tally, origin)
    near = content["boundary"]
    say(
        f"near edges: IoU {percent(near['miou'])} %, accuracy {percent(near['accuracy_near'])} %; "
        f"elsewhere: accuracy {percent(near['accuracy_elsewhere'])} %"
    )
    small, medium, large = map(percent, content["recall_by_size"]["mean"].values())
    say(
        f"mean recall by size of the region: below 32x32 pixels {small} %, to 96x96 {medium} %, "
        f"larger {large} %"
    )
    if corruptions:
        answer(render_corruptions(content))
    if calibration := content.get("calibration"):
        say(
            f"expected calibration error {percent(calibration['ece_calibrated'])} % at the model's "
            f"temperature {calibration['temperature']}, {percent(calibration['ece'])} % at 1"
        )
    return content


def choose_split(card: ModelCard, dataset: Dataset, settings: ValidateSettings) -> str:
    """Return the split to score: the drive that the model was trained without, if there is one."""
    trained = card.provenance.get("settings")
    drive = trained.get("holdout") if isinstance(trained, dict) else None
    if card.dataset != dataset.name or not isinstance(drive, str):
        return settings.split
    say(f"trained without the drive {drive}: scored on it, not on '{settings.split}'")
    return f"{HOLDOUT}:{drive}"


def read_trained(path: Path, card: ModelCard, dataset: Dataset) -> Mapping[str, str]:
    """Return the images that a model was trained on: digests by name, as ``refuse_overlap`` takes.

    An export has only their fingerprint, so it is refused if trained on others than whole splits.
    """
    summary = (card.provenance.get("export") or {}).get("trained_on")
    if summary is None:
        return card.trained_on
    if (trained := find_trained(summary, dataset)) is None:
        raise SgcpError(
            f"{path}: was trained on other images than splits of this dataset, and an export does "
            "not list them, so that none of them may be among those to score. Score the "
            ".safetensors that it was exported from"
        )
    return trained


def advise_split(trained_on: Mapping[str, str], dataset: Dataset) -> str:
    """Name a split of which no image was trained on, or say what to do without one."""
    unlabelled = ""
    for name in SPLITS:
        items = [item for item in dataset.items if item.split == name]
        with suppress(SgcpError):
            refuse_overlap(trained_on, items)
            if items and all(item.label for item in items):
                return f"`--split {name}` has none of them"
            if items:
                unlabelled += f"'{name}' has none of them, but it has no labels here. "
    return unlabelled + score_needs(dataset.name)


def write_panel(
    stem: Path, scorer: Scorer, item: Item, pixels: bytes | bytearray, model: str
) -> None:
    """Write ``stem``.png and ``stem``.prediction.png of the train ids that ``model`` predicted."""
    image, truth = read_image(scorer.layout.raw / item.image), scorer.read_truth(item)
    prediction = np.frombuffer(pixels, np.uint8).reshape(truth.segments.shape)
    label, classes = truth.train_ids[truth.segments], scorer.dataset.classes
    write_png(stem.with_suffix(".png"), panel(image, label, prediction, classes))
    meaning = train_ids_of(classes, scorer.dataset.name)
    meaning = replace(meaning, model=model, image=item.image_digest)
    write_prediction(stem.with_suffix(".prediction.png"), prediction, classes, meaning)


def describe_model(
    model: Segmenter, items: list[Item], settings: ValidateSettings, digest: str
) -> dict[str, Any]:
    """Return what was scored, and how."""
    card = model.card
    size = model.network_size((items[0].height, items[0].width), settings.input_size)
    return {
        "input_size": list(size),
        "flip": settings.flip,
        "scales": list(settings.scales),
        "window": list(settings.window) if settings.window else None,
        "panels": settings.panels,
        "model": {
            "dataset": card.dataset,
            "edition": card.edition,
            "protocol": card.protocol,
            "recipe": card.provenance.get("recipe"),
            "epoch": card.provenance.get("epoch"),
            "lineage": card.lineage,
            "settings": recipe_digest(card.provenance.get("settings")),
            "sha256": digest,
        },
        "engine": model.engine.name,
        "precision": model.engine.precision,
    }
