"""The loss of a training step: cross-entropy, an extra loss, auxiliary heads, a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sgcp.core.plugins import find_function
from sgcp.datasets.classes import IGNORE
from sgcp.inference.predict import resize_logits
from sgcp.models.encoder import CHANNELS
from sgcp.models.pyramid import WIDTH
from sgcp.training.kernels.banded_cross_entropy import divisor, segmentation_loss

if TYPE_CHECKING:
    from sgcp.models.network import SGCPNet
    from sgcp.settings import TrainSettings

# Extra losses that `train.extra_loss` names: functions of the probabilities (N, K) and the true
# classes (N,) int64 of N pixels.
LOSSES = {
    "lovasz": "sgcp.training.objective:lovasz_softmax",
    "dice": "sgcp.training.objective:dice",
}
INNER = 4  # auxiliary heads are judged by every fourth pixel of every fourth row
SAMPLED = 8  # an extra loss by every eighth: Lovász-Softmax, which sorts, takes 18 ms, not 76


class Objective:
    """The loss of a step, as the settings ask.

    Args:
        class_weights: (K,), of each class in the cross-entropy; None: pixels weigh the same.

    Raises:
        SgcpError: the settings name an unknown extra loss.
    """

    def __init__(self, settings: TrainSettings, class_weights: Tensor | None) -> None:
        self.teacher_weight = settings.distill
        self.temperature = settings.distill_temperature
        self.class_weights, self.smoothing = class_weights, settings.label_smoothing
        self.extra_weight, self.auxiliary_weight = settings.extra_loss_weight, settings.auxiliary
        self.extra: Callable[[Tensor, Tensor], Tensor] | None = None
        if settings.extra_loss is not None:
            self.extra = find_function(settings.extra_loss, LOSSES, "train.extra_loss")

    def __call__(
        self,
        output: Tensor | tuple[Tensor, list[Tensor]],
        label: Tensor,
        teacher: Tensor | None = None,
    ) -> Tensor:
        """Return the loss, a scalar.

        Args:
            output: logits (B, K, h, w), and those of the auxiliary heads where there are some.
            label: (B, H, W) uint8 train ids.
            teacher: scores of a teacher (B, K, h', w'), NaN where it has none. The auxiliary heads
                learn them too.
        """
        logits, inner = output if isinstance(output, tuple) else (output, [])
        loss = self._pixel_loss(logits, label, teacher)
        if self.extra:
            extra = self.extra(*labelled(logits, thin_out(label, SAMPLED)))
            loss = loss + self.extra_weight * extra
        if inner:
            thin = thin_out(label, INNER)
            losses = [self._pixel_loss(scores, thin, teacher) for scores in inner]
            loss = loss + self.auxiliary_weight * torch.stack(losses).mean()
        return loss

    def _pixel_loss(self, logits: Tensor, label: Tensor, teacher: Tensor | None) -> Tensor:
        loss = segmentation_loss(logits, label, self.smoothing, self.class_weights)
        if teacher is None:
            return loss
        apart = divergence(logits, teacher, self.temperature, self.class_weights)
        return loss + self.teacher_weight * apart


class Supervised(nn.Module):
    """A network with a head on c4 and c5 and on the p3 of its first unit; for training only.

    The network is scored and kept without the heads, which hold none of its parameters.
    """

    def __init__(self, network: SGCPNet) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, WIDTH, 1, bias=False),
                nn.BatchNorm2d(WIDTH),
                nn.ReLU(),
                nn.Conv2d(WIDTH, network.num_classes, 1),
            )
            for width in (CHANNELS[1], CHANNELS[2], WIDTH)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits of ``network`` and those of the heads, at strides 16, 32 and 8."""
        features = self.network.encoder(image)
        pyramid = self.network.first_unit(features)
        inner = (features.c4, features.c5, pyramid.p3)
        scores = [head(x) for head, x in zip(self.heads, inner, strict=True)]
        return self.network.classifier(self.network.top_down(pyramid)), scores


def count_pixels(
    labels: Iterable[tuple[NDArray[np.uint8], float]], num_classes: int
) -> NDArray[np.float64]:
    """Return how many pixels each class has (K,) in label maps (H, W) that come so many times."""
    counts = np.zeros(IGNORE + 1)
    for label, times in labels:
        counts += times * np.bincount(label.ravel(), minlength=len(counts))
    return counts[:num_classes]


def class_weights(counts: NDArray[np.float64], balance: float) -> Tensor:
    """Return weights (K,): the power -``balance`` of a class's share of pixels, 1 for a mean pixel.

    With 0 every pixel weighs the same, with 1 every class. A class without pixels weighs nothing.
    """
    if not counts.any():
        return torch.zeros(len(counts))
    shares = counts / counts.sum()
    weights = np.where(shares > 0, np.maximum(shares, 1e-12) ** -balance, 0.0)
    return torch.from_numpy(weights / (weights @ shares)).float()


def thin_out(label: Tensor, step: int) -> Tensor:
    """Return the pixel in the middle of each ``step`` times ``step`` of label (B, H, W)."""
    return label[:, step // 2 :: step, step // 2 :: step].contiguous()


def labelled(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities (N, K) and classes (N,) of the labelled pixels of label (B, H, W)."""
    scores = resize_logits(logits.float(), (label.shape[-2], label.shape[-1]))
    chosen = label != IGNORE
    return scores.softmax(1).permute(0, 2, 3, 1)[chosen], label[chosen].long()


def lovasz_softmax(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Return a surrogate of 1 - mean IoU over the classes in ``truth``; 0 where there is none.

    Berman et al., 2018, "The Lovász-Softmax loss", equations 8 and 11: for each class the errors of
    all pixels in falling order, times the step by which the Jaccard loss grows with one more wrong
    pixel. ``probabilities``: (N, K), of each pixel; ``truth``: (N,) int64 classes, none ignored.
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

    Milletari et al., 2016, "V-Net", section 3: 2 sum(p g) / (sum(p^2) + sum(g^2)); arguments as of
    ``lovasz_softmax``.
    """
    belongs = F.one_hot(truth, probabilities.shape[1]).to(probabilities.dtype)  # (N, K)
    total = belongs.sum(0)
    overlap = (probabilities * belongs).sum(0)
    losses = 1 - 2 * overlap / (probabilities.square().sum(0) + total).clamp(min=1e-8)
    return _mean_over_present(losses, total)


def divergence(
    logits: Tensor, teacher: Tensor, temperature: float, class_weights: Tensor | None = None
) -> Tensor:
    """Return the mean over pixels of T**2 KL(teacher || student) of softened probabilities.

    Hinton et al., 2015, "Distilling the knowledge in a neural network", section 2: softmax of
    scores / T, times T**2 so that the gradient's size does not depend on T. Pixel by pixel as Liu
    et al., 2019, "Structured knowledge distillation for semantic segmentation", equation 1. Pixels
    count whether labelled or not.

    Args:
        logits: (B, K, h, w) of the student, of which the gradient is taken.
        teacher: (B, K, H, W), resized to (h, w); pixels with NaN do not count.
        temperature: T; above 1, the teacher's second and third choices weigh more.
        class_weights: (K,); a pixel weighs their mean over its classes, as the teacher sees them.
            None: pixels weigh the same.
    """
    dtype = logits.dtype if logits.dtype == torch.float64 else torch.float32
    target = resize_logits(teacher.to(dtype), (logits.shape[-2], logits.shape[-1]))
    weights = target[:, 0].isfinite().to(dtype)  # (B, h, w)
    target = target.nan_to_num()  # before the loss: its gradient would be NaN
    if class_weights is not None:
        weights = weights * torch.einsum("bkhw,k->bhw", target.softmax(1), class_weights.to(dtype))
    found, wanted = ((x.to(dtype) / temperature).log_softmax(1) for x in (logits, target))
    losses = F.kl_div(found, wanted, reduction="none", log_target=True).sum(1)  # (B, h, w)
    return (losses * weights).sum() / divisor(weights) * temperature**2


def _mean_over_present(losses: Tensor, pixels: Tensor) -> Tensor:
    present = pixels > 0
    return losses[present].sum() / present.sum().clamp(min=1)
