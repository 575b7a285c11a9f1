"""Begin training with the weights of another model, for these classes or others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sgcp.errors import SgcpError
from sgcp.models.artifact import load_model
from sgcp.models.authors import read_authors_checkpoint
from sgcp.models.card import weights_path
from sgcp.models.network import SGCPNet
from sgcp.models.tensors import load_strictly

OURS = ".safetensors"
CITYSCAPES_CLASSES = 19  # of which there is one order only


@dataclass(frozen=True)
class Source:
    """A model to begin with."""

    path: Path
    network: SGCPNet
    classes: list[str] | None
    """Their names in order; None: an authors' checkpoint does not say."""
    trained_on: dict[str, str] = field(default_factory=dict)
    """Pictures it learnt from: digest of the pixels by name."""


def read_source(path: Path) -> Source:
    """Read one of our models, by its folder or ``.safetensors``, or an authors' ``.pth.tar``.

    Raises:
        SgcpError: there is none, or it is damaged.
    """
    if path.is_dir() or path.suffix == OURS:
        network, card = load_model(path)
        return Source(path, network, [row["name"] for row in card.classes], card.trained_on)
    return Source(path, read_authors_checkpoint(path), None)


def weights_file(path: Path) -> Path:
    """Return the file that holds the weights of what ``read_source`` reads."""
    return weights_path(path) if path.is_dir() else path


def start_from(network: SGCPNet, classes: Sequence[str], source: Source) -> int:
    """Give a network the weights of another; its head those of the classes that have one there.

    Classes are matched by name. An authors' checkpoint names none: with 19 they are Cityscapes' and
    its head is taken; of its 11 CamVid classes two orders are in use (DESIGN, section 4), so its
    head is left out, and ``sgcp import-checkpoint`` is the way to keep it. What is not taken stays
    as it was, random.

    Args:
        classes: names of what ``network`` scores, in order.

    Returns:
        How many classes begin anew.

    Raises:
        SgcpError: the two have different encoders.
    """
    path, theirs = source.path, source.network
    if theirs.encoder_name != network.encoder_name:
        raise SgcpError(
            f"{path}: has the encoder '{theirs.encoder_name}', train.encoder is "
            f"'{network.encoder_name}'; make them the same"
        )
    names = source.classes
    if names is None and theirs.num_classes == network.num_classes == CITYSCAPES_CLASSES:
        names = list(classes)
    row_of = {name: row for row, name in enumerate(names or [])}
    kept = [index for index, name in enumerate(classes) if name in row_of]
    tensors = theirs.state_dict()
    for key, own in network.classifier.state_dict(prefix="classifier.").items():
        head = own.clone()
        for index in kept:
            head[index] = tensors[key][row_of[classes[index]]]
        tensors[key] = head
    load_strictly(network, tensors, path)
    return len(classes) - len(kept)
