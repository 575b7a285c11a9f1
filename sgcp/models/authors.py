"""Read the authors' ``.pth.tar`` checkpoints into our network."""

import re
from pathlib import Path

from torch import Tensor

from sgcp.core.errors import SgcpError
from sgcp.models.card import MAX_CLASSES
from sgcp.models.network import SGCPNet
from sgcp.models.tensors import load_strictly, read_checkpoint_tensors, refuse_overflow

# The authors' stages l2 .. l5 hold 1, 2, 5 and 3 of our eleven blocks.
FIRST_BLOCK = {"l2": 0, "l3": 1, "l4": 3, "l5": 8}

BLOCK_PARTS = {
    "conv1": "expand.conv",
    "bn1": "expand.norm",
    "conv2": "depthwise.conv",
    "bn2": "depthwise.norm",
    "conv3": "project.conv",
    "bn3": "project.norm",
    "se.se.1": "se.reduce.conv",
    "se.se.2": "se.reduce.norm",
    "se.se.4": "se.expand.conv",
    "se.se.5": "se.expand.norm",
    "shortcut.0": "shortcut.conv",
    "shortcut.1": "shortcut.norm",
}

PROJECTIONS = {
    "p3_down_channel": "project3",
    "p4_down_channel": "project4",
    "p5_down_channel": "project5",
    "p5_to_p6": "project6",
    "p4_down_channel_2": "skip4",
    "p5_down_channel_2": "skip5",
}

NODE_PARTS = {
    "depthwise_conv.conv": "depthwise",
    "pointwise_conv.conv": "pointwise",
    "bn": "norm",
}


def rename_authors_key(key: str) -> str | None:
    """Translate one of the authors' parameter names into ours; None if we have no such part."""
    key = key.removeprefix("module.")
    if match := re.fullmatch(r"l1\.([01])\.(\w+)", key):
        return f"encoder.stem.{('conv', 'norm')[int(match[1])]}.{match[2]}"
    if match := re.fullmatch(r"(l[2-5])(?:\.(\d))?\.(.+)\.(\w+)", key):
        block = FIRST_BLOCK[match[1]] + int(match[2] or 0)
        part = BLOCK_PARTS.get(match[3])
        return part and f"encoder.blocks.{block}.{part}.{match[4]}"
    if match := re.fullmatch(r"conv([345])\.(\w+)", key):
        return f"lateral{match[1]}.{match[2]}"
    if match := re.fullmatch(r"sgcp\.(td_bu\.unit\.0|td)\.(.+)", key):
        unit = "top_down" if match[1] == "td" else "top_down_bottom_up"
        part = _rename_pyramid_part(match[2])
        return part and f"{unit}.{part}"
    return key if key.startswith("classifier.") else None


def _rename_pyramid_part(key: str) -> str | None:
    """Translate a name within one unit: a fusion weight, a projection or a node's layer."""
    if match := re.fullmatch(r"p(\d)_w([12])", key):
        return f"{('down', 'up')[int(match[2]) - 1]}{match[1]}.weights"
    if match := re.fullmatch(r"(\w+)\.(0\.conv|1)\.(\w+)", key):
        layer = "norm" if match[2] == "1" else "conv"
        name = PROJECTIONS.get(match[1])
        return name and f"{name}.{layer}.{match[3]}"
    if match := re.fullmatch(r"conv(\d)_(up|down)\.(.+)\.(\w+)", key):
        # The authors name a node by how its input is resized, we by where information flows.
        direction = {"up": "down", "down": "up"}[match[2]]
        part = NODE_PARTS.get(match[3])
        return part and f"{direction}{match[1]}.{part}.{match[4]}"
    return None


def _rename(tensors: dict[str, Tensor], path: Path) -> dict[str | None, Tensor]:
    """Rename the authors' tensors; None stands for those we have no part for."""
    renamed: dict[str | None, Tensor] = {}
    for key, value in tensors.items():
        name = rename_authors_key(key)
        if name is not None and name in renamed:
            raise SgcpError(f"{path}: holds '{name}' twice, the second time as '{key[:120]}'")
        renamed[name] = value
    return renamed


def read_authors_checkpoint(path: str | Path) -> SGCPNet:
    """Build the network that an authors' ``.pth.tar`` holds, in evaluation mode.

    The number of classes is read off the classifier. What the classes are is not in the file.

    Raises:
        SgcpError: the file cannot be read or is not an SGCPNet checkpoint.
    """
    path = Path(path)
    tensors = read_checkpoint_tensors(path)
    renamed = _rename(tensors, path)
    foreign = [key for key in tensors if rename_authors_key(key) is None]
    if foreign:
        raise SgcpError(
            f"{path}: not an SGCPNet checkpoint: unknown tensor '{foreign[0][:120]}' "
            f"({len(foreign)} of {len(tensors)} unknown)"
        )
    classifier = renamed.get("classifier.weight")
    if classifier is None or classifier.ndim != 4 or classifier.shape[0] < 1:
        raise SgcpError(
            f"{path}: has no classifier, so it is no whole network; an encoder alone is given to "
            "training as `encoder_weights` in params.yaml"
        )
    if classifier.shape[0] > MAX_CLASSES:
        raise SgcpError(f"{path}: scores {classifier.shape[0]} classes; labels are bytes")
    model = SGCPNet(num_classes=classifier.shape[0])
    load_strictly(model, {str(key): value for key, value in renamed.items()}, path)
    refuse_overflow(model.eval(), path)
    return model


def load_encoder_weights(model: SGCPNet, path: str | Path) -> None:
    """Initialise the encoder alone from a file; heads and decoders in it are left out.

    For the ``sgcp`` encoder: the authors' ImageNet or segmentation checkpoint. For
    ``mobilenet_v3_small``: torchvision's state dict.

    Raises:
        SgcpError: the file cannot be read, or lacks any part of this encoder.
    """
    path = Path(path)
    tensors = read_checkpoint_tensors(path)
    kept: dict[str, Tensor] = {}
    wanted = model.encoder.state_dict()
    for key, value in tensors.items():
        if model.encoder_name == "sgcp":
            name = (rename_authors_key(key) or "").removeprefix("encoder.")
        else:
            name = key.removeprefix("module.")
        if name in kept:
            raise SgcpError(f"{path}: holds '{name}' twice, the second time as '{key[:120]}'")
        if name in wanted:
            kept[name] = value
    if not kept:
        raise SgcpError(
            f"{path}: holds no weights of the '{model.encoder_name}' encoder; the authors' files "
            "fit `encoder: sgcp`, torchvision's fit `encoder: mobilenet_v3_small`"
        )
    load_strictly(model.encoder, kept, path)
