"""The loss: cross-entropy at the label's size, of scores that the network gives at an eighth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sgcp.datasets.classes import IGNORE
from sgcp.inference.predict import resize_logits

BAND = 2**20  # scores held at full size at a time, 4 MiB: what the caches of two cores hold
DEEPEST = -80.0  # exp() of less, in 32 bits, is on its way to zero


def segmentation_loss(
    logits: Tensor, label: Tensor, label_smoothing: float, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of logits (B, K, h, w), resized to label (B, H, W), over unignored pixels.

    A mean over pixels, weighted by ``class_weights`` (K,) of their true classes if there are some.
    A batch without one labelled pixel has loss 0, not NaN. Logits of 16 bits are widened to 32.

    On a CPU the full-size scores are never held as a whole, a third of the time of the plain way
    (``benchmarks/training_throughput.py``); a GPU, which has the bandwidth, takes the plain way.
    """
    scores = logits if logits.dtype == torch.float64 else logits.float()
    if logits.device.type == "cpu":
        return BandedCrossEntropy.apply(scores, label, label_smoothing, class_weights)
    return plain_loss(scores, label, label_smoothing, class_weights)


def plain_loss(
    logits: Tensor, label: Tensor, label_smoothing: float, class_weights: Tensor | None = None
) -> Tensor:
    """Return the same in torch's own operations; the banded loss is tested against it."""
    scores = resize_logits(logits, (label.shape[-2], label.shape[-1]))
    losses = F.cross_entropy(
        scores, label.long(), ignore_index=IGNORE, label_smoothing=label_smoothing, reduction="none"
    )
    weights = pixel_weights(label, class_weights, logits)
    return (losses * weights).sum() / divisor(weights)


def pixel_weights(label: Tensor, class_weights: Tensor | None, like: Tensor) -> Tensor:
    """Return the weight of each pixel of label (B, H, W): its class's, or 1; 0 where ignored."""
    if class_weights is None:
        return (label != IGNORE).to(like.dtype)
    table = torch.zeros(IGNORE + 1, dtype=like.dtype, device=like.device)
    table[: len(class_weights)] = class_weights
    return table[label.long()]


def divisor(weights: Tensor) -> Tensor:
    """Return the sum of the weights, or 1 where no pixel has any."""
    total = weights.sum()
    return total.where(total > 0, 1.0)


class BandedCrossEntropy(torch.autograd.Function):
    """Resize and score a band of rows at a time; the gradient falls out of the same pass.

    Resizing is linear, so it is a product with a matrix on either side, and its gradient the
    product with their transposes. Of a band's scores nothing is kept but their share of the
    gradient of the small logits.

    Softmax is the same for scores less any number, the same for all classes: less the winner's
    before they are resized, they are at most 0 and, unless some logit lies 80 below the winner
    beside it, exp() of them is never 0. So no maximum is needed at full size.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, label: Tensor, label_smoothing: float, weights: Tensor | None
    ) -> Tensor:
        """Take logits (B, K, h, w) and label (B, H, W); return the loss, a scalar."""
        across = resizing_matrix(logits.shape[-1], label.shape[-1], logits)  # (W, w)
        bands = row_bands(logits, label)
        below = (logits - logits.amax(1, keepdim=True)).contiguous()
        deep = bool(below.amin() < DEEPEST)
        truths = label.masked_fill(label == IGNORE, 0).long()
        weights = pixel_weights(label, weights, logits)
        gradient = torch.empty_like(below)
        total = torch.zeros((), dtype=torch.float64)
        for image, truth, weight, image_gradient in zip(
            below, truths, weights, gradient, strict=True
        ):
            wide = image @ across.T  # (K, h, W)
            wide_gradient = torch.zeros_like(wide)
            for rows, sources, down in bands:
                scores = down @ wide[:, sources]  # (K, R, W)
                if deep:
                    scores -= scores.amax(0)
                total += score_band(scores, truth[rows], weight[rows], label_smoothing)
                wide_gradient[:, sources] += down.T @ scores
            torch.matmul(wide_gradient, across, out=image_gradient)
        count = divisor(weights)
        ctx.save_for_backward(gradient.div_(count))
        return (total / count).to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Return the gradient that the forward pass computed."""
        (gradient,) = ctx.saved_tensors
        return gradient * loss_gradient, None, None, None


def score_band(scores: Tensor, truth: Tensor, weight: Tensor, label_smoothing: float) -> Tensor:
    """Return the summed loss of scores (K, R, W), near 0 at their highest; make them its gradient.

    With p the softmax and t the smoothed one-hot truth (R, W), the gradient is p - t, times the
    weight (R, W), which is 0 where the truth is ignored.
    """
    truth, weight = truth.unsqueeze(0), weight.unsqueeze(0)
    expected = scores.gather(0, truth)
    if label_smoothing:
        mean = scores.mean(0, keepdim=True)
        expected = expected * (1 - label_smoothing) + mean * label_smoothing
    total = scores.exp_().sum(0, keepdim=True)
    loss = (total.log() - expected).mul_(weight).sum()
    scores *= weight / total
    scores.scatter_add_(0, truth, weight * (label_smoothing - 1))
    if label_smoothing:
        scores -= weight * (label_smoothing / len(scores))
    return loss


def row_bands(logits: Tensor, label: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Cut label (B, H, W) into bands of about ``BAND`` scores.

    Each: rows of the label, rows of the logits between which they lie, and their shares.
    """
    height, width = label.shape[-2:]
    matrix = resizing_matrix(logits.shape[-2], height, logits)  # (H, h)
    step = max(1, BAND // (logits.shape[1] * width))
    bands = []
    for first in range(0, height, step):
        rows = slice(first, min(first + step, height))
        used = matrix[rows].any(0).nonzero()
        sources = slice(int(used[0]), int(used[-1]) + 1)
        bands.append((rows, sources, matrix[rows, sources].contiguous()))
    return bands


def resizing_matrix(source: int, target: int, like: Tensor) -> Tensor:
    """Return (target, source): what bilinear resizing does along one side, torch's own numbers."""
    unit = torch.eye(source, dtype=like.dtype).unsqueeze(0)
    return F.interpolate(unit, size=target, mode="linear", align_corners=False)[0].T.contiguous()
