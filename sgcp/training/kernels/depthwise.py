"""Depthwise convolution with fast gradients on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

NARROW = 3  # columns of a kernel up to which oneDNN has a quick gradient of depthwise weights


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise ``nn.Conv2d``, (B, C, H, W) -> (B, C, H/s, W/s), with fast gradients on a CPU.

    In training on a CPU, channels last, ``QuickDepthwise`` computes the gradients where those of
    torch are slow: of kernels five columns wide, and of all of them in 16 bits.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x (B, C, H, W)."""
        on_cpu = self.training and x.device.type == "cpu"
        if on_cpu and x.is_contiguous(memory_format=torch.channels_last):
            autocast = torch.is_autocast_enabled("cpu") and x.dtype != torch.float64
            dtype = torch.get_autocast_dtype("cpu") if autocast else x.dtype
            if dtype.itemsize == 2 or self.kernel_size == (5, 5):
                return QuickDepthwise.apply(x.to(dtype), self.weight, self.stride[0])
        return super().forward(x)


def is_replaceable(module: nn.Module) -> bool:
    """Return whether a module is a depthwise convolution that ``QuickDepthwise`` can compute."""
    return (
        type(module) is nn.Conv2d
        and module.groups == module.in_channels == module.out_channels
        and module.kernel_size in ((3, 3), (5, 5))
        and module.padding == tuple(side // 2 for side in module.kernel_size)
        and module.stride[0] == module.stride[1]
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and module.bias is None
    )


class QuickDepthwise(torch.autograd.Function):
    """A depthwise convolution, 3x3 or 5x5, padded to keep the size, with quick gradients.

    They are computed in 32 bits where the convolution is in 16: there oneDNN's own take up to 30
    times as long. A kernel of 5x5 learns as two of 5x3: columns 0-2 and 2-4 of the weights'
    gradient are those of kernels three columns wide, on the image moved by a column each way.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        """Convolve x (B, C, H, W) with weight (C, 1, K, K), in the type of x."""
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight.to(x.dtype), stride=stride, padding=padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Return the gradients of x and weight, each in its own type."""
        x, weight = ctx.saved_tensors
        dtype = torch.promote_types(x.dtype, torch.float32)
        wide = gradient.to(dtype), x.to(dtype), weight.to(dtype)
        for_x, size = ctx.needs_input_grad[0], weight.shape[-1]
        if size == NARROW:
            x_gradient, weight_gradient = _gradients(*wide, ctx.stride, 1, (for_x, True))
        else:
            x_gradient, _ = _gradients(*wide, ctx.stride, size // 2, (for_x, False))
            weight_gradient = _by_columns(*wide, ctx.stride)
        if for_x:
            x_gradient = x_gradient.to(x.dtype)
        return x_gradient, weight_gradient.to(weight.dtype), None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, across: int, mask: tuple[bool, bool]
) -> Any:
    """Return torch's gradients of x and weight where ``mask`` has them; padded ``across`` in x."""
    down = weight.shape[-2] // 2
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [down, across], [1, 1], False, [0, 0],
        len(weight), [*mask, False],
    )[:2]  # fmt: skip


def _by_columns(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of weight (C, 1, 5, 5), three columns at a time."""
    result = torch.empty_like(weight)
    for first, before, after in ((0, 2, 0), (5 - NARROW, 0, 2)):
        columns = slice(first, first + NARROW)
        part = weight[..., columns].contiguous()
        moved = F.pad(x, (before, after))
        result[..., columns] = _gradients(gradient, moved, part, stride, 0, (False, True))[1]
    return result
