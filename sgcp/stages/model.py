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
from sgcp.inference.engines.processor import processor_name
from sgcp.inference.segmenter import EXPORTED, Segmenter, load
from sgcp.inference.views import Views
from sgcp.models.card import weights_path

if TYPE_CHECKING:
    from sgcp.datasets.classes import SemanticClass
    from sgcp.settings import LabelSettings, MachineSettings
    from sgcp.stages.layout import Layout


def load_segmenter(model: Path, machine: MachineSettings, precision: str) -> Segmenter:
    """Load a model onto the machine's device, to be called by a thread a core.

    An exported model runs on the processor, unless the settings demand a GPU.

    Raises:
        SgcpError: there is no model, or no such device, engine or precision.
    """
    exported = model.suffix in EXPORTED and machine.accelerator == "auto"
    device = "cpu" if exported else choose_device(machine.accelerator)
    return load(model, device, machine.engine, precision, callers=cores())


def stage_model(layout: Layout) -> Path:
    """Return the weights that ``train`` wrote.

    Raises:
        SgcpError: there are none: train first, or finish an interrupted training.
    """
    path = layout.model / "model.safetensors"
    if path.is_file():
        return weights_path(path)
    command = f"run `sgcp train {layout.dataset}`"
    if layout.unfinished_curves.is_dir():
        raise SgcpError(f"{path}: not found: training was interrupted; {command} to finish it")
    raise SgcpError(f"{path}: not found; {command} first")


def describe_processor(device: str) -> str:
    """Name what a model runs on: this machine's processor, and for ``cuda`` the GPU beside it."""
    name = f"{cores()} cores of {processor_name()}"
    if device == "cuda":
        import torch

        if torch.cuda.is_available():
            return f"{name}, {torch.cuda.get_device_name()}"
    return name


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
