"""Scores near the edges of classes."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgcp.datasets.classes import IGNORE
from sgcp.metrics.details import band, count_boundary, describe_boundary

SIZE = (300, 520)  # a diagonal of 600: bands of 3 pixels


def inner_band(mask, distance=3):
    """Return the pixels of a mask within a distance of its outline, as the paper erodes it."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
    return mask & (eroded[1:-1, 1:-1] == 0)


def scene(seed, ignored=0.0):
    """Return a label map (H, W) of rectangles, and one with other edges."""
    rng = np.random.default_rng(seed)
    truth, prediction = np.zeros((2, *SIZE), np.uint8)
    for _ in range(12):
        top, left = rng.integers(0, 250, 2)
        height, width = rng.integers(4, 120, 2)
        value = IGNORE if rng.uniform() < ignored else rng.integers(0, 4)
        truth[top : top + height, left : left + width] = value
        top, left = np.clip(np.array([top, left]) + rng.integers(-3, 4, 2), 0, None)
        shown = rng.integers(0, 4) if value == IGNORE else value
        prediction[top : top + height, left : left + width] = shown
    return truth, prediction


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), ignored=st.sampled_from([0.0, 0.4]))
def test_it_is_the_papers_erosion_of_each_class(seed, ignored):
    truth, prediction = scene(seed, ignored)
    scored = truth != IGNORE
    found = describe_boundary(count_boundary(truth, prediction, 4), ["a", "b", "c", "d"])
    for value, name in enumerate("abcd"):
        first, second = (inner_band((x == value) & scored) for x in (truth, prediction))
        union = (first | second).sum()
        wanted = (first & second).sum() / union if union else None
        assert found["iou"][name] == (None if wanted is None else pytest.approx(wanted)), name


def test_accuracy_is_split_by_the_bands_of_the_truth():
    truth = np.zeros(SIZE, np.uint8)
    truth[:, 260:] = 1
    prediction = np.zeros(SIZE, np.uint8)
    prediction[:, 261:] = 1  # one column is wrong, of the 6 at the edge
    found = describe_boundary(count_boundary(truth, prediction, 2), ["a", "b"])
    near = 300 * 520 - 2 * 294 * 254  # all but the insides of the halves
    assert found["accuracy_near"] == pytest.approx(1 - 300 / near)
    assert found["accuracy_elsewhere"] == 1


def test_ignored_pixels_count_nowhere_and_the_same_map_is_right():
    truth, _ = scene(3, ignored=0.5)
    anything = np.where(truth == IGNORE, np.uint8(2), truth)
    counts = count_boundary(truth, anything, 4)
    assert describe_boundary(counts, [*"abcd"])["miou"] == 1
    assert counts.accuracy[:, 0].sum() == (truth != IGNORE).sum()


def test_counts_of_images_add_up():
    parts = [count_boundary(*scene(seed), 4) for seed in (1, 2)]
    both = parts[0] + parts[1]
    assert (both.classes == parts[0].classes + parts[1].classes).all()
    assert both.accuracy[:, 1].sum() == 2 * SIZE[0] * SIZE[1]


def test_the_smallest_image_has_a_band_of_one_pixel():
    assert band(np.zeros((5, 5), np.uint8)).sum() == 16
