"""Stage ``validate``: prepared split and model -> scores, tables, panels and predictions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.files import building_folder, json_digest
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import track, warn
from sgcp.datasets.index import (
    SPLITS,
    fingerprint_items,
    read_dataset,
    refuse_overlap,
    score_needs,
)
from sgcp.datasets.label_files import train_ids_of
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.segmenter import BUNDLED, find_model, inference_options, load_segmenter
from sgcp.media.images import write_png
from sgcp.metrics.iou import Tally
from sgcp.metrics.results import place_beside, write_scores
from sgcp.metrics.scorer import Scorer
from sgcp.models.card import model_digest, stage_model
from sgcp.reporting.panels import choose_images, panel, write_prediction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item
    from sgcp.inference.segmenter import Segmenter
    from sgcp.metrics.iou import ImageScore
    from sgcp.settings import MachineSettings, ValidateSettings


def validate(
    layout: Layout,
    settings: ValidateSettings,
    machine: MachineSettings,
    model: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Score ``layout.model`` on a split of ``layout.prepared``; write ``layout.scores``.

    Its tables go beside it, as ``write_scores`` says. The best, median and worst images go to
    ``layout.panels``: a panel and the prediction of each.

    Args:
        model: another model, as ``sgcp.load`` takes it; its scores go to
            ``metrics/DATASET/models/NAME``.
        name: what to call it; None: its bundled name, or the last two parts of its path.

    Returns:
        The content of the metrics file.

    Raises:
        SgcpError: the model was trained on images of the split, has other classes, or a file is
            missing or damaged.
    """
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split, instead=score_needs(dataset.name))
    origin: dict[str, Any] = {}
    if model is None:
        weights = stage_model(layout)
    else:
        weights = find_model(model)
        bundled = weights.stem if weights.parent == BUNDLED else None
        layout, origin["source"] = place_beside(layout, "models", Path(model), name or bundled)
    segmenter = load_segmenter(weights, machine, settings.precision)
    digest = model_digest(weights)
    trained_on = segmenter.card.trained_on
    refuse_overlap(trained_on, items, describe_unseen(trained_on, dataset))
    refuse_stale(layout, dataset, items)
    scorer = Scorer(layout, dataset, segmenter, settings.input_size, inference_options(settings))

    tally = Tally(scorer.protocol)
    found = map_threads(lambda item: scorer.score(item).counts, items, segmenter.workers)
    for item, counts in zip(items, track(found, "validating", len(items)), strict=True):
        tally.add(item.key, counts)
    chosen = choose_images(tally.images, settings.panels)
    with building_folder(layout.panels, f"{settings.panels} {fingerprint_items(items)}") as folder:
        write_panels(folder, scorer, items, chosen, digest)
        layout.snapshot.check()
    card = segmenter.card
    if (card.protocol, card.edition) != (dataset.protocol, dataset.edition):
        warn(
            f"note: the model was trained with protocol {card.protocol} of the {card.edition} "
            f"edition and is scored on {dataset.protocol} of {dataset.edition}; the metrics file "
            "contains both"
        )
    origin |= describe_model(segmenter, items, settings, digest)
    return write_scores(layout.scores, dataset, items, tally, origin)


def write_panels(
    folder: Path,
    scorer: Scorer,
    items: list[Item],
    chosen: list[tuple[str, ImageScore]],
    digest: str,
) -> None:
    """Segment the chosen images again and write PLACE.png and PLACE.prediction.png of each."""
    by_key = {item.key: item for item in items}
    classes = scorer.protocol.classes
    meaning = train_ids_of(classes, scorer.dataset)
    for place, image in chosen:
        item = by_key[image.image]
        scored = scorer.score(item)
        label, prediction = scored.truth.train_ids[scored.truth.segments], scored.prediction
        write_png(folder / f"{place}.png", panel(scored.image, label, prediction, classes))
        path = folder / f"{place}.prediction.png"
        of_image = replace(meaning, model=digest, image=item.image_digest)
        write_prediction(path, prediction, classes, of_image)


def describe_unseen(trained_on: Mapping[str, str], dataset: Dataset) -> str:
    """Name a split without images that a model was trained on, or say what to do without one."""
    labelled = {}
    for name in SPLITS:
        items = [item for item in dataset.items if item.split == name]
        with suppress(SgcpError):
            refuse_overlap(trained_on, items)
            if items:
                labelled[name] = all(item.label for item in items)
    if usable := [name for name in labelled if labelled[name]]:
        return f"`--split {usable[0]}` has none of them"
    unlabelled = [f"'{name}' has none of them, but it has no labels here. " for name in labelled]
    return "".join(unlabelled) + score_needs(dataset.name)


def describe_model(
    model: Segmenter, items: list[Item], settings: ValidateSettings, digest: str
) -> dict[str, Any]:
    """Return what was scored, and how."""
    card = model.card
    size = settings.input_size or card.input_size(items[0].height, items[0].width)
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
            "settings": json_digest(card.provenance.get("settings")),
            "sha256": digest,
        },
        "engine": model.engine.name,
        "precision": model.engine.precision,
    }
