"""The banded loss is torch's own: the same number, the same gradients."""

import pytest
import torch

from sgcp.datasets.classes import IGNORE
from sgcp.training.kernels import banded_cross_entropy as losses
from sgcp.training.kernels.banded_cross_entropy import (
    BandedCrossEntropy,
    plain_loss,
    segmentation_loss,
)


def random_ground_truth(shape: tuple[int, ...], classes: int, ignored: float = 0.2) -> torch.Tensor:
    label = torch.randint(0, classes, shape, dtype=torch.uint8)
    return label.where(torch.rand(shape) >= ignored, IGNORE)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("batch", "classes", "small", "large"),
    [
        (2, 11, (45, 60), (360, 480)),
        (1, 19, (5, 7), (33, 53)),  # no multiple of 8
        (3, 2, (1, 1), (8, 5)),
        (2, 5, (9, 4), (9, 4)),  # nothing to resize
        (2, 5, (9, 8), (4, 3)),  # shrunk
    ],
)
def test_banded_loss_and_gradients_are_those_of_torch(
    monkeypatch, batch, classes, small, large, smoothing
):
    torch.manual_seed(0)
    logits = 3 * torch.randn(batch, classes, *small)
    label = random_ground_truth((batch, *large), classes)
    label[0, : large[0] // 2] = IGNORE
    monkeypatch.setattr(losses, "BAND", 7 * classes * large[1])  # the last band is shorter
    results = []
    for way in (plain_loss, segmentation_loss):
        leaf = logits.clone().requires_grad_()
        loss = way(leaf, label, smoothing)
        (3 * loss).backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[1], results[0], rtol=2e-5, atol=2e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradient_is_the_slope(smoothing):
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    label = random_ground_truth((2, 9, 11), 3)
    assert torch.autograd.gradcheck(
        lambda x: BandedCrossEntropy.apply(x, label, smoothing, None), (logits,)
    )


def test_layout_and_precision_of_the_logits_do_not_matter():
    torch.manual_seed(2)
    logits, label = torch.randn(2, 5, 6, 7), random_ground_truth((2, 48, 56), 5)
    expected = segmentation_loss(logits, label, 0.0)
    channels_last = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.equal(segmentation_loss(channels_last, label, 0.0), expected)
    half = logits.to(torch.bfloat16).requires_grad_()
    loss = segmentation_loss(half, label, 0.0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-2, atol=1e-2)


def test_large_logits_do_not_overflow():
    logits = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    label = torch.full((1, 4, 4), 0)
    assert segmentation_loss(logits, label, 0.0).item() == 0
    assert segmentation_loss(logits, label + 1, 0.0).item() == pytest.approx(2e4)


@pytest.mark.parametrize("gap", [70.0, 300.0, 3000.0])
def test_pixels_between_cells_far_apart_are_scored_exactly(gap):
    """Half-way between two such winners, exp() of both would be 0 if only they were subtracted."""
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0, :, 0] = logits[0, 1, :, 1] = gap
    label = torch.ones(1, 16, 16, dtype=torch.uint8)
    results = []
    for way in (plain_loss, segmentation_loss):
        leaf = logits.clone().requires_grad_()
        loss = way(leaf, label, 0.0)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[1], results[0], rtol=2e-5, atol=2e-6)


def test_diverged_logits_give_no_number():
    assert segmentation_loss(
        torch.full((1, 3, 2, 2), float("nan")), torch.zeros(1, 4, 4).long(), 0.0
    ).isnan()


def test_loss_is_cross_entropy_over_unignored_pixels():
    logits = torch.zeros(1, 4, 2, 2)
    label = torch.tensor([[[0, 1], [2, IGNORE]]])
    assert segmentation_loss(logits, label, 0.0).item() == pytest.approx(1.3862943)  # ln 4


def test_ignored_pixels_have_no_gradient():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    label = torch.full((1, 2, 2), IGNORE)
    loss = segmentation_loss(logits, label, 0.0)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_logits_are_resized_to_the_label():
    logits = torch.randn(2, 3, 4, 5)
    label = torch.randint(0, 3, (2, 31, 37))
    assert torch.isfinite(segmentation_loss(logits, label, 0.1))
