"""Depthwise convolution whose weights learn as quickly on a CPU as its neighbours'."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

NARROW = 3  # columns of a kernel up to which oneDNN has a quick gradient of depthwise weights


class DepthwiseConv2d(nn.Conv2d):
    """Convolve each channel with a kernel of its own: (B, C, H, W) -> (B, C, H/s, W/s).

    In training on a CPU, channels last, kernels five columns wide take their weights' gradient by
    ``WideDepthwise``, half of the time of torch's own; all else is ``nn.Conv2d``.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        if (
            self.training
            and self.kernel_size == (5, 5)
            and x.device.type == "cpu"
            and x.is_contiguous(memory_format=torch.channels_last)
        ):
            y: Tensor = WideDepthwise.apply(x, self.weight, self.stride[0])
            return y
        return super().forward(x)


class WideDepthwise(torch.autograd.Function):
    """A 5x5 depthwise convolution, padded by 2, that learns as two 5x3 ones.

    Columns 0-2 and 2-4 of the weights' gradient are those of kernels three columns wide, on the
    image moved by a column each way.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        """Convolve x (B, C, H, W) with weight (C, 1, 5, 5)."""
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, stride=stride, padding=2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Return the gradients of x and weight."""
        x, weight = ctx.saved_tensors

        def gradients(x: Tensor, weight: Tensor, across: int, mask: list[bool]) -> Any:
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [ctx.stride] * 2, [2, across], [1, 1], False, [0, 0],
                len(weight), mask,
            )  # fmt: skip

        x_gradient = None
        if ctx.needs_input_grad[0]:
            x_gradient = gradients(x, weight, 2, [True, False, False])[0]
        weight_gradient = torch.empty_like(weight)
        for first, before, after in ((0, 2, 0), (5 - NARROW, 0, 2)):
            part = weight[..., first : first + NARROW].contiguous()
            moved = pad_columns(x, before, after)
            weight_gradient[..., first : first + NARROW] = gradients(
                moved, part, 0, [False, True, False]
            )[1]
        return x_gradient, weight_gradient, None


def pad_columns(x: Tensor, before: int, after: int) -> Tensor:
    """Put columns of zeros on either side of x; ``F.pad`` would clear all of the result first."""
    width = x.shape[-1]
    padded = torch.empty(
        (*x.shape[:-1], before + width + after),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    padded[..., :before] = 0
    padded[..., before + width :] = 0
    padded[..., before : before + width] = x
    return padded
