"""Temperature, expected calibration error and negative log-likelihood, against torch."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sgcp.datasets.classes import IGNORE
from sgcp.metrics.calibration import (
    BINS,
    LOGITS,
    PIXELS,
    Sample,
    describe_calibration,
    fit_temperature,
    measure,
    pixels_of_each,
)


def drawn(temperature, seed=0, classes=7, size=(40, 50)):
    """A sample whose classes are drawn from the softmax at this temperature."""
    random = np.random.default_rng(seed)
    scores = (random.normal(size=(classes, *size)) * 3).astype(np.float32)
    powers = np.exp(scores / temperature)
    shares = np.cumsum(powers / powers.sum(0), 0)
    truth = (random.random(size) > shares[:-1]).sum(0).astype(np.uint8)
    return Sample(scores, truth)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_drew_the_classes_is_found(temperature):
    samples = [drawn(temperature, seed) for seed in range(8)]
    assert fit_temperature(samples) == pytest.approx(temperature, rel=0.05)
    assert fit_temperature(samples) == fit_temperature(samples)


def test_no_other_temperature_has_a_lower_likelihood_loss():
    samples = [drawn(1.7, seed) for seed in range(3)]
    logits = np.concatenate([sample.logits for sample in samples])
    truth = np.concatenate([sample.truth for sample in samples])
    best = fit_temperature(samples)
    losses = {t: measure(logits, truth, t)[1] for t in (best / 1.1, best, best * 1.1)}
    assert min(losses, key=losses.get) == best
    tensor = torch.from_numpy(logits) / best
    wanted = F.cross_entropy(tensor, torch.from_numpy(truth).long())
    assert losses[best] == pytest.approx(float(wanted), abs=1e-5)


def test_expected_calibration_error_is_the_gap_in_each_bin_weighted_by_its_pixels():
    sample = drawn(2.0)
    probabilities = torch.from_numpy(sample.logits).double().softmax(1)
    confidence, best = (part.numpy() for part in probabilities.max(1))
    right, wanted = best == sample.truth, 0.0
    for k in range(BINS):
        inside = (confidence > k / BINS) & (confidence <= (k + 1) / BINS)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            wanted += inside.mean() * gap
    assert measure(sample.logits, sample.truth, 1.0)[0] == pytest.approx(wanted, abs=1e-5)
    assert wanted > 0.05


def test_scaling_by_the_fitted_temperature_lowers_the_error():
    samples = [drawn(2.0, seed) for seed in range(8)]
    content = describe_calibration(samples, fit_temperature(samples))
    assert content["ece_calibrated"] < 0.02 < 0.05 < content["ece"]
    assert content["nll_calibrated"] < content["nll"]
    assert content["temperature"] == content["fitted_temperature"]
    assert content["pixels"] == 8 * 40 * 50


@pytest.mark.parametrize("size", [(5, 7), (37, 61), (128, 90)])
def test_a_sample_has_the_resized_logits_of_labelled_pixels_evenly_spread(size):
    random = np.random.default_rng(2)
    scores = random.normal(size=(4, 6, 9)).astype(np.float32)
    truth = random.integers(0, 4, size).astype(np.uint8)
    truth[random.random(size) < 0.4] = IGNORE
    sample = Sample(scores, truth)
    full = F.interpolate(
        torch.from_numpy(scores)[None], size=size, mode="bilinear", align_corners=False
    )[0].numpy()
    labelled = np.flatnonzero(truth != IGNORE)
    count = min(PIXELS, len(labelled))
    assert sample.logits.shape == (count, 4)
    assert len(sample.truth) == count
    share = (np.sqrt(5) - 1) / 2
    chosen = labelled[[int((i + i * share % 1) * len(labelled) / count) for i in range(count)]]
    if count == len(labelled):
        np.testing.assert_array_equal(chosen, labelled)
    np.testing.assert_array_equal(sample.truth, truth.ravel()[chosen])
    assert np.abs(sample.logits - full.reshape(4, -1).T[chosen]).max() < 1e-5


def test_a_sample_is_not_of_a_few_columns():
    truth = np.zeros((512, 1024), np.uint8)
    columns = np.arange(1024, dtype=np.float32)[None].repeat(512, 0)
    sample = Sample(np.stack([columns, columns]), truth)
    assert len(np.unique(sample.logits[:, 0])) > 900


def test_the_logits_of_many_images_of_many_classes_are_bounded():
    assert pixels_of_each(500, 19) == PIXELS  # Cityscapes
    for images, classes in ((2000, 150), (10_000, 19), (10**9, 254)):
        most = pixels_of_each(images, classes)
        assert most == 1 or images * classes * most <= LOGITS
        assert len(Sample(np.zeros((3, 2, 2)), np.zeros((99, 99), np.uint8), most).truth) == most


def test_an_image_without_labels_has_no_sample():
    sample = Sample(np.zeros((3, 2, 2), np.float32), np.full((16, 16), IGNORE, np.uint8))
    assert (sample.logits.shape, sample.truth.shape) == ((0, 3), (0,))
