"""Stage ``predict``: test images and model -> label-id images at original size."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from sgcp.datasets.images import UInt8, read_image, write_png
from sgcp.datasets.index import fingerprint_items, read_dataset
from sgcp.files import building_folder, code_digest, file_sha256
from sgcp.progress import map_threads, say, track
from sgcp.stages.model import load_segmenter, translation

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass
    from sgcp.datasets.index import Item
    from sgcp.inference.segmenter import Segmenter
    from sgcp.settings import MachineSettings, PredictSettings
    from sgcp.stages.layout import Layout


def predict(layout: Layout, settings: PredictSettings, machine: MachineSettings) -> None:
    """Label every image of a split; write one PNG of label ids each to ``layout.predictions``.

    After an interruption, images already labelled by the same model are not labelled again.

    Raises:
        SgcpError: model or images are missing or damaged, or their classes differ.
    """
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split, labelled=False)
    model = load_segmenter(layout.model, machine, settings.precision)
    to_label_ids = label_id_table(model, dataset.classes)
    with building_folder(layout.predictions, key=run_key(layout, settings, items)) as folder:

        def label(item: Item) -> None:
            target = folder / f"{item.submission_stem}.png"
            if not target.is_file():
                labels = model.segment(read_image(layout.raw / item.image), settings.input_size)
                write_png(target, to_label_ids[labels])

        done = map_threads(label, items, model.workers)
        for _ in track(done, "predicting", len(items)):
            pass
    say(f"{layout.predictions}: {len(items)} label-id images of split '{settings.split}'")


def label_id_table(model: Segmenter, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Return a table (K,) from the model's train ids to the ids that submissions carry."""
    ids = np.array([item.label_id for item in classes], dtype=np.uint8)
    return ids[translation(model, classes)]


def run_key(layout: Layout, settings: PredictSettings, items: list[Item]) -> str:
    """Identify model, settings and images: another run's half is not gone on with."""
    weights = file_sha256(layout.model / "model.safetensors")
    images = fingerprint_items(items)
    code = code_digest("datasets", "models", "inference")
    return json.dumps([settings.model_dump(mode="json"), weights, images, code])
