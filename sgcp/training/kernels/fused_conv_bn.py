"""A 1x1 convolution and its batch norm in one pass, from the moments of what goes in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from sgcp.models.encoder import ConvNorm


class FusedConvNorm(ConvNorm):
    """A 1x1 ``ConvNorm`` to as many channels or more; trains by the moments of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve and normalise x (B, C, H, W) -> (B, K, H, W)."""
        if self.training and by_moments_pays(x, self.norm):
            return norm_by_moments(x, self.conv, self.norm)
        return super().forward(x)


def by_moments_pays(x: Tensor, norm: nn.Module) -> bool:
    """Tell whether ``norm_by_moments`` is right for x (B, C, H, W), and quicker.

    On a GPU, and on one processor of several that share their statistics, the norm does its own
    work; in 16 bits the moments would be too coarse.
    """
    return (
        type(norm) is nn.BatchNorm2d
        and x.device.type == "cpu"
        and x.dtype.itemsize >= 4
        and not torch.is_autocast_enabled("cpu")
        and x.numel() // x.shape[1] > 4 * x.shape[1]  # else the moments are hardly determined
    )


def norm_by_moments(x: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Return ``norm(conv(x))`` of a norm in training, (B, C, H, W) -> (B, K, H, W).

    The result of a 1x1 convolution has the mean W m and the variances diag(W S W'), where m and S
    are mean and covariance of the C channels that go in. So statistics of many channels come from
    products of few, the norm is worked into the weights, and neither it nor its gradient reads the
    wide result. Exact up to rounding; statistics of the norm are updated as torch does.

    Compiled training does 13 % more images/s by it (``benchmarks/training_throughput.py``).
    """
    result, mean, var = NormByMoments.apply(x, conv.weight, norm.weight, norm.bias, norm.eps)
    if norm.training and norm.running_mean is not None and norm.running_var is not None:
        count = x.numel() // x.shape[1]
        momentum = 0.1 if norm.momentum is None else norm.momentum
        with torch.no_grad():
            norm.running_mean.lerp_(mean, momentum)
            norm.running_var.lerp_(var * (count / (count - 1)), momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)
    return result


class NormByMoments(torch.autograd.Function):
    """Convolve with weights that the norm is worked into; see ``norm_by_moments``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take x (B, C, H, W) and weight (K, C, 1, 1); return the result, its mean and variance."""
        pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])  # (N, C)
        matrix = weight.flatten(1)  # (K, C)
        centre = pixels.mean(0)
        covariance = torch.mm(pixels.T, pixels) / len(pixels) - torch.outer(centre, centre)
        spread = matrix @ covariance  # (K, C)
        mean, var = matrix @ centre, (spread * matrix).sum(1).clamp(min=0)
        inverse = (var + eps).rsqrt()
        scale = gamma * inverse
        folded = (matrix * scale[:, None]).view_as(weight)
        ctx.save_for_backward(x, matrix, gamma, centre, spread, inverse, folded, mean)
        ctx.mark_non_differentiable(mean, var)
        return F.conv2d(x, folded, beta - scale * mean), mean, var

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        """Return the gradients of x, weight, gamma and beta."""
        x, matrix, gamma, centre, spread, inverse, folded, mean = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        x_gradient, folded_gradient, beta_gradient = torch.ops.aten.convolution_backward(
            gradient, x, folded, [len(matrix)], [1, 1], [0, 0], [1, 1], False, [0, 0], 1,
            [True, True, True],
        )  # fmt: skip
        # From folded = matrix * scale and bias = beta - scale * mean back to the moments.
        folded_gradient = folded_gradient.flatten(1)
        scale = gamma * inverse
        scale_gradient = (folded_gradient * matrix).sum(1) - beta_gradient * mean
        mean_gradient = -beta_gradient * scale
        var_gradient = -0.5 * scale_gradient * gamma * inverse**3
        matrix_gradient = (
            folded_gradient * scale[:, None]
            + torch.outer(mean_gradient, centre)
            + 2 * var_gradient[:, None] * spread
        )
        covariance_gradient = (matrix * var_gradient[:, None]).T @ matrix  # (C, C), symmetric
        centre_gradient = mean_gradient @ matrix - 2 * (covariance_gradient @ centre)
        by_moments = (covariance_gradient * (2 / count))[:, :, None, None]
        x_gradient += F.conv2d(x, by_moments, centre_gradient / count)
        weight_gradient = matrix_gradient.view_as(folded)
        return x_gradient, weight_gradient, scale_gradient * inverse, beta_gradient, None
