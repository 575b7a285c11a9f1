"""The quick gradients of depthwise kernels are torch's own, in 32 bits and in 16."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sgcp.models import SGCPNet
from sgcp.training.kernels import use_kernels
from sgcp.training.kernels.depthwise import DepthwiseConv2d, QuickDepthwise


def depthwise(kernel: int, stride: int = 1) -> DepthwiseConv2d:
    return DepthwiseConv2d(16, 16, kernel, stride, kernel // 2, groups=16, bias=False)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (2, 3)])
def test_gradients_are_those_of_torch(size, kernel, stride):
    torch.manual_seed(0)
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last)
    conv = depthwise(kernel, stride).double()
    results = []
    for way in (
        lambda a, w: F.conv2d(a, w, stride=stride, padding=kernel // 2, groups=16),
        lambda a, w: QuickDepthwise.apply(a, w, stride),
    ):
        leaves = [x.clone().requires_grad_(), conv.weight.detach().clone().requires_grad_()]
        y = way(*leaves)
        (y * torch.arange(y.numel()).view_as(y)).sum().backward()
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 9), (1, 1)])
def test_bf16_gradients_are_those_of_fp32_rounded(size, stride, kernel):
    """Of numbers that bfloat16 holds exactly, so that only sums and products are rounded."""
    torch.manual_seed(0)
    conv = depthwise(kernel, stride).bfloat16().float().to(memory_format=torch.channels_last)
    x = torch.randn(2, 16, *size).bfloat16().float().contiguous(memory_format=torch.channels_last)
    results = []
    for bf16 in (True, False):
        leaf = x.clone().requires_grad_()
        conv.zero_grad()
        conv.train(bf16)  # in evaluation it is nn.Conv2d
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = conv(leaf)
        factors = torch.linspace(-1, 1, y.numel()).view_as(y).bfloat16().float()
        (y.float() * factors).sum().backward()
        results.append([y.detach(), leaf.grad, conv.weight.grad])
    quick, plain = results
    assert [value.dtype for value in quick] == [torch.bfloat16, torch.float32, torch.float32]
    # The weights' gradient is computed from what is exact, and never rounded.
    for got, expected, tolerance in zip(quick, plain, (2**-8, 2**-8, 1e-5), strict=True):
        error = (got.float() - expected).abs().max()
        assert error <= tolerance * expected.abs().max()


@pytest.mark.parametrize(
    ("mode", "bf16", "kernel", "quick"),
    [
        (True, True, 3, True), (True, True, 5, True), (True, False, 5, True),
        (True, False, 3, False), (False, True, 3, False), (False, False, 5, False),
    ],
)  # fmt: skip
def test_quick_way_is_taken_in_training_where_torch_is_slow(mode, bf16, kernel, quick):
    conv = depthwise(kernel).train(mode)
    x = torch.randn(1, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        y = conv(x)
    assert (type(y.grad_fn).__name__ == "QuickDepthwiseBackward") == quick


def test_every_depthwise_kernel_of_the_network_learns_the_quick_way():
    network = SGCPNet(5)
    use_kernels(network)
    found = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert len(found) > 11
    assert all(isinstance(m, DepthwiseConv2d) for m in found)


@pytest.mark.parametrize(
    "other",
    [{"bias": True}, {"padding": 0}, {"dilation": 2}, {"kernel_size": 7, "padding": 3},
     {"groups": 8}, {"padding_mode": "reflect"}],
    ids=str,
)  # fmt: skip
def test_other_convolutions_stay_those_of_torch(other):
    usual = {"kernel_size": 5, "padding": 2, "groups": 16, "bias": False}
    network = nn.Sequential(nn.Conv2d(16, 16, **(usual | other)))
    use_kernels(network)
    assert type(network[0]) is nn.Conv2d


def test_network_learns_alike_in_both_layouts():
    """Channels last takes the quick way, channels first does not."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, 64, 96)
    network = SGCPNet(5).train().double()
    use_kernels(network)
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network.zero_grad()
        network.to(memory_format=layout)
        network(x.double().contiguous(memory_format=layout)).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-9)
