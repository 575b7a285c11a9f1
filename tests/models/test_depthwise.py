"""The quick gradient of wide depthwise kernels is torch's own."""

import pytest
import torch
from torch.nn import functional as F

from sgcp.models import SGCPNet
from sgcp.models.depthwise import DepthwiseConv2d, WideDepthwise


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 9), (8, 6), (1, 1), (2, 3)])
def test_gradients_are_those_of_torch(size, stride):
    torch.manual_seed(0)
    x = torch.randn(2, 16, *size, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last)
    conv = DepthwiseConv2d(16, 5, stride).double()
    results = []
    for way in (
        lambda a, w: F.conv2d(a, w, stride=stride, padding=2, groups=16),
        lambda a, w: WideDepthwise.apply(a, w, stride),
    ):
        leaves = [x.clone().requires_grad_(), conv.weight.detach().clone().requires_grad_()]
        y = way(*leaves)
        (y * torch.arange(y.numel()).view_as(y)).sum().backward()
        results.append([y.detach(), *(leaf.grad for leaf in leaves)])
    torch.testing.assert_close(results[1], results[0])


def test_network_learns_alike_in_both_layouts():
    """Channels last takes the quick way, channels first does not."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, 64, 96)
    network = SGCPNet(5).train().double()
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        network.zero_grad()
        network.to(memory_format=layout)
        network(x.double().contiguous(memory_format=layout)).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in network.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-9)
