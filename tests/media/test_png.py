import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from sgcp.media.images import encode_labels, has_every_row, read_image, read_label, write_png

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(arrays.arrays(np.uint8, SHAPES), st.integers(0, 9), st.integers(0, 4))
def test_encoded_labels_are_read_back_whole(labels, level, strategy):
    with Image.open(io.BytesIO(encode_labels(labels, level, strategy))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(image), labels)


def test_rows_are_not_filtered(tmp_path):
    """What a decoder would have to undo for each row of a label map, for nothing."""
    labels = np.random.default_rng(0).integers(0, 19, (64, 128), dtype=np.uint8)
    write_png(tmp_path / "a.png", labels)
    content = (tmp_path / "a.png").read_bytes()
    packed = content[content.index(b"IDAT") + 4 : -16]  # before its checksum and the last chunk
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(64, 129)
    assert (rows[:, 0] == 0).all()
    assert np.array_equal(rows[:, 1:], labels)
    assert has_every_row(tmp_path / "a.png")


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_written_images_are_read_back(tmp_path, channels, order):
    rng = np.random.default_rng(1)
    array = np.asarray(rng.integers(0, 256, (9, 7, *channels), dtype=np.uint8), order=order)
    write_png(tmp_path / "a.png", array)
    read = read_image if channels else read_label
    assert np.array_equal(read(tmp_path / "a.png"), array)
