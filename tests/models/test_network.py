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


@pytest.mark.parametrize("size", [(1, 1), (31, 33), (361, 479), (7, 200), (64, 96)])
@pytest.mark.parametrize("encoder", ["sgcp", "mobilenet_v3_small"])
def test_features_and_logits_have_their_strides_and_channels_for_any_size(size, encoder):
    model, image = SGCPNet(11, encoder).eval(), torch.randn(1, 3, *size)
    with torch.inference_mode():
        outputs = [*model.encoder(image), model(image)]
    for output, channels, stride in zip(outputs, (*CHANNELS, 11), (8, 16, 32, 8), strict=True):
        assert output.shape == (1, channels, *(-(-side // stride) for side in size))
        assert torch.isfinite(output).all()


def test_every_parameter_learns():
    model = SGCPNet(4).train()
    model(torch.randn(2, 3, 128, 128)).square().mean().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ]
    assert not without


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


def test_norms_of_the_pyramid_have_the_authors_epsilon_and_momentum():
    network = SGCPNet(3)
    for part, wanted in (
        (network.top_down_bottom_up, (1e-3, 0.01)),
        (network.top_down, (1e-3, 0.01)),
        (network.encoder, (1e-5, 0.1)),
    ):
        norms = [one for one in part.modules() if isinstance(one, torch.nn.BatchNorm2d)]
        assert {(norm.eps, norm.momentum) for norm in norms} == {wanted}


def test_no_classes_is_an_error():
    with pytest.raises(ValueError, match="num_classes"):
        SGCPNet(0)
