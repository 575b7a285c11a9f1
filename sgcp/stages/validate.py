"""Stage ``validate``: prepared split and model -> scores, tables and panels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sgcp.datasets.images import write_png
from sgcp.datasets.index import fingerprint_items, read_dataset, refuse_overlap, spread
from sgcp.evaluation.tally import Tally
from sgcp.files import building_folder, json_digest
from sgcp.progress import map_threads, track, warn
from sgcp.reporting.panels import panel
from sgcp.stages.model import load_segmenter, views_of
from sgcp.stages.scorer import Scorer
from sgcp.stages.scores import write_scores
from sgcp.stages.stale import refuse_stale

if TYPE_CHECKING:
    from sgcp.datasets.index import Dataset, Item
    from sgcp.evaluation.counts import Counts
    from sgcp.inference.segmenter import Segmenter
    from sgcp.settings import MachineSettings, ValidateSettings
    from sgcp.stages.layout import Layout


def validate(
    layout: Layout, settings: ValidateSettings, machine: MachineSettings
) -> dict[str, Any]:
    """Score ``layout.model`` on a split of ``layout.prepared``; write ``layout.scores``.

    Beside it go its tables, as ``write_scores`` says; panels go to ``layout.panels``.

    Returns:
        What the metrics file holds.

    Raises:
        SgcpError: the model was trained on pictures of the split, has other classes, or a file is
            missing or damaged.
    """
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split)
    model = load_segmenter(layout.model, machine, settings.precision)
    refuse_overlap(model.card.trained_on, items)
    refuse_stale(layout, dataset, items)
    scorer = Scorer(layout, dataset, model, settings.input_size, views_of(settings))

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

        found = map_threads(score, enumerate(items), model.workers)
        for item, counts in zip(items, track(found, "validating", len(items)), strict=True):
            tally.add(item.key, counts)
        layout.began.check()
    warn_of_other_protocol(model, dataset)
    origin = describe_model(model, items, settings)
    return write_scores(layout.scores, dataset, items, tally, origin)


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
    model: Segmenter, items: list[Item], settings: ValidateSettings
) -> dict[str, Any]:
    """Return what was scored and the size that the network saw."""
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
        },
        "engine": model.engine.name,
        "precision": model.engine.precision,
    }
