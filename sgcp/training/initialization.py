"""The weights that a training run starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sgcp.core.errors import SgcpError
from sgcp.core.files import file_sha256
from sgcp.core.terminal import say
from sgcp.datasets.classes import cityscapes_classes
from sgcp.datasets.index import merge_digests
from sgcp.models import build_network
from sgcp.models.artifact import load_model
from sgcp.models.authors import (
    load_encoder_weights,
    read_authors_checkpoint,
    read_checkpoint_tensors,
)
from sgcp.models.card import weights_path
from sgcp.models.network import SGCPNet
from sgcp.training.distillation import Teacher, read_teacher

if TYPE_CHECKING:
    from torch import nn

    from sgcp.core.layout import Layout
    from sgcp.datasets.index import Dataset
    from sgcp.settings import TrainSettings


@dataclass(frozen=True)
class Initialization:
    """What a run starts from, read before it begins."""

    network: SGCPNet | None = None
    """A trained one; None: random weights, except those of ``encoder``."""
    classes: list[str] | None = None
    """Its classes in order; None: an authors' checkpoint does not name them."""
    trained_on: dict[str, str] = field(default_factory=dict)
    """Images that it, or the teacher, was trained on: digest of the pixels by name."""
    digests: dict[str, str | None] = field(default_factory=dict)
    """SHA-256 of the files that the settings name; None for those that they do not."""
    teacher: Teacher | None = None
    """What the run learns from beside the labels; it is no part of the model."""
    encoder: Path | None = None
    """A checkpoint for the encoder."""


def read_initialization(layout: Layout, settings: TrainSettings) -> Initialization:
    """Read the files that the settings name; refuse one that the run would delete."""
    weights, model, taught_by = (
        None if name is None else layout.named(name)
        for name in (settings.encoder_weights, settings.init, settings.teacher)
    )
    for key, name in (("init", model), ("teacher", taught_by)):
        if name is not None and name.resolve().is_relative_to(layout.model.resolve()):
            raise SgcpError(
                f"train.{key}: {name} is this run's own output folder, which DVC empties first. "
                "Move the model elsewhere"
            )
    if weights is not None and not weights.is_file():
        read_checkpoint_tensors(weights)  # explains the problem, and never reads a device
    initial, init_digest, teacher = Initialization(), None, None
    if model is not None:
        initial = read_initial_model(model)
        init_digest = file_sha256(weights_path(model) if model.is_dir() else model)
    trained_on = initial.trained_on
    if taught_by is not None:
        teacher = read_teacher(taught_by)
        trained_on = merge_digests(trained_on, teacher.card.trained_on.items())
    digests = {
        "encoder_weights_sha256": file_sha256(weights) if weights else None,
        "init_sha256": init_digest,
        "teacher_sha256": teacher.digest if teacher else None,
    }
    return replace(
        initial, encoder=weights, teacher=teacher, trained_on=trained_on, digests=digests
    )


def read_initial_model(path: Path) -> Initialization:
    """Read one of our models, by its folder or ``.safetensors``, or an authors' ``.pth.tar``.

    Refuse any other network than SGCPNet.
    """
    if not path.is_dir() and path.suffix != ".safetensors":
        return Initialization(read_authors_checkpoint(path))
    network, card = load_model(path)
    if not isinstance(network, SGCPNet):
        raise SgcpError(f"train.init: {path} is of the network '{card.network}', not sgcpnet")
    return Initialization(network, [row["name"] for row in card.classes], card.trained_on)


def make_network(dataset: Dataset, settings: TrainSettings, initial: Initialization) -> nn.Module:
    """Build the network of the settings, with its initial weights."""
    names = [item.name for item in dataset.classes]
    network = build_network(settings.network, len(names), settings.encoder)
    if initial.encoder is not None:
        load_encoder(network, settings.network, initial.encoder)
    if initial.network is not None:
        fresh = start_from(cast("SGCPNet", network), names, initial.network, initial.classes)
        say(f"starting from {settings.init}; {fresh} of {len(names)} classes start anew")
    return network


def load_encoder(network: nn.Module, name: str, path: Path) -> None:
    """Initialise the encoder from a checkpoint; a network of one's own takes the tensors itself."""
    if isinstance(network, SGCPNet):
        load_encoder_weights(network, path)
    elif hasattr(network, "load_encoder_weights"):
        cast("Any", network).load_encoder_weights(read_checkpoint_tensors(path))
    else:
        raise SgcpError(
            f"train.encoder_weights: the network '{name}' has no method load_encoder_weights. Set "
            "it to null"
        )


def start_from(
    network: SGCPNet, classes: Sequence[str], other: SGCPNet, names: Sequence[str] | None
) -> int:
    """Copy the weights of another model; of its classifier, the rows of classes of the same name.

    An authors' checkpoint names no classes: 19 are Cityscapes' and the classifier is copied; of the
    11 CamVid classes two orders are in use, so that the classifier stays random
    (``sgcp import-checkpoint`` keeps it, for a given order).

    ``classes`` are the names of those of ``network``, in order, ``names`` of those of ``other``,
    None if unknown. Return the number of classes whose weights stay random.
    """
    if other.encoder_name != network.encoder_name:
        raise SgcpError(
            f"train.init: has the encoder '{other.encoder_name}', train.encoder is "
            f"'{network.encoder_name}'. Make them the same"
        )
    if names is None and other.num_classes == len(cityscapes_classes()):
        names = [item.name for item in cityscapes_classes()]
    row_of = {name: row for row, name in enumerate(names or [])}
    kept = [index for index, name in enumerate(classes) if name in row_of]
    tensors = other.state_dict()
    for key, own in network.classifier.state_dict(prefix="classifier.").items():
        head = own.clone()
        for index in kept:
            head[index] = tensors[key][row_of[classes[index]]]
        tensors[key] = head
    network.load_state_dict(tensors)
    return len(classes) - len(kept)
