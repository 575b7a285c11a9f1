"""Photographs are read as a viewer shows them; dark 16-bit images are doubted."""

import io

import forge
import imagecodecs
import numpy as np
import pytest
from networks import save_random
from PIL import Image

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.media.images import DarkImageWarning, is_photo, read_photo


def deep(kind: str, largest: int, least: int = 0) -> bytes:
    """Return an image of 16 bits a channel with values from ``least`` to ``largest``."""
    values = np.linspace(least, largest, 64 * 96).reshape(64, 96, 1).astype(np.uint16)
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


def doubts_of(path):
    doubts = []
    read_photo(path, doubts.append)
    return doubts


@pytest.mark.parametrize(
    "kind", ["grey", "grey alpha", "rgb", "rgb alpha", "grey tiff", "hot grey", "hot rgb alpha"]
)
@pytest.mark.parametrize(("largest", "factor"), [(255, 256), (3000, 16), (16383, 4)])
def test_an_image_of_fewer_bits_than_its_file_is_doubted(tmp_path, kind, largest, factor):
    (tmp_path / "a.img").write_bytes(deep(kind, largest))
    (text,) = doubts_of(tmp_path / "a.img")
    assert f"a.img: values up to {largest:,} of 65,535" in text
    assert f"Multiply its values by {factor} first" in text


@pytest.mark.parametrize(
    ("kind", "largest"),
    [
        *((kind, largest) for kind in ("grey", "rgb alpha", "grey tiff")
          for largest in (0, 16384, 65535)),
        ("light rgb", 255), ("light grey", 16383), ("hot rgb", 0), ("hot grey", 20000),
    ],
)  # fmt: skip
def test_black_full_and_lit_images_are_not_doubted(tmp_path, kind, largest):
    (tmp_path / "a.img").write_bytes(deep(kind, largest))
    assert doubts_of(tmp_path / "a.img") == []


@pytest.mark.parametrize(("shape", "doubted"), [((1, 99), False), ((99, 1), False), ((1, 1), True)])
def test_strips_are_doubted_by_their_largest_value(tmp_path, shape, doubted):
    values = np.linspace(1000, 1000 if doubted else 65535, 99).astype(np.uint16)
    (tmp_path / "a.img").write_bytes(imagecodecs.png_encode(np.resize(values, shape)))
    assert bool(doubts_of(tmp_path / "a.img")) == doubted


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_a_doubted_image_is_a_warning_in_python(tmp_path, kind):
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


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


RGB = Image.fromarray(np.indices((12, 20, 3)).sum(0).astype(np.uint8) * 7)  # smooth: for JPEG
GREY, CLEAR = RGB.convert("L"), RGB.convert("RGBA")
CLEAR.putalpha(0)
DEEP = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
WHITE = Image.new("RGB", RGB.size, "white")
TURNED = Image.Exif()
TURNED[0x0112] = 6  # shown turned clockwise
PALETTE = RGB.quantize(16)
ANY = {  # content -> as it is shown, and by how much it may differ
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


@pytest.mark.parametrize("name", ANY)
def test_images_are_read_as_they_are_shown(tmp_path, name):
    content, expected, most = ANY[name]
    (tmp_path / "a").write_bytes(content)
    found = read_photo(tmp_path / "a")
    wanted = np.array(expected.convert("RGB"))
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= most
    assert is_photo(tmp_path / "a")


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
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_and_undefined_images_are_refused(tmp_path, name):
    (tmp_path / "a.png").write_bytes(REFUSED[name])
    with pytest.raises(SgcpError, match=r"a\.png: "):
        read_photo(tmp_path / "a.png")


def test_huge_images_are_refused_by_their_header(tmp_path):
    Image.new("1", (9000, 9000)).save(tmp_path / "a.gif")
    with pytest.raises(SgcpError, match="more than 67,108,864 pixels"):
        read_photo(tmp_path / "a.gif")
