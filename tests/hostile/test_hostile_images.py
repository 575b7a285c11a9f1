"""Images that can be read in two ways, or not at all: refused by name, never repaired."""

import os
import subprocess
import warnings
import zlib
from pathlib import Path

import forge
import numpy as np
import pytest
from conftest import Project
from forge import saved
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.media import images
from sgcp.media.images import read_image, read_label, read_size

pytestmark = pytest.mark.usefixtures("codec")

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8))
GREEN = Image.new("RGB", (8, 6), "green")
HALF = RGB.convert("RGBA")
HALF.putpixel((3, 2), (1, 2, 3, 254))
PALETTE = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
PALETTE.putpalette(range(12))
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    b'22-rdf-syntax-ns#"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    b'tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)

# What the header alone shows, and what only the whole file does.
IN_HEADER = {
    "16-bit grey": (forge.png((2, 2), 16, 0), "mode I;16"),
    "16-bit RGB": (forge.png((2, 2), 16, 2), "RGB;16B"),
    "16-bit RGBA": (forge.png((2, 2), 16, 6), "RGBA;16B"),
    "16-bit grey and alpha": (forge.png((2, 2), 16, 4), "LA;16B"),
    "CMYK": (saved(Image.new("CMYK", (4, 4)), "JPEG"), "mode CMYK"),
    "turned PNG": (saved(RGB, exif=forge.exif(6)), "EXIF orientation 6"),
    "mirrored JPEG": (saved(RGB, "JPEG", exif=b"Exif\0\0" + forge.exif(2)), "EXIF orientation 2"),
    "animated PNG": (saved(RGB, save_all=True, append_images=[GREEN]), "several frames"),
    "second photograph behind": (
        saved(RGB, "MPO", save_all=True, append_images=[RGB]), "several frames"),
    "animated GIF": (saved(RGB, "GIF", save_all=True, append_images=[GREEN]), "PNG or JPEG"),
    "TIFF": (saved(RGB, "TIFF"), "not an image in PNG or JPEG"),
    "65000 x 65000": (forge.png((65_000, 65_000), rows=b"\0"), "more than 67,108,864 pixels"),
    "9500 x 9500": (forge.png((9500, 9500), rows=b"\0"), "more than 67,108,864 pixels"),
    "8193 x 8192": (forge.png((8193, 8192), rows=b"\0"), "more than 67,108,864 pixels"),
    "no width": (forge.png((0, 5)), "damaged or not an image"),
    "text": (b"hello", "damaged or not an image"),
    "nothing": (b"", "damaged or not an image"),
}  # fmt: skip
IN_BODY = {
    "truncated": (saved(RGB)[:-30], "damaged"),
    "fewer rows than declared": (forge.png((8, 8), rows=bytes(25 * 3)), "damaged"),
    "partly transparent": (saved(HALF), "partly transparent"),
    "palette with a hole": (saved(PALETTE, transparency=2), "partly transparent"),
    "colour that stands for transparency": (
        saved(GREEN, transparency=(0, 128, 0)), "partly transparent"),
    "EXIF behind the pixels": (
        forge.png((2, 2), after=forge.chunk(b"eXIf", forge.exif(8))), "EXIF orientation 8"),
    "XMP behind the pixels": (
        forge.png((2, 2), after=forge.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        "EXIF orientation 6"),
    "endless comment": (
        forge.png((2, 2), before=forge.chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**23)))),
        "damaged"),
}  # fmt: skip
ALL = IN_HEADER | IN_BODY
LABELS = {
    "2 bits": (forge.png((2, 1), 2, 0, b"\0\x1b"), "stored as L;2"),  # 0..3 would read as 0..255
    "4 bits": (forge.png((2, 1), 4, 0, b"\0\x1b"), "stored as L;4"),
    "1 bit": (forge.png((2, 1), 1, 0, b"\0\x80"), "mode 1"),
    "JPEG": (saved(Image.new("L", (4, 4)), "JPEG"), "JPEG under the name of a PNG"),
    "RGB": (saved(RGB), "mode RGB"),
    "RGBA": (saved(Image.new("RGBA", (4, 4))), "mode RGBA"),
    **{name: (content, "") for name, (content, _) in ALL.items() if "palette" not in name},
}


@pytest.mark.parametrize(
    ("read", "name", "case"),
    [
        *((read_image, name, case) for name, case in ALL.items()),
        *((read_size, name, case) for name, case in IN_HEADER.items()),
        *((read_label, name, case) for name, case in LABELS.items()),
    ],
)
def test_ambiguous_or_damaged_image_is_refused(tmp_path: Path, read, name, case):
    content, message = case
    assert message in refused(read, tmp_path / "a.png", content)


def refused(read, path: Path, content: bytes) -> str:
    """Expect one SgcpError that names the file, and no warning beside it."""
    path.write_bytes(content)
    with warnings.catch_warnings(action="error"), pytest.raises(SgcpError) as caught:
        read(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("interlaced", [False, True])
def test_rows_that_are_missing_are_not_filled_with_the_first_class(tmp_path: Path, interlaced):
    """Nine rows of class 3 declared, fewer there, all checksums right: Pillow adds zeros."""
    rows = (b"\0" + b"\3" * 8) * 9
    if interlaced:
        sizes = [(1, 2), (1, 2), (2, 1), (2, 3), (4, 2), (4, 5), (8, 4)]
        rows = b"".join((b"\0" + b"\3" * width) * height for width, height in sizes)
    (tmp_path / "a.png").write_bytes(forge.png((8, 9), 8, 0, rows, interlaced=interlaced))
    assert (read_label(tmp_path / "a.png") == 3).all()
    for missing in (9, 36):
        short = forge.png((8, 9), 8, 0, rows[:-missing], interlaced=interlaced)
        assert "damaged" in refused(read_label, tmp_path / "a.png", short)
        assert "damaged" in refused(read_image, tmp_path / "a.png", short)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_indices_are_kept_at_any_depth(tmp_path: Path, bits):
    indices = np.arange(8, dtype=np.uint8).reshape(2, 4) % min(2**bits, 8)
    image = Image.fromarray(indices)
    image.putpalette([7] * 768)
    (tmp_path / "a.png").write_bytes(saved(image, bits=bits))
    assert (read_label(tmp_path / "a.png") == indices).all()


@pytest.mark.parametrize("image", [RGB, Image.new("RGB", (8, 6))], ids=["any", "black"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1", "RGBA", "LA", "P"])
def test_opaque_image_of_8_bits_becomes_the_same_rgb(tmp_path: Path, image, mode):
    image = image.convert(mode)
    expected = np.array(image.convert("RGB"))
    opaque = {"transparency": b"\xff" * 256} if mode == "P" else {}
    for content in (saved(image), saved(image, exif=forge.exif(1)), saved(image, **opaque)):
        (tmp_path / "a.png").write_bytes(content)
        assert (read_image(tmp_path / "a.png") == expected).all()
        assert read_size(tmp_path / "a.png") == (6, 8)


def test_folder_pipe_and_dangling_link_are_no_images(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("absent.png")
    for name in ("pipe.png", "folder.png", "link.png", "absent.png", "a\0.png"):
        with pytest.raises(SgcpError, match="no such image"):
            read_image(tmp_path / name)


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("ran a program"))
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    assert "not an image" in refused(read_image, tmp_path / "a.png", content)


def test_file_larger_than_any_image_is_not_read(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    assert "so big" in refused(read_image, tmp_path / "a.png", saved(RGB))


LABEL = np.random.default_rng(1).integers(0, 4, (4, 4), dtype=np.uint8).repeat(6, 0).repeat(6, 1)
PALETTED = Image.fromarray(LABEL)
PALETTED.putpalette(range(12))
VALID = [saved(Image.fromarray(LABEL)), saved(PALETTED)]  # decoded by libpng, by Pillow


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(VALID), st.integers(0, 10**4), st.integers(1, 255))
def test_no_flipped_byte_changes_a_label_unnoticed(tmp_path_factory, valid, place, mask):
    """Pillow decodes some of them without complaint: the checksums lie beside the pixels."""
    path = tmp_path_factory.getbasetemp() / "flipped.png"
    data = bytearray(valid)
    data[place % len(data)] ^= mask
    path.write_bytes(bytes(data))
    try:
        found = read_label(path)
    except SgcpError:
        return
    assert np.array_equal(found, LABEL)


CHUNKS = st.tuples(
    st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"acTL", b"fcTL", b"iCCP", b"zTXt",
                     b"IDAT", b"IEND", b"gAMA", b"pHYs", b"sRGB", b"abCd"]),
    st.binary(max_size=40),
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    wh=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    form=st.sampled_from([(1, 0), (2, 0), (8, 0), (16, 0), (8, 2), (8, 3), (8, 4), (8, 6)]),
    rows=st.none() | st.binary(max_size=300),
    before=st.lists(CHUNKS, max_size=3),
    after=st.lists(CHUNKS, max_size=2),
)
def test_any_chunks_give_an_image_or_an_error(tmp_path_factory, wh, form, rows, before, after):
    path = tmp_path_factory.getbasetemp() / "forged.png"
    around = [b"".join(forge.chunk(*part) for part in parts) for parts in (before, after)]
    path.write_bytes(forge.png(wh, *form, rows, *around))
    for read, shape in ((read_image, (*wh[::-1], 3)), (read_label, wh[::-1])):
        try:
            found = read(path)
        except SgcpError:
            continue
        assert found.dtype == np.uint8
        assert found.shape == shape


@settings(deadline=None, max_examples=100)
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", forge.PNG, b"\xff\xd8\xff"]))
def test_any_bytes_are_an_error(tmp_path_factory, content, start):
    path = tmp_path_factory.getbasetemp() / "bytes.png"
    path.write_bytes(start + content)
    for read in (read_image, read_label, read_size):
        with pytest.raises(SgcpError):
            read(path)


@pytest.mark.parametrize("name", ["16-bit RGB", "turned PNG"])
def test_prepare_stops_at_such_an_image_and_keeps_what_it_had(prepared: Project, name):
    image = next((prepared.root / "data/raw/sample/leftImg8bit/train").rglob("*.png"))
    image.write_bytes(IN_HEADER[name][0])
    before = forge.snapshot(prepared.root / "data")
    text = prepared.fails("prepare", "sample")
    assert image.name in text
    assert IN_HEADER[name][1] in text
    assert forge.snapshot(prepared.root / "data") == before


def test_training_stops_at_a_transparent_image(prepared: Project, monkeypatch):
    """It becomes one after the stage compared its files."""
    monkeypatch.setattr("sgcp.stages.train.refuse_stale", lambda *_: None)
    image = next((prepared.root / "data/raw/sample/leftImg8bit/train").rglob("*.png"))
    image.write_bytes(saved(Image.new("RGBA", (128, 64))))
    assert f"{image.name}: is partly transparent" in prepared.fails("train", "sample")
    assert not (prepared.root / "data/models").exists()
