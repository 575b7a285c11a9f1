"""What a training run begins with: read once, before it starts, and told in the model's card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sgcp.core.errors import SgcpError
from sgcp.core.files import file_sha256
from sgcp.models.artifact import load_model
from sgcp.models.authors import load_encoder_weights, read_authors_checkpoint
from sgcp.models.card import weights_path
from sgcp.models.network import SGCPNet
from sgcp.models.tensors import load_strictly, read_checkpoint_tensors

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset
    from sgcp.settings import TrainSettings


@dataclass(frozen=True)
class Initialization:
    """The weights that a run begins with."""

    source: Source | None
    """A whole model; None: random weights, but for what ``encoder_weights`` brings."""
    digests: dict[str, str | None]
    """SHA-256 of the files; None for those that there are not."""

    @property
    def trained_on(self) -> dict[str, str]:
        """Images that were learnt before: digest by name."""
        return self.source.trained_on if self.source else {}


def read_initialization(layout: Layout, settings: TrainSettings) -> Initialization:
    """Read what the settings name.

    Raises:
        SgcpError: a file is missing or damaged, or would be gone before it is read again.
    """
    weights, model = settings.encoder_weights, settings.init
    if model is not None and Path(model).resolve().is_relative_to(layout.model.resolve()):
        raise SgcpError(
            f"train.init: {model} is where this run's own model goes, and DVC empties it first; "
            "move it elsewhere"
        )
    if weights is not None and not Path(weights).is_file():
        read_checkpoint_tensors(Path(weights))  # says what is wrong; no device is read to its end
    return Initialization(
        read_source(Path(model)) if model else None,
        {
            "encoder_weights_sha256": file_sha256(Path(weights)) if weights else None,
            "init_sha256": file_sha256(weights_file(Path(model))) if model else None,
        },
    )


def make_network(
    dataset: Dataset, settings: TrainSettings, beginning: Initialization
) -> tuple[SGCPNet, str]:
    """Build the network, initialised as asked; return it and what there is to say of that."""
    names = [item.name for item in dataset.classes]
    network = SGCPNet(len(names), settings.encoder)
    if settings.encoder_weights is not None:
        load_encoder_weights(network, settings.encoder_weights)
    if beginning.source is None:
        return network, ""
    fresh = start_from(network, names, beginning.source)
    return network, f"beginning with {settings.init}; {fresh} of {len(names)} classes begin anew"


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
    """Images it learnt from: digest of the pixels by name."""


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
