"""Test-time options: mirrored, at several sizes, through windows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import random_image, save_random

import sgcp
from sgcp.inference.labels import label_pixels
from sgcp.inference.tta import STRIDE, InferenceOptions, softmax, windows


def local(image):
    """Score each cell by its own pixels alone, as no context reaches across a window's border."""
    rows, columns = (-(-side // STRIDE) for side in image.shape[:2])
    canvas = np.zeros((rows * STRIDE, columns * STRIDE, 3), np.float32)
    canvas[: image.shape[0], : image.shape[1]] = image / 40
    return canvas.reshape(rows, STRIDE, columns, STRIDE, 3).mean((1, 3)).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return sgcp.load(save_random(tmp_path_factory.mktemp("model")), precision="fp32", threads=1)


def label(options, score, image, size):
    return label_pixels(options.scores(score, image), size)


def test_one_view_is_the_plain_way(segmenter):
    image = random_image(50, 70)
    labels = label(InferenceOptions(window=(64, 96)), segmenter.engine.scores, image, (50, 70))
    assert (labels == segmenter.segment(image)).mean() > 0.999  # but for rounding


@pytest.mark.parametrize("width", [96, 97, 101])  # the last ones end within a cell
def test_mirrored_images_get_mirrored_labels(segmenter, width):
    image = random_image(64, width)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    flip = InferenceOptions(flip=True)
    assert (segmenter.segment(mirrored) != segmenter.segment(image)[:, ::-1]).any()
    labels = segmenter.segment(image, options=flip)
    assert (segmenter.segment(mirrored, options=flip) == labels[:, ::-1]).mean() > 0.999


@pytest.mark.parametrize("width", [96, 101, 126])
def test_both_ways_of_looking_see_the_same_place(width):
    """What is scored by its own pixels alone is labelled alike, seen from either side."""
    image = random_image(64, width)
    scaled = InferenceOptions(scales=(round(width / STRIDE) * STRIDE / width,))
    once = label(scaled, local, image, (64, width))
    assert (label(InferenceOptions(flip=True), local, image, (64, width)) == once).mean() > 0.999


def test_the_mean_is_of_probabilities():
    """Sure once weighs more than half sure twice: not so with a mean of winners."""
    answers = iter([[3.0, 0.0], [0.0, 0.5]])

    def score(image):
        cells = [-(-side // STRIDE) for side in image.shape[:2]]
        return np.broadcast_to(np.array(next(answers), np.float32)[:, None, None], (2, *cells))

    assert (label(InferenceOptions(flip=True), score, random_image(16, 16), (16, 16)) == 0).all()


def test_scales_are_sizes_that_the_network_sees(segmenter):
    seen = []

    def score(image):
        seen.append(image.shape[:2])
        return local(image)

    labels = label(InferenceOptions(scales=(0.5, 1.0, 1.5)), score, random_image(64, 88), (60, 90))
    assert seen == [(32, 48), (64, 88), (96, 128)]  # multiples of 8
    assert labels.shape == (60, 90)


@given(st.integers(1, 400), st.integers(8, 200))
def test_windows_cover_a_side_and_overlap_by_a_third(side, length):
    places = list(windows(side, length))
    assert places[0][0] == 0
    assert places[-1][1] == side
    for (begin, end), (following, _) in pairwise(places):
        assert begin < following
        # Beginnings lie on the grid of scores, so up to a cell may be missing of the third.
        assert end - following >= length / 3 - STRIDE
    for begin, end in places:
        assert begin % STRIDE == 0
        assert 0 < end - begin <= length
        assert end % STRIDE == 0 or end == side


@pytest.mark.parametrize("window", [(32, 40), (33, 41), (200, 24), (8, 8)])
def test_windows_put_together_are_the_whole(window):
    image = random_image(72, 136)
    whole = label_pixels(local(image), (75, 131))
    assert (label(InferenceOptions(window=window), local, image, (75, 131)) == whole).mean() > 0.999


def test_places_seen_through_two_windows_do_not_count_twice():
    """Or they would weigh more than the rest once several sizes are averaged."""
    seen = InferenceOptions(window=(32, 40)).probabilities(local, random_image(75, 131))
    np.testing.assert_allclose(seen.sum(0), 1, rtol=1e-5)


def test_probabilities_sum_to_one_however_large_the_scores():
    scores = np.array([[[1000.0]], [[0.0]], [[-1000.0]]], np.float32)
    assert softmax(scores).ravel().tolist() == [1, 0, 0]
