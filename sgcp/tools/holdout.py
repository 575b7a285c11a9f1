"""``sgcp train --holdout DRIVE``: train without one drive, and score that drive."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sgcp.core.files import read_json
from sgcp.datasets.index import HOLDOUT, read_dataset
from sgcp.tools.seeds import one_process, run_once

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import DatasetSettings, MachineSettings


def train_holdout(
    layout: Layout, settings: DatasetSettings, machine: MachineSettings, name: str
) -> dict[str, Any]:
    """Train without the drive ``train.holdout`` and score it, beside the stages' own outputs.

    A finished run with the same settings, code and data is not repeated.

    Args:
        name: folder of the results below ``data/holdout/DATASET`` and ``metrics/DATASET/holdout``.

    Returns:
        The content of the metrics file, ``metrics/DATASET/holdout/NAME/DRIVE/validate.json``.

    Raises:
        SgcpError: there is no such drive, several processes, or as ``train`` and ``validate``.
    """
    machine = one_process(machine, "--holdout")
    drive = str(settings.train.holdout)
    read_dataset(layout.prepared).split(f"{HOLDOUT}:{drive}")  # refuses one that does not exist
    place = replace(layout, beside=f"holdout/{name}/{drive}")
    run_once(place, settings.train, machine, settings.validate_)
    return read_json(place.scores, made_by="sgcp train --holdout")
