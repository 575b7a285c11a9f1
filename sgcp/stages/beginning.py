"""What a training run begins with: read once, before it starts, and told in the model's card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sgcp.errors import SgcpError
from sgcp.files import file_sha256
from sgcp.models.authors import load_encoder_weights
from sgcp.models.initial import Source, read_source, start_from, weights_file
from sgcp.models.network import SGCPNet
from sgcp.models.tensors import read_checkpoint_tensors

if TYPE_CHECKING:
    from sgcp.datasets.index import Dataset
    from sgcp.settings import TrainSettings
    from sgcp.stages.layout import Layout


@dataclass(frozen=True)
class Beginning:
    """The weights that a run begins with."""

    source: Source | None
    """A whole model; None: random weights, but for what ``encoder_weights`` brings."""
    digests: dict[str, str | None]
    """SHA-256 of the files; None for those that there are not."""

    @property
    def trained_on(self) -> dict[str, str]:
        """Pictures that were learnt before: digest by name."""
        return self.source.trained_on if self.source else {}


def read_beginning(layout: Layout, settings: TrainSettings) -> Beginning:
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
    return Beginning(
        read_source(Path(model)) if model else None,
        {
            "encoder_weights_sha256": file_sha256(Path(weights)) if weights else None,
            "init_sha256": file_sha256(weights_file(Path(model))) if model else None,
        },
    )


def make_network(
    dataset: Dataset, settings: TrainSettings, beginning: Beginning
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
