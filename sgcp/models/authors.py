"""Read the authors' ``.pth.tar`` checkpoints into our network, running no code from them."""

import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sgcp.core.errors import SgcpError
from sgcp.models.artifact import load_strictly, refuse_overflow
from sgcp.models.card import MAX_CLASSES
from sgcp.models.network import SGCPNet

MAX_CHECKPOINT_BYTES = 2**29  # ImageNet heads and optimizers come with some

# The authors' stages l2 .. l5 hold 1, 2, 5 and 3 of our eleven blocks.
STAGES = ("l2", "l3.0", "l3.1", "l4.0", "l4.1", "l4.2", "l4.3", "l4.4", "l5.0", "l5.1", "l5.2")
# Our names and the authors', replaced in this order. They name a fusion node by how its input is
# resized, we by where information flows.
RENAMES = {
    **{rf"^encoder\.blocks\.{n}\.": f"{stage}." for n, stage in enumerate(STAGES)},
    r"^encoder\.stem\.conv": "l1.0",
    r"^encoder\.stem\.norm": "l1.1",
    r"\.se\.reduce\.conv": ".se.se.1",
    r"\.se\.reduce\.norm": ".se.se.2",
    r"\.se\.expand\.conv": ".se.se.4",
    r"\.se\.expand\.norm": ".se.se.5",
    r"\.expand\.(conv|norm)": r".\g<1>1",
    r"\.depthwise\.(conv|norm)": r".\g<1>2",
    r"\.project\.(conv|norm)": r".\g<1>3",
    r"\.norm([123])": r".bn\1",
    r"\.shortcut\.conv": ".shortcut.0",
    r"\.shortcut\.norm": ".shortcut.1",
    r"^lateral": "conv",
    r"^top_down_bottom_up\.": "sgcp.td_bu.unit.0.",
    r"^top_down\.": "sgcp.td.",
    r"project([345])\.": r"p\1_down_channel.",
    r"project6\.": "p5_to_p6.",
    r"skip([45])\.": r"p\1_down_channel_2.",
    r"(_channel|_2|_p6)\.conv": r"\1.0.conv",
    r"(_channel|_2|_p6)\.norm": r"\1.1",
    r"down(\d)\.weights": r"p\1_w1",
    r"up(\d)\.weights": r"p\1_w2",
    r"down(\d)\.": r"conv\1_up.",
    r"up(\d)\.": r"conv\1_down.",
    r"(_up|_down)\.(depthwise|pointwise)": r"\1.\2_conv.conv",
    r"(_up|_down)\.norm": r"\1.bn",
}


def authors_name(key: str) -> str:
    """Return the authors' name of one of our parameters or buffers, without ``module.``."""
    for ours, theirs in RENAMES.items():
        key = re.sub(ours, theirs, key)
    return key


def read_authors_checkpoint(path: str | Path) -> SGCPNet:
    """Build the network that an authors' ``.pth.tar`` holds, in evaluation mode.

    The number of classes is read off the classifier. What the classes are is not in the file.
    Raise SgcpError if it cannot be read or is not an SGCPNet checkpoint.
    """
    path = Path(path)
    tensors = read_checkpoint_tensors(path)
    names = {authors_name(key): key for key in SGCPNet(1).state_dict()}
    foreign = [key for key in tensors if key.removeprefix("module.") not in names]
    if foreign:
        raise SgcpError(
            f"{path}: not an SGCPNet checkpoint: unknown tensor '{foreign[0][:120]}' "
            f"({len(foreign)} of {len(tensors)} unknown)"
        )
    renamed = _rename(tensors, names, path)
    classifier = renamed.get("classifier.weight")
    if classifier is None or classifier.ndim != 4 or classifier.shape[0] < 1:
        raise SgcpError(
            f"{path}: has no classifier, so it is no whole network; an encoder alone is given to "
            "training as `encoder_weights` in params.yaml"
        )
    if classifier.shape[0] > MAX_CLASSES:
        raise SgcpError(f"{path}: scores {classifier.shape[0]} classes; labels are bytes")
    model = SGCPNet(num_classes=classifier.shape[0])
    load_strictly(model, renamed, path)
    refuse_overflow(model.eval(), path)
    return model


def load_encoder_weights(model: SGCPNet, path: str | Path) -> None:
    """Initialise the encoder alone from a file; heads and decoders in it are left out.

    For the ``sgcp`` encoder: the authors' ImageNet or segmentation checkpoint. For
    ``mobilenet_v3_small``: torchvision's state dict. Refuse a file that lacks any part of it.
    """
    path, authors = Path(path), model.encoder_name == "sgcp"
    keys = model.encoder.state_dict()
    names = {authors_name(f"encoder.{key}") if authors else key: key for key in keys}
    kept = _rename(read_checkpoint_tensors(path), names, path)
    if not kept:
        raise SgcpError(
            f"{path}: holds no weights of the '{model.encoder_name}' encoder; the authors' files "
            "fit `encoder: sgcp`, torchvision's fit `encoder: mobilenet_v3_small`"
        )
    load_strictly(model.encoder, kept, path)


def _rename(tensors: Mapping[str, Tensor], names: Mapping[str, str], path: Path) -> dict[str, Any]:
    """Return the tensors that ``names`` (theirs to ours) lists, under our names."""
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = names.get(key.removeprefix("module."))
        if name in renamed:
            raise SgcpError(f"{path}: holds '{name}' twice, the second time as '{key[:120]}'")
        if name is not None:
            renamed[name] = value
    return renamed


def read_checkpoint_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a ``.pth`` or ``.pth.tar`` file; refuse one with more than tensors.

    Accepts a bare state dict, or one under ``segmenter``, ``state_dict`` or ``model``.
    """
    if path.is_dir():
        raise SgcpError(f"{path}: is a folder; give the .pth or .pth.tar checkpoint in it")
    if not path.is_file():
        raise SgcpError(f"{path}: no such file; give the path of a .pth or .pth.tar checkpoint")
    if _unpacked_size(path) > MAX_CHECKPOINT_BYTES:
        raise SgcpError(
            f"{path}: more than {MAX_CHECKPOINT_BYTES:,} bytes; this network has a few megabytes"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about old pickles; it reads or refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types on damaged or hostile files
        raise SgcpError(
            f"{path}: cannot be read as a checkpoint of plain tensors: it is damaged or cut short, "
            f"or holds objects that would run code ({type(error).__name__})"
        ) from error
    for key in ("segmenter", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    entries = content.items() if isinstance(content, dict) else ()
    tensors = {str(key): value for key, value in entries if isinstance(value, Tensor)}
    if not tensors:
        raise SgcpError(f"{path}: holds no tensors")
    return tensors


def _unpacked_size(path: Path) -> int:
    """Return how many bytes a checkpoint holds: torch's newer form is a zip, maybe a bomb."""
    size = path.stat().st_size
    if size > MAX_CHECKPOINT_BYTES or not zipfile.is_zipfile(path):
        return size
    try:
        with zipfile.ZipFile(path) as content:
            return sum(info.file_size for info in content.infolist())
    except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError):
        return size  # torch refuses it
