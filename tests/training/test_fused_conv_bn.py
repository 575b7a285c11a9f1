"""Batch norm by the moments of its input is torch's own batch norm, and leaves others alone."""

import copy

import pytest
import torch
from torch import nn

from sgcp.models import SGCPNet
from sgcp.models.encoder import ConvNorm
from sgcp.training.kernels import fused_conv_bn, use_kernels
from sgcp.training.kernels.fused_conv_bn import FusedConvNorm


def random_layer(c_in: int, c_out: int, dtype: torch.dtype) -> FusedConvNorm:
    layer = FusedConvNorm(c_in, c_out).to(dtype)
    nn.init.normal_(layer.norm.weight)
    nn.init.normal_(layer.norm.bias)
    return layer


def outcome(forward, layer, x, gradient) -> list[torch.Tensor]:
    """Return the result, all gradients, and the norm's statistics after it."""
    layer, leaf = copy.deepcopy(layer), x.clone().requires_grad_()
    y = forward(layer, leaf)
    gradients = torch.autograd.grad(y, [leaf, *layer.parameters()], gradient)
    return [y.detach(), *gradients, *layer.buffers()]


@pytest.mark.parametrize(
    ("channels", "batch", "size", "offset"),
    [((16, 72), 4, (9, 12), 0.5), ((3, 3), 2, (5, 7), 0), ((8, 48), 1, (8, 6), -3)],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
def test_result_gradients_and_statistics_are_those_of_torch(
    channels, batch, size, offset, dtype, tolerance
):
    """With means of several deviations too, where covariances lose digits."""
    torch.manual_seed(0)
    x = (torch.randn(batch, channels[0], *size, dtype=dtype) + offset).contiguous(
        memory_format=torch.channels_last
    )
    layer, gradient = random_layer(*channels, dtype), torch.randn(batch, channels[1], *size).to(x)
    assert fused_conv_bn.by_moments_pays(x, layer.norm)
    ours = outcome(FusedConvNorm.forward, layer, x, gradient)
    torchs = outcome(nn.Sequential.forward, layer, x, gradient)
    torch.testing.assert_close(ours, torchs, rtol=tolerance, atol=tolerance)


def test_gradient_is_the_slope():
    torch.manual_seed(1)
    shapes = (2, 3, 4, 5), (6, 3, 1, 1), (6,), (6,)
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(
        lambda *given: fused_conv_bn.NormByMoments.apply(*given, 1e-5)[0], parts
    )


def test_what_is_constant_has_no_infinite_gradient():
    layer = FusedConvNorm(4, 8).train()
    x = torch.full((2, 4, 6, 6), 3.0, requires_grad=True)
    layer(x).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in (x, *layer.parameters()))


@pytest.mark.parametrize("reason", ["evaluation", "other norm", "autocast", "few pixels"])
def test_other_cases_are_left_to_torch(monkeypatch, reason):
    def refuse(*_):
        raise AssertionError("the moments were taken")

    monkeypatch.setattr("sgcp.training.kernels.fused_conv_bn.norm_by_moments", refuse)
    layer, x = FusedConvNorm(4, 8).train(), torch.randn(2, 4, 6, 6)
    if reason == "evaluation":
        layer.eval()
    if reason == "other norm":
        layer.norm = nn.GroupNorm(2, 8)
    if reason == "few pixels":
        x = x[..., :1, :2]
    with torch.autocast("cpu", enabled=reason == "autocast"):
        layer(x)


def test_the_whole_network_learns_the_same(monkeypatch):
    torch.manual_seed(2)
    network, image = SGCPNet(5).double().train(), torch.randn(2, 3, 64, 96, dtype=torch.float64)
    use_kernels(network)
    gradients = []
    for forward in (FusedConvNorm.forward, ConvNorm.forward):
        monkeypatch.setattr(FusedConvNorm, "forward", forward)
        network.zero_grad()
        network(image).square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-12)
