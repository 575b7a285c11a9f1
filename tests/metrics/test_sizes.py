"""Recall by the size of true regions."""

import numpy as np
import pytest

from sgcp.metrics.details import count_sizes, describe_sizes


def test_pixels_are_counted_by_the_size_of_their_region():
    truth = np.full((200, 200), 255, np.uint8)
    truth[:100, :100] = 0  # 10,000 pixels: large
    truth[110:140, :30] = 1  # 900: small
    truth[110:142, 50:82] = 1  # 1024: medium
    prediction = truth.copy()
    prediction[:50, :100] = 1
    prediction[110:140, :10] = 0
    counts = count_sizes(truth, prediction, 3)
    assert counts[1].tolist() == [[0, 0, 10_000], [900, 1024, 0], [0, 0, 0]]
    assert counts[0].tolist() == [[0, 0, 5000], [600, 1024, 0], [0, 0, 0]]
    described = describe_sizes(counts, ["road", "sign", "bus"])
    assert described["mean"] == {"small": pytest.approx(2 / 3), "medium": 1, "large": 0.5}
    assert described["classes"]["bus"] == dict.fromkeys(("small", "medium", "large"))


def test_corners_join_regions_and_an_ignored_pixel_is_in_none():
    truth = np.full((64, 64), 255, np.uint8)
    truth[:24, :24] = 0
    truth[24:48, 24:48] = 0  # together above 32 x 32
    counts = count_sizes(truth, np.zeros_like(truth), 1)
    assert counts[:, 0].tolist() == [[0, 1152, 0], [0, 1152, 0]]
