"""Load a stage's model and fit its classes to a dataset's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sgcp.datasets.classes import match_names
from sgcp.datasets.images import UInt8
from sgcp.errors import SgcpError
from sgcp.inference.engines.base import cores
from sgcp.inference.segmenter import Segmenter, load
from sgcp.inference.views import Views

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass
    from sgcp.settings import LabelSettings, MachineSettings


def load_segmenter(path: Path, machine: MachineSettings, precision: str) -> Segmenter:
    """Load a model onto the machine's device, to be called by a thread a core.

    Raises:
        SgcpError: there is no model, or no such device, engine or precision.
    """
    return load(
        path, choose_device(machine.accelerator), machine.engine, precision, callers=cores()
    )


def choose_device(accelerator: str) -> str:
    """Return cuda where there is a GPU and it is not forbidden, else cpu.

    Args:
        accelerator: auto, cpu or cuda.

    Raises:
        SgcpError: a GPU is asked for, and there is none.
    """
    if accelerator not in ("auto", "cpu", "cuda"):
        raise SgcpError(f"device: 'auto', 'cpu' or 'cuda', got '{accelerator}'")
    if accelerator == "cpu" or (accelerator == "auto" and not has_nvidia_driver()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if accelerator == "cuda":
        raise SgcpError("accelerator: 'cuda', but torch finds no GPU; set auto or cpu")
    return "cpu"


def has_nvidia_driver() -> bool:
    """Tell whether a GPU is worth looking for: torch takes a second and a half to import."""
    return any(Path("/dev").glob("nvidia*")) or not sys.platform.startswith("linux")


def views_of(settings: LabelSettings) -> Views:
    """Return how often, and how, settings ask to look at each picture."""
    return Views(settings.flip, settings.scales, settings.window)


def translation(model: Segmenter, classes: tuple[SemanticClass, ...]) -> UInt8:
    """Return a table (K,) from the model's train ids to the dataset's, matched by name.

    Two orders of the same CamVid classes are in use (DESIGN, section 4), so indices alone say
    nothing.

    Raises:
        SgcpError: the two do not have the same classes.
    """
    names = [item.name for item in model.classes]
    try:
        return np.array(match_names(names, classes), dtype=np.uint8)
    except ValueError as error:
        raise SgcpError(
            f"the model scores {len(names)} classes, the dataset has {len(classes)}; {error}; "
            "train or import a model for this dataset"
        ) from None
