"""Classes weigh in the loss by their share of pixels."""

import numpy as np
import pytest
import torch

from sgcp.datasets.classes import IGNORE
from sgcp.training.balance import class_weights, count_pixels
from sgcp.training.kernels.banded_cross_entropy import plain_loss, segmentation_loss


def test_pixels_are_counted_by_class_over_all_maps():
    maps = [np.array([[0, 1], [1, IGNORE]], np.uint8), np.array([[1, 3, 3]], np.uint8)]
    assert count_pixels(maps, 4).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_a_mean_pixel_weighs_one_and_rare_classes_more(balance):
    counts = np.array([900, 90, 10, 0])
    weights = class_weights(counts, balance)
    assert float(weights.double() @ torch.from_numpy(counts / 1000)) == pytest.approx(1)
    assert float(weights[2] / weights[0]) == pytest.approx(90**balance)
    assert weights[3] == 0


def test_no_labelled_pixel_at_all_gives_weights_without_nan():
    assert class_weights(np.zeros(3, np.int64), 0.5).tolist() == [0, 0, 0]


def test_balanced_classes_count_alike_however_many_pixels_they_have():
    """The loss is the mean over classes of each class's own mean."""
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 8, 8)
    label = torch.zeros(1, 8, 8, dtype=torch.uint8)
    label[0, 0, :4], label[0, 1, :2], label[0, 2] = 1, 2, IGNORE
    counts = count_pixels([label[0].numpy()], 3)
    alone = [segmentation_loss(logits, label.where(label == k, IGNORE), 0.0) for k in range(3)]
    balanced = segmentation_loss(logits, label, 0.0, class_weights(counts, 1.0))
    torch.testing.assert_close(balanced, torch.stack(alone).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_loss_and_gradients_are_those_of_torch(smoothing):
    torch.manual_seed(1)
    logits, weights = 3 * torch.randn(2, 5, 6, 7), torch.rand(5)
    label = torch.randint(0, 6, (2, 41, 56), dtype=torch.uint8)
    label[label == 5] = IGNORE
    results = []
    for way in (plain_loss, segmentation_loss):
        leaf = logits.clone().requires_grad_()
        loss = way(leaf, label, smoothing, weights)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(results[1], results[0], rtol=2e-5, atol=2e-7)


def test_weights_of_torchs_own_loss_mean_the_same():
    torch.manual_seed(2)
    logits, weights = torch.randn(2, 4, 5, 5), torch.rand(4)
    label = torch.randint(0, 4, (2, 5, 5))
    expected = torch.nn.functional.cross_entropy(logits, label, weights)
    torch.testing.assert_close(segmentation_loss(logits, label, 0.0, weights), expected)
