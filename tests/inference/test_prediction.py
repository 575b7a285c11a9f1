"""Confidence and probabilities, against torch's softmax of full-size scores."""

import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_image, save_random
from PIL import Image
from torch.nn import functional as F

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.inference import labels as module
from sgcp.inference.prediction import Prediction
from sgcp.tools.export import ExportOptions, export

BOUND = 3e-5  # of the value, before it is rounded to float16
STEP = 2.0**-11  # of the value, by which rounding to float16 changes it at most
AUGMENTED = sgcp.InferenceOptions(flip=True, scales=(0.75, 1.0))


def plain(scores, size, temperature=1.0):
    """The softmax of all full-size scores, in double precision: (K, H, W)."""
    tensor = torch.from_numpy(scores).double()[None] / temperature
    resized = F.interpolate(tensor, size=size, mode="bilinear", align_corners=False)
    return resized.softmax(1)[0].numpy()


def confidences(scores, size, temperature=1.0):
    """Confidence by C and by numpy, in double precision."""
    for compiled in (module.compiled, None):
        with patch.object(module, "compiled", compiled):
            found = Prediction(scores, size, temperature).confidence
        assert (found.dtype, found.shape) == (np.float16, size)
        yield found.astype(float)


def logits(random, classes, size, spread):
    """Scores of a confident network: one class is far above most others."""
    return (random.normal(size=(classes, *size)) * spread).astype(np.float32)


sides = st.integers(1, 12)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 20),
    source=st.tuples(sides, sides),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    spread=st.sampled_from([0.1, 2, 10, 300]),
    temperature=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_confidence_is_the_highest_softmax_of_the_resized_scores(
    seed, classes, source, size, spread, temperature
):
    scores = logits(np.random.default_rng(seed), classes, source, spread)
    wanted = plain(scores, size, temperature).max(0)
    rounding = 1e-6 * spread / temperature  # of the scores themselves
    for found in confidences(scores, size, temperature):
        assert (np.abs(found - wanted) <= wanted * (BOUND + STEP + rounding)).all()


def test_classes_left_out_of_a_cell_are_counted_together():
    """254 classes, each with a share that alone would not count."""
    scores = np.full((255, 4, 4), -11, np.float32)
    scores[7] = 0
    wanted = plain(scores, (30, 30)).max(0)
    for found in confidences(scores, (30, 30)):
        assert (np.abs(found - wanted) <= wanted * (BOUND + STEP)).all()


def test_an_offset_of_all_scores_changes_nothing():
    scores = logits(np.random.default_rng(1), 5, (6, 7), 2)
    for here, there in zip(confidences(scores, (48, 56)), confidences(scores + 512, (48, 56)),
                           strict=True):  # fmt: skip
        assert np.abs(here - there).max() < 1e-3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_probabilities_are_the_softmax_of_the_resized_scores(seed, size):
    scores = logits(np.random.default_rng(seed), 6, (5, 4), 3)
    found = Prediction(scores, size, 1.7).probabilities()
    assert (found.dtype, found.shape) == (np.float32, (6, *size))
    assert np.abs(found - plain(scores, size, 1.7)).max() < 1e-5


def test_no_full_size_scores_of_all_classes_are_made():
    """19 float maps of this size take 159 MB; the confidence 4 MB."""
    scores = logits(np.random.default_rng(0), 19, (128, 256), 3)
    size = (1024, 2048)
    for compiled in (module.compiled, None):
        with patch.object(module, "compiled", compiled):
            _ = Prediction(scores, size).confidence  # tables of the axes are kept
            tracemalloc.start()
            _ = Prediction(scores, size).confidence
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 19 * size[0] * size[1] * 4 / 8


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return sgcp.load(save_random(folder, temperature=2.5), precision="fp32", threads=1)


@pytest.mark.parametrize("options", [sgcp.InferenceOptions(), AUGMENTED], ids=["plain", "averaged"])
@pytest.mark.parametrize("input_size", [None, (64, 64)])
def test_labels_are_those_of_segment(segmenter, options, input_size):
    image = random_image(90, 121)
    prediction = segmenter.predict(image, input_size, options)
    np.testing.assert_array_equal(prediction.labels, segmenter.segment(image, input_size, options))
    best = prediction.probabilities().max(0)
    assert np.abs(prediction.confidence - best).max() <= STEP + BOUND


def test_the_temperature_of_the_card_divides_the_scores(segmenter):
    image = random_image(40, 56)
    prediction = segmenter.predict(image)
    np.testing.assert_array_equal(prediction.scores, segmenter.engine.scores(image))
    assert np.abs(prediction.probabilities() - plain(prediction.scores, (40, 56), 2.5)).max() < 1e-5


def test_confidence_of_averaged_versions_is_that_of_the_mean_probabilities(tmp_path):
    """At temperature 1, of an image and its mirror image."""
    model = sgcp.load(save_random(tmp_path), precision="fp32", threads=1)
    image = random_image(64, 96)
    once, mirrored = (
        plain(model.engine.scores(np.ascontiguousarray(one)), (8, 12))
        for one in (image, image[:, ::-1])
    )
    found = model.predict(image, options=sgcp.InferenceOptions(flip=True))
    wanted = (once + mirrored[:, :, ::-1]) / 2
    assert np.abs(Prediction(found.scores, (8, 12)).probabilities() - wanted).max() < 1e-5


@pytest.mark.parametrize("pack", [list, tuple])
def test_a_list_of_images_gives_a_list(segmenter, tmp_path, pack):
    arrays = [random_image(40 + 8 * n, 56, n) for n in range(5)]
    path = tmp_path / "one.png"
    Image.fromarray(arrays[1]).save(path)
    images = pack([arrays[0], path, Image.fromarray(arrays[2]), str(path), arrays[4]])
    wanted = [segmenter.segment(image) for image in images]
    found, predicted = segmenter.segment(images), segmenter.predict(images)
    assert isinstance(found, list)
    for one, two, three in zip(wanted, found, predicted, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three.labels)
    assert segmenter.segment(pack()) == []


def test_an_export_with_labels_has_no_confidence(tmp_path):
    save_random(tmp_path)
    export(str(tmp_path), tmp_path / "labels.onnx", ExportOptions(labels=True))
    model = sgcp.load(tmp_path / "labels.onnx")
    with pytest.raises(SgcpError, match="exported with --labels"):
        model.predict(random_image(40, 56))
