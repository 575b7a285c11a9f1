"""Auxiliary heads: inner features are scored too, in training alone (deep supervision)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from sgcp.models.encoder import CHANNELS
from sgcp.models.pyramid import WIDTH

if TYPE_CHECKING:
    from sgcp.models.network import SGCPNet


class Head(nn.Sequential):
    """Score each class from features: 1x1 convolution, batch norm, ReLU, classifier."""

    def __init__(self, c_in: int, num_classes: int) -> None:
        super().__init__(
            nn.Conv2d(c_in, WIDTH, 1, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            nn.Conv2d(WIDTH, num_classes, 1),
        )


class Supervised(nn.Module):
    """A network with a head on c4 and c5 and on the p3 of its first unit; for training only.

    Args:
        network: scored and kept without the heads, which hold none of its parameters.
    """

    def __init__(self, network: SGCPNet) -> None:
        super().__init__()
        self.network = network
        widths = (CHANNELS[1], CHANNELS[2], WIDTH)
        self.heads = nn.ModuleList(Head(width, network.num_classes) for width in widths)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits of ``network`` and those of the heads, at strides 16, 32 and 8."""
        features = self.network.encoder(image)
        pyramid = self.network.first_unit(features)
        inner = (features.c4, features.c5, pyramid.p3)
        scores = [head(x) for head, x in zip(self.heads, inner, strict=True)]
        return self.network.classifier(self.network.top_down(pyramid)), scores
