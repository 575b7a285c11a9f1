"""How far another choice of images might have moved a score."""

import numpy as np
import pytest
from scipy import stats

from sgcp.metrics.bootstrap import interval

RNG = np.random.default_rng(7)


def counts_of(accuracies, pixels=1000):
    """Return counts (N, 3, 2) of images of two equal classes, right to these shares."""
    right = np.round(np.asarray(accuracies) * pixels / 2).astype(np.int64)
    true = np.full_like(right, pixels // 2)
    # What is wrong in one class is predicted as the other.
    return np.stack([np.stack([row, row]) for row in (right, true, true)]).transpose(2, 0, 1)


def miou(counts):
    right, true, predicted = counts.sum(axis=0)
    return (right / (true + predicted - right)).mean()


def test_equal_images_leave_no_doubt():
    counts = counts_of([0.8] * 5)
    assert interval(counts) == pytest.approx([miou(counts)] * 2, abs=1e-6)


def test_of_two_images_the_edges_are_the_images_themselves():
    """A quarter of the resamples has the one twice, a quarter the other."""
    counts = counts_of([0.5, 0.9])
    assert interval(counts) == pytest.approx([miou(counts[:1]), miou(counts[1:])], abs=1e-6)


def test_it_is_scipys_percentile_bootstrap():
    accuracies = RNG.uniform(0.4, 1.0, 60)
    counts = counts_of(accuracies)

    def statistic(chosen):
        return miou(counts[chosen.astype(int)])

    found = stats.bootstrap((np.arange(60),), statistic, vectorized=False, n_resamples=2000,
                            method="percentile", rng=np.random.default_rng(3))  # fmt: skip
    assert interval(counts) == pytest.approx([*found.confidence_interval], abs=0.004)


def test_it_contains_the_true_value_in_nearly_all_of_many_trials():
    truth = miou(counts_of(RNG.beta(6, 2, 200_000)))
    hits = 0
    for _ in range(200):
        low, high = interval(counts_of(RNG.beta(6, 2, 60)))
        hits += low <= truth <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_images_without_labels_change_nothing():
    counts = counts_of([0.5, 0.7, 0.9])
    assert interval(np.concatenate([counts, 0 * counts])) == interval(counts)
    assert interval(counts[:1]) is None
    assert interval(counts[:1], counts[:1]) is None


def test_a_small_gain_on_every_image_is_found_though_the_images_differ_much():
    """Unpaired, the two intervals overlap almost wholly."""
    accuracies = RNG.uniform(0.3, 0.9, 50)
    before, after = counts_of(accuracies), counts_of(accuracies + 0.01)
    low, high = interval(after, before)
    assert 0 < low < miou(after) - miou(before) < high < 0.03
    assert interval(before)[1] > interval(after)[0] + 0.05
    assert interval(before, after) == pytest.approx([-high, -low], abs=1e-6)
    assert interval(before, before) == [0, 0]
