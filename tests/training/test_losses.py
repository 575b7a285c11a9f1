"""The banded cross-entropy is torch's own: the same number, the same gradients."""

import pytest
import torch
from torch.nn import functional as F

from sgcp.datasets.classes import IGNORE
from sgcp.training.kernels import banded_cross_entropy as losses
from sgcp.training.kernels.banded_cross_entropy import (
    BandedCrossEntropy,
    plain_loss,
    segmentation_loss,
)


def random_ground_truth(*shape: int, classes: int) -> torch.Tensor:
    label = torch.randint(0, classes, shape, dtype=torch.uint8)
    return label.where(torch.rand(shape) >= 0.2, IGNORE)


def assert_as_plain(logits, label, smoothing, weights=None, atol=2e-7) -> None:
    results = []
    for way in (plain_loss, segmentation_loss):
        leaf = logits.clone().requires_grad_()
        loss = way(leaf, label, smoothing, weights)
        (3 * loss).backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[1], results[0], rtol=2e-5, atol=atol)


@pytest.mark.parametrize("weighted", [False, True])
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
    monkeypatch, batch, classes, small, large, smoothing, weighted
):
    torch.manual_seed(0)
    logits = 3 * torch.randn(batch, classes, *small)
    label = random_ground_truth(batch, *large, classes=classes)
    label[0, : large[0] // 2] = IGNORE
    monkeypatch.setattr(losses, "BAND", 7 * classes * large[1])  # the last band is shorter
    assert_as_plain(logits, label, smoothing, torch.rand(classes) if weighted else None)


@pytest.mark.parametrize("gap", [70.0, 300.0, 3000.0])
def test_pixels_between_cells_far_apart_are_scored_exactly(gap):
    """Half-way between two such winners, exp() of both would be 0 if only they were subtracted."""
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 0, :, 0] = logits[0, 1, :, 1] = gap
    assert_as_plain(logits, torch.ones(1, 16, 16, dtype=torch.uint8), 0.0, atol=2e-6)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.1, 0.2, 0.3, 0.4])])
def test_plain_loss_is_torchs_mean_over_unignored_pixels(weights):
    torch.manual_seed(2)
    logits, label = torch.randn(2, 4, 5, 5), random_ground_truth(2, 5, 5, classes=4)
    expected = F.cross_entropy(logits, label.long(), weights, ignore_index=IGNORE)
    torch.testing.assert_close(plain_loss(logits, label, 0.0, weights), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_gradient_is_the_slope(smoothing):
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    label = random_ground_truth(2, 9, 11, classes=3)
    assert torch.autograd.gradcheck(
        lambda x: BandedCrossEntropy.apply(x, label, smoothing, None), (logits,)
    )


def test_layout_and_precision_of_the_logits_do_not_matter():
    torch.manual_seed(2)
    logits, label = torch.randn(2, 5, 6, 7), random_ground_truth(2, 48, 56, classes=5)
    expected = segmentation_loss(logits, label, 0.0)
    channels_last = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.equal(segmentation_loss(channels_last, label, 0.0), expected)
    half = logits.to(torch.bfloat16).requires_grad_()
    loss = segmentation_loss(half, label, 0.0)
    loss.backward()
    assert (loss.dtype, half.grad.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-2, atol=1e-2)


def test_large_logits_do_not_overflow_and_diverged_ones_give_no_number():
    logits = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    label = torch.full((1, 4, 4), 0)
    assert segmentation_loss(logits, label, 0.0).item() == 0
    assert segmentation_loss(logits, label + 1, 0.0).item() == pytest.approx(2e4)
    assert segmentation_loss(logits * float("nan"), label, 0.0).isnan()
