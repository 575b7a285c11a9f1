"""The loss of a training step: cross-entropy, an extra loss, and auxiliary heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from sgcp.core.plugins import find_function
from sgcp.datasets.classes import IGNORE
from sgcp.inference.predict import resize_logits
from sgcp.training.kernels.banded_cross_entropy import segmentation_loss

if TYPE_CHECKING:
    from sgcp.settings import TrainSettings

# Extra losses that `train.extra_loss` names: functions of the probabilities (N, K) and the true
# classes (N,) int64 of N pixels.
LOSSES = {
    "lovasz": "sgcp.training.objective:lovasz_softmax",
    "dice": "sgcp.training.objective:dice",
}
INNER = 4  # auxiliary heads are judged by every fourth pixel of every fourth row
SAMPLED = 8  # an extra loss by every eighth: Lovász-Softmax, which sorts, takes 18 ms, not 76

ExtraLoss = Callable[[Tensor, Tensor], Tensor]


class Objective:
    """The loss of a step, as the settings ask.

    Args:
        class_weights: (K,), of each class in the cross-entropy; None: pixels weigh the same.

    Raises:
        SgcpError: the settings name an unknown extra loss.
    """

    def __init__(self, settings: TrainSettings, class_weights: Tensor | None) -> None:
        self.smoothing = settings.label_smoothing
        self.auxiliary = settings.auxiliary
        self.class_weights = class_weights
        self.weight = settings.extra_loss_weight
        self.extra: ExtraLoss | None = None
        if settings.extra_loss is not None:
            self.extra = find_function(settings.extra_loss, LOSSES, "train.extra_loss")

    def __call__(self, output: Tensor | tuple[Tensor, list[Tensor]], label: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            output: logits (B, K, h, w), and those of the auxiliary heads where there are some.
            label: (B, H, W) uint8 train ids.
        """
        logits, inner = output if isinstance(output, tuple) else (output, [])
        loss = self.cross_entropy(logits, label)
        if self.extra:
            loss = loss + self.weight * self.extra(*labelled(logits, thin_out(label, SAMPLED)))
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


def labelled(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities (N, K) and classes (N,) of the labelled pixels.

    Args:
        logits: (B, K, h, w), resized to the label.
        label: (B, H, W) uint8 train ids.
    """
    scores = resize_logits(logits.float(), (label.shape[-2], label.shape[-1]))
    chosen = label != IGNORE
    return scores.softmax(1).permute(0, 2, 3, 1)[chosen], label[chosen].long()


def lovasz_softmax(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return a surrogate of 1 - mean IoU over the classes in ``truth``; 0 where there is none.

    Berman et al., 2018, "The Lovász-Softmax loss", equations 8 and 11: for each class the errors of
    all pixels in falling order, times the step by which the Jaccard loss grows with one more wrong
    pixel.

    Args:
        probabilities: (N, K), of each pixel.
        truth: (N,) int64 classes, none ignored.
    """
    belongs = F.one_hot(truth, probabilities.shape[1]).to(probabilities.dtype).T  # (K, N)
    errors, order = (belongs - probabilities.T).abs().sort(dim=1, descending=True)
    belongs = belongs.gather(1, order)
    total = belongs.sum(1, keepdim=True)
    intersection = total - belongs.cumsum(1)
    union = total + (1 - belongs).cumsum(1)
    jaccard = 1 - intersection / union
    steps = torch.diff(jaccard, dim=1, prepend=torch.zeros_like(total))
    return _mean_over_present((errors * steps).sum(1), total[:, 0])


def dice(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - mean soft Dice over the classes in ``truth``; 0 where there is none.

    Milletari et al., 2016, "V-Net", section 3: 2 sum(p g) / (sum(p^2) + sum(g^2)).

    Args:
        probabilities: (N, K), of each pixel.
        truth: (N,) int64 classes, none ignored.
    """
    belongs = F.one_hot(truth, probabilities.shape[1]).to(probabilities.dtype)  # (N, K)
    total = belongs.sum(0)
    overlap = (probabilities * belongs).sum(0)
    losses = 1 - 2 * overlap / (probabilities.square().sum(0) + total).clamp(min=1e-8)
    return _mean_over_present(losses, total)


def _mean_over_present(losses: Tensor, pixels: Tensor) -> Tensor:
    present = pixels > 0
    return losses[present].sum() / present.sum().clamp(min=1)
