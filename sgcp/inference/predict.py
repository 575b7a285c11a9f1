"""The forward path that training's validation, ``validate``, ``predict`` and users share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sgcp.models.network import Normalize, SGCPNet


def resize_logits(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, K, h, w) to (B, K, H, W) bilinearly, as in training.

    The authors' test script resizes bicubically; docs/results.md has the difference measured.
    """
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


class Predictor(nn.Module):
    """Normalise, run the network, resize its scores, take the best class."""

    def __init__(self, network: SGCPNet, normalize: Normalize) -> None:
        super().__init__()
        self.network = network
        self.normalize = normalize

    @torch.inference_mode()
    def forward(self, image: Tensor, input_size: tuple[int, int] | None = None) -> Tensor:
        """Label every pixel.

        Args:
            image: (B, 3, H, W) uint8 RGB.
            input_size: (height, width) at which the network sees the image; None: as it is.

        Returns:
            (B, H, W) uint8 train ids, at the size of ``image``.
        """
        size = (image.shape[-2], image.shape[-1])
        x = self.normalize(image)
        if input_size is not None and input_size != size:
            x = F.interpolate(
                x, size=input_size, mode="bilinear", align_corners=False, antialias=True
            )
        logits = self.network(x.contiguous(memory_format=torch.channels_last))
        # max().indices is several times faster than argmax on a CPU, and equal.
        labels: Tensor = resize_logits(logits.float(), size).max(dim=1).indices  # (B, H, W)
        return labels.to(torch.uint8)
