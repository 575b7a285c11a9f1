"""The fast kernels of training give torch's own results and gradients, and leave others alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sgcp.models import SGCPNet
from sgcp.training.kernels import fused_conv_bn, use_kernels
from sgcp.training.kernels.depthwise import DepthwiseConv2d, QuickDepthwise
from sgcp.training.kernels.fused_conv_bn import FusedConvNorm


def test_the_whole_network_learns_the_same():
    """In double precision, channels last, as it is trained."""
    torch.manual_seed(2)
    network = SGCPNet(5).double().train()
    fast = copy.deepcopy(network).to(memory_format=torch.channels_last)
    use_kernels(fast)
    kinds = [type(module) for module in fast.modules()]
    assert kinds.count(FusedConvNorm) == 11
    assert all(type(m) is DepthwiseConv2d for m in fast.modules() if getattr(m, "groups", 1) > 1)
    image = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    gradients = []
    for one, x in ((network, image), (fast, image.contiguous(memory_format=torch.channels_last))):
        one(x).square().mean().backward()
        gradients.append({name: p.grad for name, p in one.named_parameters()})
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-6, atol=1e-9)


# --- depthwise convolutions


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


# --- 1x1 convolutions with their batch norm


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
