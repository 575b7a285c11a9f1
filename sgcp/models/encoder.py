"""Encoders: an image in, the features c3, c4, c5 at strides 8, 16, 32 out."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from sgcp.models.blocks import ConvNorm, InvertedResidual


class Features(NamedTuple):
    """Encoder outputs, named by stride: ``c3`` is at stride 2**3."""

    c3: Tensor  # (B, 24, H/8, W/8)
    c4: Tensor  # (B, 48, H/16, W/16)
    c5: Tensor  # (B, 96, H/32, W/32)


CHANNELS = (24, 48, 96)  # of c3, c4, c5; both encoders share them
RE, HS = nn.ReLU, nn.Hardswish

# kernel, in, expand, out, activation, squeeze-and-excite, stride
BLOCKS: tuple[tuple[int, int, int, int, type[nn.Module], bool, int], ...] = (
    (3, 16, 16, 16, RE, True, 2),
    (3, 16, 72, 24, RE, False, 2),
    (3, 24, 88, 24, RE, False, 1),  # c3
    (5, 24, 96, 40, HS, True, 2),
    (5, 40, 240, 40, HS, True, 1),
    (5, 40, 240, 40, HS, True, 1),
    (5, 40, 120, 48, HS, True, 1),
    (5, 48, 144, 48, HS, True, 1),  # c4
    (5, 48, 288, 96, HS, True, 2),
    (5, 96, 576, 96, HS, True, 1),
    (5, 96, 576, 96, HS, True, 1),  # c5
)


class SGCPEncoder(nn.Module):
    """The MobileNetV3-Small variant of the SGCPNet authors (paper, section III)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 16, kernel=3, stride=2)
        self.activation = nn.Hardswish()
        self.blocks = nn.ModuleList(InvertedResidual(*row) for row in BLOCKS)

    def forward(self, image: Tensor) -> Features:
        """Encode a normalised image (B, 3, H, W) of any H, W >= 1."""
        x = self.activation(self.stem(image))  # (B, 16, H/2, W/2)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        return Features(outputs[2], outputs[7], outputs[10])


class TorchvisionEncoder(nn.Module):
    """torchvision's ``mobilenet_v3_small``, cut after its last block.

    A different block order from ``SGCPEncoder`` (squeeze-and-excite before the projection), hence
    an encoder of its own: torchvision's ImageNet weights fit here and nowhere else.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v3_small

        # The twelfth block widens to 576 for the classifier, which we do not have.
        self.features = mobilenet_v3_small(weights=None).features[:-1]

    def forward(self, image: Tensor) -> Features:
        """Encode a normalised image (B, 3, H, W) of any H, W >= 1."""
        outputs = []
        x = image
        for block in self.features:
            x = block(x)
            outputs.append(x)
        return Features(outputs[3], outputs[8], outputs[11])


ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "sgcp": SGCPEncoder,
    "mobilenet_v3_small": TorchvisionEncoder,
}
