"""Colours of classes, and who tells them apart."""

import numpy as np
import pytest

from sgcp.datasets.classes import IGNORE, camvid_classes, cityscapes_classes
from sgcp.reporting.palettes import SIGHTS, appearance, least_distance, lookup, official, safe

BLACK = np.zeros((1, 3), dtype=np.uint8)  # of ignored pixels
NOTICEABLE = 0.02  # CSS Color 4


def test_official_colours_are_those_of_the_classes():
    colors = official(cityscapes_classes())
    assert colors.shape == (19, 3)
    assert colors.dtype == np.uint8
    assert colors[0].tolist() == [128, 64, 128]  # road


@pytest.mark.parametrize(("count", "least"), [(2, 0.25), (8, 0.14), (11, 0.12), (19, 0.09)])
def test_safe_colours_stay_apart_in_every_sight(count, least):
    """From each other and from black, by several just noticeable differences."""
    colors = safe(count)
    assert colors.shape == (count, 3)
    assert least_distance(np.concatenate([BLACK, colors])) >= least > 4 * NOTICEABLE


@pytest.mark.parametrize("classes", [camvid_classes(), cityscapes_classes()], ids=len)
def test_safe_colours_are_further_apart_than_official_ones(classes):
    ours = least_distance(np.concatenate([BLACK, safe(len(classes))]))
    theirs = least_distance(np.concatenate([BLACK, official(classes)]))
    assert ours > 4 * theirs


def test_fewer_safe_colours_are_a_part_of_more():
    assert np.array_equal(safe(5), safe(30)[:5])


@pytest.mark.parametrize("count", [1, 254])
def test_any_number_of_classes_gets_different_colours(count):
    assert len(np.unique(safe(count), axis=0)) == count


def test_dichromats_confuse_the_pairs_that_they_are_known_to_confuse():
    """Red and green of one lightness fall together for the red-green blind, not for the others."""
    pair = np.array([[181, 0, 33], [96, 96, 0]], dtype=np.uint8)
    seen = appearance(pair)
    apart = dict(zip(SIGHTS, np.linalg.norm(seen[0] - seen[1], axis=-1), strict=True))
    assert apart["deuteranopia"] < 0.1 < 0.2 < apart["trichromacy"]
    assert apart["tritanopia"] > 0.15


def test_white_and_black_are_the_ends_of_lightness_in_every_sight():
    seen = appearance(np.array([[0, 0, 0], [255, 255, 255]], dtype=np.uint8))
    assert np.allclose(seen[:, :, 0], [[0] * 4, [1] * 4], atol=1e-3)


def test_lookup_paints_classes_and_leaves_ignored_pixels_black():
    table = lookup(safe(3))
    label = np.array([[0, 2, IGNORE]], dtype=np.uint8)
    assert table[label].tolist() == [[*safe(3)[[0, 2]].tolist(), [0, 0, 0]]]
