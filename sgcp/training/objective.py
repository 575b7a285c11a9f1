"""What a training step minimises: cross-entropy, and what the settings put beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sgcp.datasets.classes import IGNORE
from sgcp.inference.predict import resize_logits
from sgcp.training.kernels.banded_cross_entropy import segmentation_loss
from sgcp.training.lovasz import lovasz_softmax

if TYPE_CHECKING:
    from sgcp.settings import TrainSettings

INNER = 4  # auxiliary heads are judged by every fourth pixel of every fourth row
SORTED = 8  # and Lovász-Softmax, which sorts them, by every eighth: 18 ms a step instead of 76


class Objective:
    """The loss of a step, as the settings ask.

    Args:
        class_weights: (K,), of each class in the cross-entropy; None: pixels weigh the same.
    """

    def __init__(self, settings: TrainSettings, class_weights: Tensor | None) -> None:
        self.smoothing = settings.label_smoothing
        self.auxiliary = settings.auxiliary
        self.lovasz = settings.lovasz
        self.class_weights = class_weights

    def __call__(self, output: Tensor | tuple[Tensor, list[Tensor]], label: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            output: logits (B, K, h, w), and those of the auxiliary heads where there are some.
            label: (B, H, W) uint8 train ids.
        """
        logits, inner = output if isinstance(output, tuple) else (output, [])
        loss = self.cross_entropy(logits, label)
        if self.lovasz:
            loss = loss + self.lovasz * lovasz_loss(logits, thin_out(label, SORTED))
        if inner:
            losses = [self.cross_entropy(scores, thin_out(label, INNER)) for scores in inner]
            loss = loss + self.auxiliary * torch.stack(losses).mean()
        return loss

    def cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        """Return the cross-entropy at the label's size."""
        return segmentation_loss(logits, label, self.smoothing, self.class_weights)


def thin_out(label: Tensor, step: int) -> Tensor:
    """Return the pixel in the middle of each ``step`` times ``step`` of label (B, H, W)."""
    return label[:, step // 2 :: step, step // 2 :: step].contiguous()


def lovasz_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Return the Lovász-Softmax loss of logits (B, K, h, w), resized to label (B, H, W)."""
    scores = resize_logits(logits.float(), (label.shape[-2], label.shape[-1]))
    labelled = label != IGNORE
    probabilities = scores.softmax(1).permute(0, 2, 3, 1)[labelled]
    return lovasz_softmax(probabilities, label[labelled].long())
