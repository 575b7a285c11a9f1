"""The plain way from images to labels, on torch alone: training validates with it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sgcp.models.network import Normalize


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, K, h, w) to (B, K, H, W) bilinearly, as in training.

    The authors' test script resizes bicubically; docs/results.md has the difference measured.
    """
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def choose_labels(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the best class (B, H, W) uint8 of each pixel of logits (B, K, h, w), resized."""
    # max().indices is several times faster than argmax on a CPU, and equal.
    return resize_logits(logits, size).max(dim=1).indices.to(torch.uint8)  # (B, H, W)


class Predictor(nn.Module):
    """Normalise, run the network, resize its scores, take the best class."""

    def __init__(self, network: nn.Module, normalize: Normalize) -> None:
        super().__init__()
        self.network = network
        self.normalize = normalize

    @torch.inference_mode()
    def score(self, image: Tensor) -> Tensor:
        """Return the logits (B, K, h, w) float32 of (B, 3, H, W) uint8 RGB."""
        x = self.normalize(image).contiguous(memory_format=torch.channels_last)
        return self.network(x).float()

    @torch.inference_mode()
    def forward(self, image: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Label (B, 3, H, W) uint8 RGB.

        Args:
            size: (height, width) of the result; None: the image's.

        Returns:
            (B, height, width) uint8 train ids.
        """
        return choose_labels(self.score(image), size or (image.shape[-2], image.shape[-1]))
