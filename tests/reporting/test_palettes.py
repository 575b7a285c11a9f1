"""Colours of classes, for every kind of colour vision."""

import numpy as np
import pytest

from sgcp.datasets.classes import IGNORE, camvid_classes, cityscapes_classes
from sgcp.reporting.palettes import distinct, lookup, official, safe

BLACK = np.zeros((1, 3), dtype=np.uint8)  # of ignored pixels
NOTICEABLE = 0.02  # in OKLab, by CSS Color 4
# Linear RGB as seen without one kind of cone: Machado, Oliveira and Fernandes, "A
# Physiologically-based Model for Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009,
# severity 1.0.
SIGHTS = np.array(
    [
        np.eye(3),
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]],  # protanopia
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]],  # deuteranopia
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]],  # tritanopia
    ]
)  # fmt: skip
# Ottosson, "A perceptual color space for image processing", 2020.
TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
TO_OKLAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


def least_distance(colors: np.ndarray) -> float:
    """Return how far apart, in OKLab, the most similar of (K, 3) are, in the worst sight."""
    share = colors / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)  # IEC sRGB
    seen = np.einsum("kc,sdc->ksd", linear, SIGHTS).clip(0, 1)
    lab = np.cbrt(seen @ TO_CONES.T) @ TO_OKLAB.T  # (K, 4, 3)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1).min(axis=-1)
    return distance[np.triu_indices(len(colors), 1)].min()


def test_official_colours_are_those_of_the_classes():
    colors = official(cityscapes_classes())
    assert (colors.shape, colors.dtype) == ((19, 3), np.uint8)
    assert colors[0].tolist() == [128, 64, 128]  # road


@pytest.mark.parametrize(("count", "least"), [(2, 0.25), (8, 0.13), (11, 0.11), (19, 0.085)])
def test_safe_colours_stay_apart_in_every_colour_vision(count, least):
    """From each other and from black, by several just noticeable differences."""
    colors = distinct(count)
    assert colors.shape == (count, 3)
    assert least_distance(np.concatenate([BLACK, colors])) >= least > 4 * NOTICEABLE


@pytest.mark.parametrize("classes", [camvid_classes(), cityscapes_classes()], ids=len)
def test_safe_colours_are_further_apart_than_official_ones(classes):
    ours = least_distance(np.concatenate([BLACK, safe(classes)]))
    theirs = least_distance(np.concatenate([BLACK, official(classes)]))
    assert ours > 3 * theirs


@pytest.mark.parametrize("classes", [camvid_classes(), cityscapes_classes()], ids=len)
def test_safe_colours_are_like_the_official_ones(classes):
    """The sky is rather blue than red, and nothing is near white."""
    colors = safe(classes).astype(int)
    (sky,) = (colors[item.train_id] for item in classes if item.name.lower() == "sky")
    assert sky[2] > sky[0]
    assert colors.min(axis=1).max() < 225
    near = np.abs(colors - official(classes)).sum(1).mean()
    assert near < np.abs(distinct(len(classes)).astype(int) - official(classes)).sum(1).mean()


def test_254_classes_have_different_colours():
    assert len(np.unique(distinct(254), axis=0)) == 254


def test_lookup_paints_classes_and_leaves_ignored_pixels_black():
    table = lookup(distinct(3))
    label = np.array([[0, 2, IGNORE]], dtype=np.uint8)
    assert table[label].tolist() == [[*distinct(3)[[0, 2]].tolist(), [0, 0, 0]]]
