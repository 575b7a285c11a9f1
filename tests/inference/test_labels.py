"""Labels from stride-8 scores, against torch's resizing and argmax of all of them."""

import shutil
import sysconfig
import tracemalloc
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sgcp.inference import labels as module

ROUNDING = 1e-5  # of the range of the scores


def label(scores, size):
    """Return labels, after comparing those of C with those of numpy."""
    labels = module.label_pixels(scores, size)
    with patch.object(module, "compiled", None):
        assert np.array_equal(module.label_pixels(scores, size), labels)
    return labels


HEADER = Path(sysconfig.get_paths()["include"], "Python.h")


@pytest.mark.skipif(not (shutil.which("cc") and HEADER.is_file()), reason="has no C compiler")
def test_labels_are_compiled_where_there_is_a_compiler():
    assert module.compiled is not None


def resized(scores, size):
    """The plain way, in double precision: (K, H, W)."""
    return F.interpolate(
        torch.from_numpy(scores).double()[None], size=size, mode="bilinear", align_corners=False
    )[0].numpy()


def differences(scores, size):
    """Where labels differ from the plain way: by how much they score less, over the largest.

    Not over the range: equal scores differ by rounding alone.
    """
    labels = label(scores, size)
    assert labels.shape == size
    assert labels.dtype == np.uint8
    plain = resized(scores, size)
    lost = plain.max(0) - np.take_along_axis(plain, labels[None].astype(np.intp), 0)[0]
    return lost[labels != plain.argmax(0)] / max(float(np.abs(scores).max()), 1e-30)


def smooth(random, classes, size):
    coarse = random.normal(size=(classes, 2, 3)).astype(np.float32)
    wide = resized(coarse, size).astype(np.float32)
    return wide + 0.05 * random.normal(size=wide.shape).astype(np.float32)


def noise(random, classes, size):
    return random.normal(size=(classes, *size)).astype(np.float32)


sides = st.integers(1, 12)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from([smooth, noise]),
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 20),
    source=st.tuples(sides, sides),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_labels_are_the_best_class_of_the_resized_scores(kind, seed, classes, source, size):
    """Up- and downscaling, odd sizes, single pixels: only where two classes are all but equal."""
    lost = differences(kind(np.random.default_rng(seed), classes, source), size)
    assert (lost < ROUNDING).all()
    assert len(lost) <= 1 + 1e-3 * size[0] * size[1]


@pytest.mark.parametrize("kind", [smooth, noise])
@pytest.mark.parametrize("offset", [0, 1e3])
def test_differences_are_rare_at_stride_8(kind, offset):
    """A common offset costs digits of every score; what is left still decides."""
    scores = kind(np.random.default_rng(3), 19, (33, 65)) + np.float32(offset)
    lost = differences(scores, (33 * 8 - 3, 65 * 8 - 5))
    assert (lost < (ROUNDING if not offset else 1e-3)).all()
    assert len(lost) < (2e-5 if not offset else 1e-3) * 261 * 515


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(2, 6),
    source=st.tuples(sides, sides),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_ties_of_whole_numbers_change_no_label_that_counts(seed, classes, source, size):
    """Few levels, so that corners and whole cells tie: a label is never a worse class."""
    scores = np.random.default_rng(seed).integers(0, 3, (classes, *source)).astype(np.float32)
    assert (differences(scores, size) < ROUNDING).all()


@pytest.mark.parametrize("tied", [(2, 5), (0, 6), (1, 2, 3)])
def test_equal_classes_take_the_lower_index(tied):
    scores = np.zeros((7, 4, 5), np.float32)
    scores[list(tied)] = 1.5
    assert (label(scores, (31, 40)) == tied[0]).all()
    assert (label(np.zeros((7, 4, 5), np.float32), (31, 40)) == 0).all()


def test_a_class_that_wins_at_no_corner_may_win_between_them():
    """Second everywhere, best in the middle: two candidates a cell would miss it."""
    scores = np.array([[[1.0, -1.0]], [[0.2, 0.2]], [[-1.0, 1.0]]], np.float32)
    labels = label(scores, (1, 16))
    assert 1 in labels
    assert (labels == resized(scores, (1, 16)).argmax(0)).all()


def test_255_classes_are_told_apart():
    scores = np.eye(255, dtype=np.float32).reshape(255, 15, 17)
    assert (label(scores, (15, 17)).ravel() == np.arange(255)).all()


def test_no_full_size_scores_are_made():
    """19 float maps of this size take 159 MB, a single one 8 MB."""
    scores = smooth(np.random.default_rng(0), 19, (128, 256))
    size = (1024, 2048)
    label(scores, size)  # tables of the axes are kept
    tracemalloc.start()
    label(scores, size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 19 * size[0] * size[1] * 4 / 4
