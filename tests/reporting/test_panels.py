"""Class colours and overlays, pixel by pixel."""

import numpy as np
import pytest

from sgcp.datasets.classes import IGNORE, camvid_classes
from sgcp.reporting.panels import BAND, blend, colorize

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
