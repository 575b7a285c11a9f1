"""Encoders: an image in, the features c3, c4, c5 at strides 8, 16, 32 out."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class ConvNorm(nn.Sequential):
    """Convolve without bias, then batch-normalise: (B, C_in, H, W) -> (B, C_out, H/s, W/s)."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(c_out)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from its global mean (Hu et al., 2018).

    The authors normalise inside the gate, which torchvision's version does not.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.reduce = ConvNorm(channels, channels // reduction)
        self.expand = ConvNorm(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.adaptive_avg_pool2d(x, 1)  # (B, C, 1, 1)
        gate = F.hardsigmoid(self.expand(F.relu(self.reduce(gate))))
        return x * gate


class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; then squeeze-and-excite and the shortcut.

    Unlike MobileNetV3 (Howard et al., 2019), squeeze-and-excite acts on the projected features,
    and a stride-1 block that changes its width has a 1x1 conv-norm shortcut.
    """

    def __init__(
        self,
        kernel: int,
        c_in: int,
        c_expand: int,
        c_out: int,
        activation: type[nn.Module],
        squeeze: bool,
        stride: int,
    ) -> None:
        super().__init__()
        self.expand = ConvNorm(c_in, c_expand)
        self.depthwise = ConvNorm(c_expand, c_expand, kernel, stride, groups=c_expand)
        self.project = ConvNorm(c_expand, c_out)
        self.activation = activation()
        self.se = SqueezeExcite(c_out) if squeeze else nn.Identity()
        self.has_shortcut = stride == 1
        self.shortcut = (
            ConvNorm(c_in, c_out) if self.has_shortcut and c_in != c_out else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.expand(x))
        y = self.activation(self.depthwise(y))
        y = self.se(self.project(y))
        return y + self.shortcut(x) if self.has_shortcut else y


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
