"""Load a stage's model and fit its classes to a dataset's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from sgcp.datasets.images import UInt8
from sgcp.errors import SgcpError
from sgcp.inference.segmenter import Segmenter, load

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass
    from sgcp.settings import MachineSettings


def load_segmenter(path: Path, machine: MachineSettings) -> Segmenter:
    """Load a model onto the machine's device.

    Raises:
        SgcpError: there is no model, or no such device.
    """
    available = torch.cuda.is_available()
    if machine.accelerator == "cuda" and not available:
        raise SgcpError("machine.accelerator: 'cuda', but torch finds no GPU; set auto or cpu")
    device = "cuda" if available and machine.accelerator != "cpu" else "cpu"
    return load(path, device)


def translation(model: Segmenter, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Return a table (K,) from the model's train ids to the dataset's, matched by name.

    Two orders of the same CamVid classes are in use (DESIGN, section 4), so indices alone say
    nothing.

    Raises:
        SgcpError: the two do not have the same classes.
    """
    wanted = {item.name: item.train_id for item in classes}
    have = [item.name for item in model.classes]
    if set(have) != set(wanted):
        odd = sorted(set(have) ^ set(wanted))
        raise SgcpError(
            f"the model scores {len(have)} classes, the dataset has {len(wanted)}; not in both: "
            f"{', '.join(odd[:5])}; train or import a model for this dataset"
        )
    return np.array([wanted[name] for name in have], dtype=np.uint8)
