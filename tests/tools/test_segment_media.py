"""``sgcp segment`` on everything that people have: videos, patterns, standard input, any mode."""

import io
import json
import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import av
import forge
import imagecodecs
import numpy as np
import pytest
from conftest import ROOT, Project
from networks import random_image, save_random
from PIL import Image
from typer.testing import CliRunner
from videos import frames_of, labels_of, make_video, sound_of

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.media.images import DarkImageWarning, is_photo, read_photo
from sgcp.reporting.panels import blend
from sgcp.tools.calibration import find_images
from sgcp.tools.segment_inputs import find_media, name_outputs


@pytest.fixture
def desk(tmp_path):
    """A folder without a project: a model, an image, a video with sound."""
    save_random(tmp_path)
    Image.fromarray(random_image(40, 56)).save(tmp_path / "street.jpg")
    make_video(tmp_path / "drive.mp4", 8, sound="aac")
    return Project(tmp_path)


def segment(desk, *arguments):
    return desk.ok("segment", *arguments, "--model", "model.safetensors")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def piped(desk, content, *arguments):
    """Run the command with these bytes on standard input."""
    from sgcp.cli import app

    before = Path.cwd()
    os.chdir(desk.root)
    try:
        line = ["segment", "-", *arguments, "--model", "model.safetensors"]
        return CliRunner().invoke(app, line, input=content)
    finally:
        os.chdir(before)


def test_video_becomes_a_video_with_its_sound(desk):
    text = segment(desk, "drive.mp4", "--colors")
    assert "segmented: 1 of 1 videos (8 frames), " in text
    assert text.rstrip().endswith("frames/s")
    out = desk.root / "segmented"
    assert names(out) == ["drive_colors.mp4", "drive_overlay.mp4"]
    for name in names(out):
        assert frames_of(out / name)[0] == frames_of(desk.root / "drive.mp4")[0]
        assert sound_of(out / name) == sound_of(desk.root / "drive.mp4")


def test_labels_of_a_video_are_those_of_its_frames(desk):
    segment(desk, "drive.mp4", "--labels", "--no-overlay")
    assert names(desk.root / "segmented") == ["drive_labels.mkv"]
    model = sgcp.load(desk.root / "model.safetensors")
    _, frames = frames_of(desk.root / "drive.mp4")
    labels = labels_of(desk.root / "segmented/drive_labels.mkv")
    assert all((a == model.segment(b)).all() for a, b in zip(labels, frames, strict=True))


def test_a_video_of_which_nothing_is_wanted(desk):
    text = desk.fails("segment", "street.jpg", "drive.mp4", "--no-overlay", "--model", ".")
    assert "drive.mp4: no output selected" in text


def test_folder_of_everything(desk):
    (desk.root / "trip").mkdir()
    for name in ("drive.mp4", "street.jpg"):
        (desk.root / name).rename(desk.root / "trip" / name)
    (desk.root / "trip/broken.mov").write_bytes(b"no video")
    (desk.root / "trip/broken.webp").write_bytes(b"RIFF")
    (desk.root / "trip/notes.txt").write_text("neither")
    result = desk.run("segment", "trip", "--model", ".")
    assert result.exit_code == 1
    assert "left out: trip/broken.mov: damaged or not a video" in result.output
    assert "left out: trip/broken.webp: damaged or not an image" in result.output
    assert "segmented: 1 of 2 images, 1 of 2 videos (8 frames)" in result.output
    assert names(desk.root / "segmented") == [
        "drive_overlay.mp4", "street_labels.png", "street_overlay.png"
    ]  # fmt: skip


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
@pytest.mark.parametrize(("largest", "factor"), [(255, 256), (1023, 64), (3000, 16), (16383, 4)])
def test_an_image_of_fewer_bits_than_its_file_is_doubted(tmp_path, kind, largest, factor):
    path = tmp_path / "a.img"
    path.write_bytes(deep(kind, largest))
    (text,) = doubts_of(path)
    assert f"a.img: values up to {largest:,} of 65,535" in text
    assert f"Multiply its values by {factor} first" in text


@pytest.mark.parametrize("kind", ["grey", "grey alpha", "rgb", "rgb alpha", "grey tiff"])
@pytest.mark.parametrize("largest", [0, 16384, 65535])
def test_a_black_or_a_full_image_is_not_doubted(tmp_path, kind, largest):
    path = tmp_path / "a.img"
    path.write_bytes(deep(kind, largest))
    assert doubts_of(path) == []


@pytest.mark.parametrize(
    ("kind", "largest"),
    [("light rgb", 255), ("light grey", 16383), ("hot rgb", 0), ("hot grey", 20000)],
)
def test_a_dark_image_with_a_light_is_not_doubted(tmp_path, kind, largest):
    (tmp_path / "a.img").write_bytes(deep(kind, largest))
    assert doubts_of(tmp_path / "a.img") == []


@pytest.mark.parametrize(("shape", "doubted"), [((1, 99), False), ((99, 1), False), ((1, 1), True)])
def test_strips_are_doubted_by_their_largest_value(tmp_path, shape, doubted):
    values = np.linspace(1000, 1000 if doubted else 65535, 99).astype(np.uint16)
    values = np.resize(values, shape)
    (tmp_path / "a.img").write_bytes(imagecodecs.png_encode(values))
    assert bool(doubts_of(tmp_path / "a.img")) == doubted


@pytest.mark.parametrize("kind", ["grey", "rgb"])
def test_a_doubted_image_is_warned_of_in_python(desk, kind):
    path = desk.root / "dark.png"
    path.write_bytes(deep(kind, 4095))
    model = sgcp.load(desk.root / "model.safetensors")
    with pytest.warns(DarkImageWarning, match=r"dark\.png: values up to 4,095 of 65,535"):
        model.segment(path)
    if kind == "grey":  # of colours, Pillow keeps 8 bits
        with Image.open(path) as image, pytest.warns(DarkImageWarning, match="4,095"):
            model.segment(image)
        with pytest.warns(DarkImageWarning, match="image: values up to 4,095"):
            model.segment(Image.fromarray(np.full((64, 96), 4095, np.uint16)))


def test_doubted_images_of_a_calibration_are_one_line(tmp_path, capsys):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(deep("hot rgb", 4095))
    (tmp_path / "full.png").write_bytes(deep("rgb", 65535))
    assert len(find_images(tmp_path, 4)) == 4
    lines = [line for line in capsys.readouterr().out.splitlines() if "of 65,535" in line]
    assert len(lines) == 1
    assert f"warning: {tmp_path}/a.png: values up to 4,095" in lines[0]
    assert lines[0].endswith("and 2 more")


@pytest.fixture
def linked(tmp_path):
    """A folder with links to two folders and to itself, one of which is linked twice."""
    trip, day = tmp_path / "trip", tmp_path / "elsewhere/day"
    trip.mkdir()
    day.mkdir(parents=True)
    for place in (trip, day.parent, day):
        (place / f"{place.name}.png").write_bytes(forge.png((8, 8)))
    for link, target in {"a": day.parent, "b": day.parent, "c": day, "self": trip}.items():
        (trip / link).symlink_to(target)
    (day / "up").symlink_to(trip)
    return trip


def test_linked_folders_are_entered_and_each_file_is_labelled_once(linked, tmp_path):
    assert find_media([linked], tmp_path / "out") == {
        linked / "a/day/day.png": Path("a/day"),
        linked / "a/elsewhere.png": Path("a"),
        linked / "trip.png": Path(),
    }


def test_linked_folders_are_calibrated_on(linked):
    assert {path.name for path in find_images(linked, 9)} == {
        "day.png", "elsewhere.png", "trip.png"
    }  # fmt: skip


@pytest.mark.parametrize("other", ["NFD", "NFC"])
def test_outputs_differ_in_more_than_the_form_of_their_accents(tmp_path, other):
    composed, decomposed = (unicodedata.normalize(form, "\u00e9") for form in ("NFC", "NFD"))
    media = {Path(f"a/{composed}.png"): Path(), Path(f"b/{decomposed}.png"): Path()}
    if other == "NFC":
        media = dict(reversed(media.items()))
    named = name_outputs(media, tmp_path).values()
    assert len({unicodedata.normalize("NFC", str(name)) for name in named}) == 2


def test_doubts_are_told_once_for_each_file_and_stand_in_the_document(desk):
    folder = desk.root / "deep"
    folder.mkdir()
    (folder / "dark.png").write_bytes(deep("rgb", 4095))
    (folder / "full.png").write_bytes(deep("rgb", 65535))
    Image.new("RGB", (96, 64), "gray").save(folder / "plain.png")
    result = desk.run(
        "segment", "deep", "--model", "model.safetensors", "--out", "o", "--json", "notes.json"
    )
    assert result.exit_code == 0, result.output
    assert result.output.count("warning: deep/dark.png: values up to 4,095 of 65,535") == 1
    assert "full.png" not in result.output
    notes = json.loads((desk.root / "notes.json").read_text())["notes"]
    assert len(notes) == 1
    assert notes[0].startswith("deep/dark.png: values up to 4,095")


def test_sound_left_out_is_said(desk):
    make_video(desk.root / "old.avi", codec="mpeg4", ticks=25, sound="adpcm_ms")
    text = segment(desk, "old.avi")
    assert "left out: old.avi: sound 1 (adpcm_ms), which MP4 cannot hold" in text
    assert "1 of 1 videos" in text


def test_videos_are_not_written_over_unasked(desk):
    segment(desk, "drive.mp4")
    before = (desk.root / "segmented/drive_overlay.mp4").read_bytes()
    assert "1 of 1 videos (0 frames), 1 of them skipped" in segment(desk, "drive.mp4")
    text = desk.fails("segment", "drive.mp4", "--model", ".", "--alpha", "1")
    assert "segmented/drive_overlay.mp4: exists" in text
    segment(desk, "drive.mp4", "--force", "--alpha", "1")
    assert (desk.root / "segmented/drive_overlay.mp4").read_bytes() != before


def test_patterns_are_expanded_here(desk, monkeypatch):
    monkeypatch.chdir(desk.root)
    (desk.root / "holiday/day").mkdir(parents=True)
    for name in ("1.jpg", "day/2.jpg", "day/3.png", "day/[4].jpg", "day/5.txt"):
        (desk.root / "holiday" / name).touch()

    def found(pattern, out="segmented"):
        return [path.name for path in find_media([Path(pattern)], Path(out))]

    assert found("holiday/**/*.jpg") == ["1.jpg", "2.jpg", "[4].jpg"]
    assert found("holiday/**") == ["1.jpg", "2.jpg", "3.png", "[4].jpg"]
    assert found("holiday/day/[4].jpg") == ["[4].jpg"]
    assert found("*/day/?.png") == ["3.png"]
    assert found("holiday/**", out="holiday/day") == ["1.jpg"]  # results of another time
    assert "drive.mp4" in found("*")
    text = desk.fails("segment", "holiday/*.bmp", "--model", ".")
    assert "holiday/*.bmp: no image or video" in text


def test_image_on_standard_input(desk):
    result = piped(desk, (desk.root / "street.jpg").read_bytes())
    assert result.exit_code == 0, result.output
    assert names(desk.root / "segmented") == ["stdin_labels.png", "stdin_overlay.png"]
    again = piped(desk, (desk.root / "street.jpg").read_bytes())
    assert "1 of 1 images, 1 of them skipped" in again.output
    other = piped(desk, saved(Image.fromarray(random_image(8, 8))))
    assert other.exit_code == 1
    assert "stdin_labels.png and 1 more: exists" in other.stderr


def test_video_on_standard_input(desk):
    result = piped(desk, (desk.root / "drive.mp4").read_bytes(), "--out", "x")
    assert result.exit_code == 0, result.output
    assert names(desk.root / "x") == ["stdin_overlay.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "standard input is empty"), (b"hello" * 99, "standard input: damaged or not a")],
)
def test_nonsense_on_standard_input(desk, content, message):
    result = piped(desk, content)
    assert result.exit_code == 1
    assert message in result.output + result.stderr
    assert not list((desk.root / "segmented").iterdir())


@pytest.mark.parametrize("alpha", [0, 0.3, 0.5, 1])
def test_alpha_is_the_share_of_the_colours(alpha):
    image, colors = random_image(9, 7), random_image(9, 7, 1)
    exact = image * (1 - alpha) + colors * alpha
    assert np.abs(blend(image, colors, alpha) - exact).max() <= 1
    if alpha in (0, 1):
        assert (blend(image, colors, alpha) == exact).all()


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


def test_outputs_have_the_size_of_what_is_shown(desk):
    for name in ANY:
        (desk.root / f"{name}.img").write_bytes(ANY[name][0])  # told by its content
    segment(desk, *(f"{name}.img" for name in ANY), "--out", "x")
    for name, (_, expected, _) in ANY.items():
        for kind in ("labels", "overlay"):
            written = Image.open(desk.root / f"x/{name}_{kind}.png")
            assert (written.size, bool(written.getexif())) == (expected.size, False)


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


def test_any_size(desk):
    sizes = [(1, 1), (1, 300), (300, 1), (7, 5)]
    for height, width in sizes:
        Image.fromarray(random_image(height, width)).save(desk.root / f"{height}x{width}.bmp")
    segment(desk, "*.bmp")
    for height, width in sizes:
        labels = Image.open(desk.root / f"segmented/{height}x{width}_labels.png")
        assert labels.size == (width, height)


@pytest.mark.integration
def test_killed_midway_leaves_no_video_of_the_final_name(desk):
    make_video(desk.root / "long.mp4", 200, (96, 128))
    process = subprocess.Popen(
        [sys.executable, "-m", "sgcp", "segment", "long.mp4", "--model", "model.safetensors"],
        cwd=desk.root,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    partial = desk.root / "segmented/long_overlay.mp4.partial"
    while not partial.exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert names(desk.root / "segmented") == [partial.name]
    segment(desk, "long.mp4")
    assert names(desk.root / "segmented") == ["long_overlay.mp4"]
    with av.open(str(desk.root / "segmented/long_overlay.mp4")) as container:
        assert container.streams.video[0].frames == 200


def test_image_that_the_model_cannot_take_leaves_the_others(desk):
    """An export of one size refuses other sizes: those are named, the rest is labelled."""
    desk.ok("export", "model.safetensors", "fixed.onnx", "--size", "40", "56")
    Image.fromarray(random_image(48, 56)).save(desk.root / "taller.png")
    result = desk.run("segment", "street.jpg", "taller.png", "--model", "fixed.onnx")
    assert result.exit_code == 1
    assert "left out: " in result.output
    assert "exported for 40x56, got 48x56" in result.output
    assert "1 of 2 images" in result.output
    assert names(desk.root / "segmented") == ["street_labels.png", "street_overlay.png"]
