"""Learning from the scores of another model, a teacher, beside the labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import say
from sgcp.datasets.classes import SemanticClass, classes_from_json, match_names
from sgcp.inference.predict import resize_logits
from sgcp.models.artifact import load_model
from sgcp.models.card import ModelCard, model_digest, weights_path
from sgcp.models.network import Normalize

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from sgcp.settings import TrainSettings


class Teacher(nn.Module):
    """A trained network that scores each crop for another one to learn from; it never changes.

    Args:
        card: of its file; mean and deviation there are those of its input.
        digest: SHA-256 of its files.
    """

    def __init__(self, network: nn.Module, card: ModelCard, digest: str) -> None:
        super().__init__()
        self.network, self.normalize = network, Normalize(card.mean, card.std)
        self.card, self.digest = card, digest
        self.order = list(range(len(card.classes)))
        self.eval().requires_grad_(False)

    def describe(self) -> dict[str, Any]:
        """Return what a student's description says about it."""
        card = self.card
        made = {key: card.provenance.get(key) for key in ("recipe", "epoch")}
        return {"network": card.network, "dataset": card.dataset, **made}

    def match(self, classes: tuple[SemanticClass, ...], settings: TrainSettings) -> None:
        """Give scores in the order of a dataset's classes, which are matched by name.

        Raises:
            SgcpError: the teacher has other classes.
        """
        own = classes_from_json(self.card.classes)
        try:
            self.order = match_names([item.name for item in classes], own)
        except ValueError as error:
            raise SgcpError(
                f"train.teacher: {settings.teacher} has {len(own)} classes, the dataset has "
                f"{len(classes)}; {error}. Choose a teacher of this dataset's classes"
            ) from None
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        text = (
            f"learning from {settings.teacher} too: {self.card.network}, {parameters:,} parameters"
        )
        if self.card.input_side != settings.input_side:
            text += (
                f"; note: trained at input_side {self.card.input_side}, not {settings.input_side}"
            )
        say(text)

    def place(self, fabric: Fabric) -> Teacher:
        """Move it to the device, to run in the run's precision."""
        self.autocast: Any = fabric.autocast
        return self.to(fabric.device).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Score (B, 3, H, W) uint8 RGB: (B, K, h, w), in the order of the dataset's classes."""
        x = self.normalize(image).contiguous(memory_format=torch.channels_last)
        with self.autocast():
            return self.network(x)[:, self.order]


def read_teacher(path: Path) -> Teacher:
    """Read a model of ours, by its folder or ``.safetensors``.

    Raises:
        SgcpError: missing, damaged, or a network that may not be run.
    """
    network, card = load_model(path)
    return Teacher(network, card, model_digest(weights_path(path)))


def divergence(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the mean over pixels of T**2 KL(teacher || student) of softened probabilities.

    Hinton et al., 2015, "Distilling the knowledge in a neural network", section 2: softmax of
    scores / T, times T**2 so that the gradient's size does not depend on T. Pixel by pixel as Liu
    et al., 2019, "Structured knowledge distillation for semantic segmentation", equation 1. All
    pixels count, labelled or not.

    Args:
        logits: (B, K, h, w) of the student, of which the gradient is taken.
        teacher: (B, K, H, W), resized to (h, w).
        temperature: T; above 1, the teacher's second and third choices weigh more.
    """
    dtype = logits.dtype if logits.dtype == torch.float64 else torch.float32
    target = resize_logits(teacher.to(dtype), (logits.shape[-2], logits.shape[-1]))
    found, wanted = ((x.to(dtype) / temperature).log_softmax(1) for x in (logits, target))
    losses = F.kl_div(found, wanted, reduction="none", log_target=True).sum(1)  # (B, h, w)
    return losses.mean() * temperature**2
