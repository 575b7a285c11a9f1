"""Class colours and overlays, pixel by pixel."""

import numpy as np
import pytest

from sgcp.datasets.classes import IGNORE, camvid_classes
from sgcp.reporting.palettes import WRONG
from sgcp.reporting.panels import (
    BAND,
    LEGEND_WIDTH,
    RIGHT,
    add_legend,
    blend,
    colorize,
    error_map,
    panel,
)

CLASSES = camvid_classes()


def test_colorize_paints_each_class_in_its_colour_and_the_rest_black():
    label = np.array([[0, 10, 3], [11, 254, IGNORE]], np.uint8)
    black = (0, 0, 0)
    expected = [[CLASSES[train_id].color for train_id in (0, 10, 3)], [black] * 3]
    assert (colorize(label, CLASSES) == expected).all()


@pytest.mark.parametrize("height", [1, BAND, 2 * BAND + 5])
@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_an_overlay_is_the_rounded_mean_of_image_and_colours(height, alpha):
    image, colors = np.random.default_rng(0).integers(0, 256, (2, height, 7, 3), np.uint8)
    share = round(alpha * 256) / 256
    expected = np.floor(image * (1 - share) + colors * share + 0.5)
    assert (blend(image, colors, alpha) == expected).all()


def test_errors_are_orange_right_pixels_grey_and_ignored_ones_black():
    label, prediction = np.array([[0, 1, IGNORE]], np.uint8), np.array([[0, 2, 3]], np.uint8)
    assert (error_map(label, prediction) == [[RIGHT, WRONG, (0, 0, 0)]]).all()


def test_a_panel_mixes_no_colours_of_classes_and_its_legend_names_those_of_both_maps():
    label, prediction = np.full((2, 64, 1001), 3, np.uint8)
    label[:, 333:], prediction[:, 500:] = 4, 5
    sheet = panel(np.zeros((64, 1001, 3), np.uint8), label, prediction, CLASSES)
    colors = [CLASSES[train_id].color for train_id in (3, 4, 5, 6)]
    truth, found = sheet[40, 640:], sheet[81, :640]  # the lowest rows, below the titles
    assert {*map(tuple, truth.tolist())} == {*colors[:2]}
    assert {*map(tuple, found.tolist())} == {colors[0], colors[2]}
    named = {*map(tuple, sheet[82:].reshape(-1, 3).tolist())}
    assert [color in named for color in colors] == [True, True, True, False]


def test_a_legend_grows_with_the_width_of_its_image():
    heights = []
    for times in (1, 2):
        label = np.zeros((4, LEGEND_WIDTH * times), np.uint8)
        image = np.zeros((*label.shape, 3), np.uint8)
        heights.append(len(add_legend(image, label, CLASSES)) - 4)
    assert heights[1] == 2 * heights[0]
