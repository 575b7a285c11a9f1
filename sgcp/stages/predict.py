"""Stage ``predict``: test images and model -> label-id images at original size."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sgcp.core.files import building_folder, code_digest
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import say, track
from sgcp.datasets.index import fingerprint_items, read_dataset
from sgcp.datasets.label_files import Meaning, ids_of, write_labels
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.segmenter import inference_options, load_segmenter, translation
from sgcp.media.images import UInt8, read_image
from sgcp.models.card import model_digest, stage_model
from sgcp.stages.shards import choose_shard, is_finished, join_shards, mark_finished, take_own_gpu

if TYPE_CHECKING:
    from pathlib import Path

    from sgcp.core.layout import Layout
    from sgcp.datasets.classes import SemanticClass
    from sgcp.datasets.index import Item
    from sgcp.inference.segmenter import Segmenter
    from sgcp.settings import MachineSettings, PredictSettings


def predict(
    layout: Layout, settings: PredictSettings, machine: MachineSettings, shard: str | None = None
) -> None:
    """Label every image of a split; write one PNG of label ids each to ``layout.predictions``.

    After an interruption, images already labelled by the same model are not labelled again.

    Args:
        shard: ``I/N`` to label one of N shards, as ``choose_shard`` says; the process that
            finishes the last of them writes ``layout.predictions``.

    Raises:
        SgcpError: model or images are missing or damaged, or their classes differ; no such shard.
    """
    part = choose_shard(shard)
    if part is not None:
        take_own_gpu()
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split, labelled=False)
    weights = stage_model(layout)
    key = run_key(weights, settings, items)
    model = load_segmenter(weights, machine, settings.precision)
    to_label_ids = label_id_table(model, dataset.classes)
    refuse_stale(layout, dataset, part.take(items) if part else items, labels=False)
    meaning = replace(ids_of(dataset.classes, dataset.name), model=model_digest(weights))
    if part is None:
        with building_folder(layout.predictions, key) as folder:
            label_images(layout, settings, items, model, to_label_ids, meaning, folder)
    else:
        place = part.folder(layout.predictions)
        if not is_finished(place, key):
            with building_folder(place, key) as folder:
                own = part.take(items)
                label_images(layout, settings, own, model, to_label_ids, meaning, folder)
                mark_finished(folder, key)
        names = [prediction_name(item) for item in items]
        if not join_shards(layout.predictions, part.count, key, names):
            say(f"shard {part} is done; the last to finish makes {layout.predictions}")
            return
    say(f"{layout.predictions}: {len(items)} label-id images of split '{settings.split}'")


def label_images(
    layout: Layout,
    settings: PredictSettings,
    items: list[Item],
    model: Segmenter,
    to_label_ids: UInt8,
    meaning: Meaning,
    folder: Path,
) -> None:
    """Label images into a folder, leaving out those that are there."""
    views = inference_options(settings)

    def label(item: Item) -> None:
        target = folder / prediction_name(item)
        if not target.is_file():
            image = read_image(layout.raw / item.image)
            labels = model.segment(image, settings.input_size, views)
            said = replace(meaning, image=item.image_digest)
            write_labels(target, to_label_ids[labels], said)

    for _ in track(map_threads(label, items, model.workers), "predicting", len(items)):
        pass
    layout.snapshot.check()


def prediction_name(item: Item) -> str:
    """Return a prediction's path, as those who score it find it."""
    return f"{item.prediction}.png"


def label_id_table(model: Segmenter, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Return a table (K,) from the model's train ids to the ids that submissions carry."""
    ids = np.array([item.label_id for item in classes], dtype=np.uint8)
    return ids[translation(model, classes)]


def run_key(weights: Path, settings: PredictSettings, items: list[Item]) -> str:
    """Identify model, settings and images: another run's half is not gone on with."""
    images = fingerprint_items(items)
    code = code_digest("datasets", "inference", "media", "models")
    return json.dumps([settings.model_dump(mode="json"), model_digest(weights), images, code])
