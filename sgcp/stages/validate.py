"""Stage ``validate``: prepared split and model -> scores, tables and panels."""

from __future__ import annotations

import json
from contextlib import suppress
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
    spread,
)
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.segmenter import (
    BUNDLED,
    find_model,
    inference_options,
    load_segmenter,
    stage_model,
)
from sgcp.media.images import write_png
from sgcp.metrics.iou import Tally
from sgcp.metrics.results import place_beside, write_scores
from sgcp.metrics.scorer import Scorer
from sgcp.models.card import model_digest
from sgcp.reporting.panels import panel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset, Item
    from sgcp.inference.segmenter import Segmenter
    from sgcp.metrics.confusion import Counts
    from sgcp.settings import MachineSettings, ValidateSettings


def validate(
    layout: Layout,
    settings: ValidateSettings,
    machine: MachineSettings,
    model: str | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Score ``layout.model`` on a split of ``layout.prepared``; write ``layout.scores``.

    Beside it go its tables, as ``write_scores`` says; panels go to ``layout.panels``.

    Args:
        model: another model, as ``sgcp.load`` takes it; its scores go to
            ``metrics/DATASET/models/NAME``.
        name: what to call it; None: its bundled name, or the last two parts of its path.

    Returns:
        What the metrics file holds.

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
    refuse_trained(segmenter, dataset, items)
    refuse_stale(layout, dataset, items)
    scorer = Scorer(layout, dataset, segmenter, settings.input_size, inference_options(settings))

    shown = set(spread(range(len(items)), settings.panels))
    tally = Tally(scorer.benchmark)
    with building_folder(layout.panels, run_key(settings, items)) as folder:

        def score(task: tuple[int, Item]) -> Counts:
            index, item = task
            scored = scorer.score(item)
            if index in shown:
                label = scored.truth.train_ids[scored.truth.segments]
                picture = panel(scored.image, label, scored.prediction, dataset.classes)
                write_png(folder / f"{item.key}.png", picture)
            return scored.counts

        found = map_threads(score, enumerate(items), segmenter.workers)
        for item, counts in zip(items, track(found, "validating", len(items)), strict=True):
            tally.add(item.key, counts)
        layout.snapshot.check()
    warn_of_other_protocol(segmenter, dataset)
    origin |= describe_model(segmenter, items, settings, digest)
    return write_scores(layout.scores, dataset, items, tally, origin)


def refuse_trained(model: Segmenter, dataset: Dataset, items: list[Item]) -> None:
    """Refuse images that the model was trained on, and name a split without any.

    Raises:
        SgcpError: it was trained on some.
    """
    trained_on = model.card.trained_on
    refuse_overlap(trained_on, items, describe_unseen(trained_on, dataset))


def describe_unseen(trained_on: Mapping[str, str], dataset: Dataset) -> str:
    """Say which split has no image that a model was trained on, or what to do without one."""
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


def run_key(settings: ValidateSettings, items: list[Item]) -> str:
    """Identify settings and split: a killed run's panels are not left among another's."""
    return json.dumps([settings.model_dump(mode="json"), fingerprint_items(items)])


def warn_of_other_protocol(model: Segmenter, dataset: Dataset) -> None:
    """Mark a number that does not compare: a model of one protocol scored under another."""
    trained = (model.card.protocol, model.card.edition)
    if trained != (dataset.protocol, dataset.edition):
        warn(
            f"note: the model learnt protocol {trained[0]} of the {trained[1]} edition and is "
            f"scored on {dataset.protocol} of {dataset.edition}; both stand in the metrics file"
        )


def describe_model(
    model: Segmenter, items: list[Item], settings: ValidateSettings, digest: str
) -> dict[str, Any]:
    """Return what was scored and the size that the network saw.

    Args:
        digest: ``model_digest``.
    """
    seen = settings.input_size or model.card.input_size(items[0].height, items[0].width)
    return {
        "input_size": list(seen),
        "flip": settings.flip,
        "scales": list(settings.scales),
        "window": list(settings.window) if settings.window else None,
        "model": {
            "dataset": model.card.dataset,
            "edition": model.card.edition,
            "protocol": model.card.protocol,
            "epoch": model.card.provenance.get("epoch"),
            "settings": json_digest(model.card.provenance.get("settings")),
            "sha256": digest,
        },
        "engine": model.engine.name,
        "precision": model.engine.precision,
    }
