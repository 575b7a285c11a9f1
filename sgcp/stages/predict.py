"""Stage ``predict``: test images and model -> label-id images at original size."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from sgcp.core.files import PARTIAL, building_folder, code_digest
from sgcp.core.parallel import map_threads
from sgcp.core.terminal import output, say, track
from sgcp.datasets.index import fingerprint_items, read_dataset
from sgcp.datasets.label_files import ids_of, write_labels
from sgcp.datasets.stale import refuse_stale
from sgcp.inference.segmenter import load_segmenter, translation
from sgcp.inference.tta import InferenceOptions
from sgcp.media.images import read_image
from sgcp.models.card import model_digest, stage_model

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Item
    from sgcp.settings import MachineSettings, PredictSettings


def predict(layout: Layout, settings: PredictSettings, machine: MachineSettings) -> None:
    """Predict every image of a split; write one PNG of label ids each to ``layout.predictions``.

    Under torchrun, each process predicts its part of the images. After an interruption, images
    that the same model has predicted are kept.

    Raises:
        SgcpError: model or images are missing or damaged, or their classes differ.
    """
    with _joined_processes() as (rank, processes):
        dataset = read_dataset(layout.prepared)
        items = dataset.split(settings.split, labelled=False)
        part = items[rank::processes]
        weights = stage_model(layout)
        model = load_segmenter(weights, machine, settings.precision)
        ids = np.array([one.label_id for one in dataset.classes], dtype=np.uint8)
        to_label_ids = ids[translation(model, dataset.classes)]  # from the model's train ids
        refuse_stale(layout, dataset, part, labels=False)
        meaning = replace(ids_of(dataset.classes, dataset.name), model=model_digest(weights))
        views = InferenceOptions(settings.flip, settings.scales, settings.window)

        def label(item: Item) -> None:
            target = folder / f"{item.prediction}.png"
            if not target.is_file():
                image = read_image(layout.raw / item.image)
                labels = model.segment(image, settings.input_size, views)
                text = replace(meaning, image=item.image_digest)
                write_labels(target, to_label_ids[labels], text)

        with ExitStack() as stack:
            folder = layout.predictions.with_name(layout.predictions.name + PARTIAL)
            if rank == 0:  # it alone locks, clears and renames the folder
                code = code_digest("datasets", "inference", "media", "models")
                parts = [settings.model_dump(mode="json"), meaning.to_text(),
                         fingerprint_items(items), code]  # fmt: skip
                stack.enter_context(building_folder(layout.predictions, json.dumps(parts)))
            _wait_for_all(processes)
            for _ in track(map_threads(label, part, model.workers), "predicting", len(part)):
                pass
            layout.snapshot.check()
            _wait_for_all(processes)
    say(f"{layout.predictions}: {len(items)} label-id images of split '{settings.split}'")


@contextmanager
def _joined_processes() -> Iterator[tuple[int, int]]:
    """Join the processes that torchrun started; yield this one's rank and their number."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        yield 0, 1
        return
    import torch

    torch.distributed.init_process_group("gloo", timeout=timedelta(days=30))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    rank = torch.distributed.get_rank()
    output.quiet = output.quiet or rank > 0
    try:
        yield rank, processes
    finally:
        torch.distributed.destroy_process_group()


def _wait_for_all(processes: int) -> None:
    """Wait until every process is here.

    SystemExit if one has ended: not an error, which would discard the others' images.
    """
    if processes == 1:
        return
    import torch

    try:
        torch.distributed.barrier()
    except RuntimeError:
        raise SystemExit("another process ended. Run the command again to continue") from None
