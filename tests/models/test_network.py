import pytest
import torch
from torch.nn import functional as F

from sgcp.models import SGCPNet
from sgcp.models.encoder import CHANNELS
from sgcp.models.network import Normalize
from sgcp.models.pyramid import FusionNode, double, downsample_to, halve


@pytest.mark.parametrize(("classes", "parameters"), [(19, 607_826), (11, 607_306)])
def test_parameter_count_is_the_published_one(classes, parameters):
    assert sum(p.numel() for p in SGCPNet(classes).parameters()) == parameters


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (360, 480), (361, 479), (7, 200), (64, 96)])
@pytest.mark.parametrize("encoder", ["sgcp", "mobilenet_v3_small"])
def test_logits_are_at_stride_eight_for_any_size(size, encoder):
    model = SGCPNet(11, encoder).eval()
    with torch.inference_mode():
        logits = model(torch.randn(1, 3, *size))
    assert logits.shape == (1, 11, -(-size[0] // 8), -(-size[1] // 8))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("encoder", ["sgcp", "mobilenet_v3_small"])
def test_features_have_their_strides_and_channels(encoder):
    features = SGCPNet(5, encoder).eval().encoder(torch.randn(1, 3, 64, 96))
    expected = [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(CHANNELS, (8, 16, 32), strict=True)
    ]
    assert [tuple(feature.shape) for feature in features] == expected


def test_every_parameter_learns():
    model = SGCPNet(4).train()
    model(torch.randn(2, 3, 128, 128)).square().mean().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ]
    assert not without


def test_encoder_convolutions_have_no_bias():
    encoder = SGCPNet(4).encoder
    assert not [
        name
        for name, layer in encoder.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None
    ]


def test_fusion_ignores_an_input_of_negative_weight():
    node = FusionNode(2).eval()
    with torch.no_grad():
        node.weights.copy_(torch.tensor([1.0, -3.0]))
    a, b = torch.randn(2, 1, 64, 5, 5).unbind()
    assert torch.equal(node(a, b), node(a, 100 * b))


def test_downsampling_meets_odd_targets():
    x = torch.randn(1, 64, 9, 7)
    assert halve(x).shape[-2:] == (5, 4)
    assert downsample_to(x, torch.empty(1, 64, 4, 4)).shape[-2:] == (4, 4)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 8), (45, 60), (23, 30)])
def test_doubling_is_nearest_resizing_of_a_halved_map(size):
    halved = torch.randn(2, 3, *(-(-side // 2) for side in size), requires_grad=True)
    gradient = torch.randn(2, 3, *size)
    ways = double(halved, *size), F.interpolate(halved, size=size, mode="nearest")
    assert torch.equal(*ways)
    torch.testing.assert_close(*(torch.autograd.grad(y, halved, gradient) for y in ways))


def test_normalize_maps_mean_to_zero_and_one_deviation_to_one():
    normalize = Normalize((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    image = torch.full((1, 3, 1, 1), 127.5) + torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1) * 255
    assert torch.allclose(normalize(image), torch.ones(1, 3, 1, 1), atol=1e-5)


def test_no_classes_is_an_error():
    with pytest.raises(ValueError, match="num_classes"):
        SGCPNet(0)
