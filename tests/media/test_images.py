"""Images are written for every reader, and read back as they were."""

import io
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads
from sgcp.media import images
from sgcp.media.images import encode_png, read_image, read_label, read_png_text, write_png

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    '22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


@given(arrays.arrays(np.uint8, SHAPES))
def test_label_map_is_grey_without_line_filters_and_with_its_text(labels):
    content = encode_png(labels, {"title": "a"})
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode, image.info) == ("PNG", "L", {"title": "a"})
        assert np.array_equal(np.asarray(image), labels)
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    rows = zlib.decompress(content[start + 4 : start + 4 + length])
    assert not any(rows[:: labels.shape[1] + 1])


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_written_images_are_read_back(tmp_path, channels, order):
    rng = np.random.default_rng(1)
    array = np.asarray(rng.integers(0, 256, (9, 7, *channels), dtype=np.uint8), order=order)
    write_png(tmp_path / "a.png", array, {"key": "words"})
    read = read_image if channels else read_label
    assert np.array_equal(read(tmp_path / "a.png"), array)
    assert read_png_text(tmp_path / "a.png") == {"key": "words"}


def test_an_image_is_read_from_disk_once(tmp_path, monkeypatch):
    """Upright or rotated: every look at it is one at its bytes in memory."""
    opened = []
    monkeypatch.setattr(images, "_read_bytes", lambda p: opened.append(p) or p.read_bytes())
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("opened again"))
    for name, options in (("a.png", {}), ("b.jpg", {"exif": Image.Exif()})):
        if options:
            options["exif"][0x0112] = 6
        with io.BytesIO() as file:
            Image.new("RGB", (8, 6)).save(file, name[2:].replace("jpg", "jpeg"), **options)
            (tmp_path / name).write_bytes(file.getvalue())
    assert images.read_photo(tmp_path / "a.png").shape == (6, 8, 3)
    assert images.read_photo(tmp_path / "b.jpg").shape == (8, 6, 3)
    assert len(opened) == 2


def test_reading_in_threads_leaves_the_warning_filters_alone(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(40)]
    for file in files:
        Image.fromarray(np.full((200, 200, 3), 7, np.uint8)).save(file)
    before = list(warnings.filters)
    list(map_threads(read_image, files * 5, 4))
    assert list(warnings.filters) == before


def test_orientation_in_xmp_behind_the_pixels_is_refused(tmp_path):
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP)
    path = tmp_path / "turned.png"
    Image.fromarray(np.zeros((9, 5, 3), np.uint8)).save(path, pnginfo=info)
    content = path.read_bytes()
    start = content.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    chunk, rest = content[start:end], content[:start] + content[end:]
    path.write_bytes(rest[:-12] + chunk + rest[-12:])  # before IEND, behind IDAT
    with pytest.raises(SgcpError, match="EXIF orientation 6"):
        read_image(path)
