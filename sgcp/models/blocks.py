"""Convolution blocks of the encoder: conv-norm, squeeze-and-excite, inverted residual."""

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
