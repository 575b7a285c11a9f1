"""SGCPNet, assembled: encoder -> laterals -> SGCP module -> classifier."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sgcp.models.card import IMAGENET_MEAN, IMAGENET_STD, EncoderName
from sgcp.models.encoder import CHANNELS, ENCODERS, Features
from sgcp.models.pyramid import WIDTH, Pyramid, TopDown, TopDownBottomUp

LATERALS = (40, 112, 320)  # channels of c3, c4, c5 on their way into the pyramid


class SGCPNet(nn.Module):
    """Spatial-detail Guided Context Propagation network (Hao et al., 2020).

    607,826 parameters at 19 classes, 607,306 at 11, with the encoder ``sgcp`` (the authors'); the
    other one, ``mobilenet_v3_small``, has torchvision's blocks.
    """

    def __init__(self, num_classes: int, encoder: EncoderName = "sgcp") -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.num_classes = num_classes
        self.encoder_name = encoder
        self.encoder = ENCODERS[encoder]()
        self.lateral3, self.lateral4, self.lateral5 = (
            nn.Conv2d(c_in, c_out, 1) for c_in, c_out in zip(CHANNELS, LATERALS, strict=True)
        )
        self.top_down_bottom_up = TopDownBottomUp(*LATERALS)
        self.top_down = TopDown()
        self.classifier = nn.Conv2d(WIDTH, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, K, ceil(H/8), ceil(W/8)).

        ``image``: (B, 3, H, W) RGB, scaled to [0, 1], less the mean, over the deviation
        (``Normalize``).
        """
        return self.classifier(self.top_down(self.first_unit(self.encoder(image))))

    def first_unit(self, features: Features) -> Pyramid:
        """Return the levels that the first unit of the SGCP module makes of the features."""
        c3, c4, c5 = features
        return self.top_down_bottom_up(self.lateral3(c3), self.lateral4(c4), self.lateral5(c5))


class Normalize(nn.Module):
    """Turn RGB bytes into what the network takes.

    Mean and deviation (of RGB in [0, 1]) are buffers, so they follow the model to its device.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (B, 3, H, W) uint8 or float in [0, 255] to float, zero mean, unit deviation."""
        return (image.float() - self.mean) / self.std
