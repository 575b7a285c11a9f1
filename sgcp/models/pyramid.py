"""The SGCP module: spatial detail travels down the pyramid and context up, guided by p3."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH = 64  # channels of every pyramid level


class Pyramid(NamedTuple):
    """Levels at strides 8 .. 128, each (B, 64, H/2**level, W/2**level)."""

    p3: Tensor
    p4: Tensor
    p5: Tensor
    p6: Tensor
    p7: Tensor


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm as the pyramid uses it: slow statistics, wide epsilon."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def halve(x: Tensor) -> Tensor:
    """Max-pool to half the size, rounded up: (B, C, H, W) -> (B, C, H/2, W/2)."""
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


def upsample_to(x: Tensor, target: Tensor) -> Tensor:
    """Repeat pixels until ``x`` has the height and width of ``target``."""
    height, width = target.shape[-2:]
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        if x.shape == target.shape:
            return x
        if x.shape[-2:] == (-(-height // 2), -(-width // 2)):
            return double(x, height, width)
    return F.interpolate(x, size=(height, width), mode="nearest")


def double(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat each pixel of a map twice, and cut: nearest resizing, where its size was halved.

    For what is compiled, to be trained: the gradient becomes sums of four pixels, that of
    ``F.interpolate`` additions scattered one by one (``benchmarks/training_throughput.py``).
    """
    batch, channels, rows, columns = x.shape
    pixels = x.permute(0, 2, 3, 1)[:, :, None, :, None]  # (B, h, 1, w, 1, C)
    twice = pixels.expand(-1, -1, 2, -1, 2, -1).reshape(batch, 2 * rows, 2 * columns, channels)
    return twice[:, :height, :width].permute(0, 3, 1, 2)


def downsample_to(x: Tensor, target: Tensor) -> Tensor:
    """Halve ``x``, then take nearest pixels where an odd size leaves it off the target's."""
    return upsample_to(halve(x), target)


class Projection(nn.Sequential):
    """1x1 convolution to the pyramid's width, then batch norm."""

    def __init__(self, c_in: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, WIDTH, 1)
        self.norm = batch_norm(WIDTH)


class FusionNode(nn.Module):
    """Fuse two or three maps of one size by learned non-negative weights.

    Fast normalised fusion (Tan et al., EfficientDet, section 3.3): relu(w) / (sum relu(w) + 1e-4),
    then swish, a depthwise-separable convolution and batch norm, with no activation after it.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(inputs))
        self.depthwise = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, groups=WIDTH, bias=False)
        self.pointwise = nn.Conv2d(WIDTH, WIDTH, 1)
        self.norm = batch_norm(WIDTH)

    def forward(self, *maps: Tensor) -> Tensor:
        weights = F.relu(self.weights)
        weights = weights / (weights.sum() + 1e-4)
        fused = maps[0] * weights[0]
        for weight, x in zip(weights[1:], maps[1:], strict=True):
            fused = fused + weight * x
        return self.norm(self.pointwise(self.depthwise(F.silu(fused))))


class TopDownBottomUp(nn.Module):
    """First unit: context flows down to p3, then detail flows back up to p7."""

    def __init__(self, c3: int, c4: int, c5: int) -> None:
        super().__init__()
        self.project3 = Projection(c3)
        self.project4 = Projection(c4)
        self.project5 = Projection(c5)
        self.project6 = Projection(c5)
        self.skip4 = Projection(c4)
        self.skip5 = Projection(c5)
        self.down6, self.down5, self.down4, self.down3 = (FusionNode(2) for _ in range(4))
        self.up4, self.up5, self.up6 = (FusionNode(3) for _ in range(3))
        self.up7 = FusionNode(2)

    def forward(self, f3: Tensor, f4: Tensor, f5: Tensor) -> Pyramid:
        p3, p4, p5 = self.project3(f3), self.project4(f4), self.project5(f5)
        p6 = halve(self.project6(f5))
        p7 = halve(p6)

        t6 = self.down6(p6, upsample_to(p7, p6))
        t5 = self.down5(p5, upsample_to(t6, p5))
        t4 = self.down4(p4, upsample_to(t5, p4))
        o3 = self.down3(p3, upsample_to(t4, p3))

        o4 = self.up4(self.skip4(f4), t4, downsample_to(o3, t4))
        o5 = self.up5(self.skip5(f5), t5, downsample_to(o4, t5))
        o6 = self.up6(p6, t6, downsample_to(o5, t6))
        o7 = self.up7(p7, downsample_to(o6, p7))
        return Pyramid(o3, o4, o5, o6, o7)


class TopDown(nn.Module):
    """Second unit: one more pass from p7 down; only its p3 goes on to the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.down6, self.down5, self.down4, self.down3 = (FusionNode(2) for _ in range(4))

    def forward(self, pyramid: Pyramid) -> Tensor:
        p3, p4, p5, p6, p7 = pyramid
        t6 = self.down6(p6, upsample_to(p7, p6))
        t5 = self.down5(p5, upsample_to(t6, p5))
        t4 = self.down4(p4, upsample_to(t5, p4))
        return self.down3(p3, upsample_to(t4, p3))
