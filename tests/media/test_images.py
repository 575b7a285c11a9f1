"""Images are written for every reader and read back; photographs as a viewer shows them."""

import io
import warnings
import zlib

import forge
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from networks import save_random
from PIL import Image

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.core.parallel import map_threads
from sgcp.media import images
from sgcp.media.images import (
    DarkImageWarning,
    encode_png,
    is_photo,
    read_image,
    read_label,
    read_photo,
    read_png_text,
    write_png,
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("codec")

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))
RGB = Image.fromarray(np.indices((12, 20, 3)).sum(0).astype(np.uint8) * 7)  # smooth: for JPEG
TURNED = Image.Exif()
TURNED[0x0112] = 6  # shown turned clockwise


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
    """Upright or rotated, it is decoded from its bytes in memory."""
    opened = []
    RGB.save(tmp_path / "a.png")
    RGB.save(tmp_path / "b.jpg", exif=TURNED)
    monkeypatch.setattr(images, "_read_bytes", lambda p: opened.append(p) or p.read_bytes())
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("opened again"))
    assert read_photo(tmp_path / "a.png").shape == (12, 20, 3)
    assert read_photo(tmp_path / "b.jpg").shape == (20, 12, 3)
    assert len(opened) == 2


def test_reading_in_threads_leaves_the_warning_filters_alone(tmp_path):
    Image.new("RGB", (200, 200)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    list(map_threads(read_image, [tmp_path / "a.png"] * 200, 4))
    assert list(warnings.filters) == before


def deep(kind: str, largest: int) -> bytes:
    """Return an image of 16 bits a channel with values up to ``largest``."""
    values = np.linspace(0, largest, 64 * 96).reshape(64, 96, 1).astype(np.uint16)
    if "grey" not in kind:
        values = np.repeat(values, 3, axis=2)
    if "alpha" in kind:
        values = np.concatenate([values, np.full((64, 96, 1), 65535, np.uint16)], axis=2)
    if "hot" in kind:  # lone pixels in a corner, at an edge, inside
        values[[0, 63, 20], [0, 50, 70], :1] = 65535
    if "light" in kind:
        values[20:23, 30:33] = 65535
    encode = imagecodecs.tiff_encode if "tiff" in kind else imagecodecs.png_encode
    return encode(values.squeeze())


@pytest.mark.parametrize(
    ("kind", "largest", "factor"),
    [
        *((kind, largest, factor)
          for kind in ("grey", "grey alpha", "rgb", "rgb alpha", "grey tiff", "hot grey",
                       "hot rgb alpha")
          for largest, factor in ((255, 256), (3000, 16), (16383, 4))),
        *((kind, largest, None) for kind in ("grey", "rgb alpha", "grey tiff")
          for largest in (0, 16384, 65535)),
        ("light rgb", 255, None), ("light grey", 16383, None), ("hot rgb", 0, None),
        ("hot grey", 20000, None),
    ],
)  # fmt: skip
def test_an_image_of_fewer_bits_than_its_file_is_doubted(tmp_path, codec, kind, largest, factor):
    """But not a black, a full or a lit one; without imagecodecs, none of colours."""
    factor = factor if codec == "libpng" or kind in ("grey", "grey tiff", "hot grey") else None
    (tmp_path / "a.img").write_bytes(deep(kind, largest))
    doubts = []
    read_photo(tmp_path / "a.img", doubts.append)
    assert len(doubts) == (factor is not None)
    for text in doubts:
        assert f"a.img: values up to {largest:,} of 65,535" in text
        assert f"Multiply its values by {factor} first" in text


@pytest.mark.parametrize(("shape", "doubted"), [((1, 99), False), ((99, 1), False), ((1, 1), True)])
def test_strips_are_doubted_by_their_largest_value(tmp_path, shape, doubted):
    values = np.linspace(1000, 1000 if doubted else 65535, 99).astype(np.uint16)
    (tmp_path / "a.img").write_bytes(imagecodecs.png_encode(np.resize(values, shape)))
    doubts = []
    read_photo(tmp_path / "a.img", doubts.append)
    assert bool(doubts) == doubted


def test_a_doubted_image_is_a_warning_in_python(tmp_path, codec):
    kind = "grey" if codec == "pillow" else "rgb"  # of colours, Pillow keeps 8 bits
    path = tmp_path / "dark.png"
    path.write_bytes(deep(kind, 4095))
    model = sgcp.load(save_random(tmp_path))
    with pytest.warns(DarkImageWarning, match=r"dark\.png: values up to 4,095 of 65,535"):
        model.segment(path)
    if kind == "grey":  # of colours, Pillow keeps 8 bits
        with Image.open(path) as image, pytest.warns(DarkImageWarning, match="4,095"):
            model.segment(image)
        with pytest.warns(DarkImageWarning, match="image: values up to 4,095"):
            model.segment(Image.fromarray(np.full((64, 96), 4095, np.uint16)))


GREY, CLEAR = RGB.convert("L"), RGB.convert("RGBA")
CLEAR.putalpha(0)
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
WHITE = Image.new("RGB", RGB.size, "white")
PALETTE = RGB.quantize(16)
saved = forge.saved
SHOWN = {  # content -> as it is shown, and by how much it may differ
    "L": (saved(GREY), GREY, 0),
    "LA": (saved(GREY.convert("LA")), GREY, 0),
    "RGBA": (saved(RGB.convert("RGBA")), RGB, 0),
    "transparent": (saved(CLEAR), WHITE, 0),
    "P": (saved(PALETTE), PALETTE.convert("RGB"), 0),
    "P with a hole": (saved(PALETTE, transparency=bytes(256)), WHITE, 0),
    "1": (saved(RGB.convert("1")), RGB.convert("1"), 0),
    "16-bit grey": (saved(DEEP), GREY, 0),
    "16-bit TIFF": (saved(DEEP, "TIFF"), GREY, 0),
    "CMYK": (saved(RGB.convert("CMYK"), "TIFF"), RGB, 0),
    "CMYK JPEG": (saved(RGB.convert("CMYK"), "JPEG", quality=100), RGB, 40),
    "TIFF": (saved(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "BMP": (saved(RGB, "BMP"), RGB, 0),
    "WebP": (saved(RGB, "WEBP", lossless=True), RGB, 0),
    "GIF": (saved(PALETTE, "GIF"), PALETTE.convert("RGB"), 0),
    "animated": (saved(PALETTE, "GIF", save_all=True, append_images=[WHITE.quantize(2)]),
                 PALETTE.convert("RGB"), 0),
    "turned JPEG": (saved(RGB, "JPEG", quality=100, exif=TURNED), RGB.rotate(-90, expand=True), 40),
    "turned PNG": (saved(RGB, exif=TURNED), RGB.rotate(-90, expand=True), 0),
    "second image behind": (saved(RGB, "MPO", save_all=True, append_images=[WHITE]), RGB, 60),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_images_are_read_as_they_are_shown(tmp_path, name):
    content, expected, most = SHOWN[name]
    (tmp_path / "a").write_bytes(content)
    found = read_photo(tmp_path / "a")
    wanted = np.array(expected.convert("RGB"))
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= most
    assert is_photo(tmp_path / "a")


def test_grey_of_16_bits_is_rounded_to_the_nearest_of_8(tmp_path):
    values = np.arange(0, 65536, 13, dtype=np.uint16)[None]
    write_png(tmp_path / "a.png", values)
    assert (read_photo(tmp_path / "a.png")[..., 0] == np.rint(values / 257)).all()


REFUSED = {
    "truncated WebP": saved(RGB, "WEBP")[:-40],
    "truncated GIF": saved(PALETTE, "GIF")[:-60],
    "truncated BMP": saved(RGB, "BMP")[:-60],
    "truncated TIFF": saved(RGB, "TIFF")[:-300],
    "truncated RGBA": saved(CLEAR)[:-30],
    "fewer rows than declared": forge.png((8, 8), rows=bytes(25 * 3)),
    "32-bit float": saved(GREY.convert("F"), "TIFF"),
    "32-bit integer": saved(GREY.convert("I"), "TIFF"),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "too large, by its header": saved(Image.new("1", (9000, 9000)), "GIF"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_and_undefined_images_are_refused(tmp_path, name):
    (tmp_path / "a.png").write_bytes(REFUSED[name])
    with pytest.raises(SgcpError, match=r"a\.png: "):
        read_photo(tmp_path / "a.png")
