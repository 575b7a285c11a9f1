"""``sgcp segment``: images, videos, folders, patterns and standard input, without a project."""

import json
import shutil
import unicodedata
from pathlib import Path

import forge
import imagecodecs
import numpy as np
import pytest
from conftest import Project
from networks import random_image, save_random
from PIL import Image
from typer.testing import CliRunner
from videos import frames_of, labels_of, make_video, sound_of

import sgcp
from sgcp.datasets.label_files import read_meaning, train_ids_of
from sgcp.inference.tta import InferenceOptions
from sgcp.media.images import read_png_text
from sgcp.tools.calibration import find_images
from sgcp.tools.export import ExportOptions, export
from sgcp.tools.segment_inputs import find_media, name_outputs
from sgcp.tools.segment_outputs import render


@pytest.fixture(scope="module")
def _desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    save_random(folder)
    (folder / "trip/day").mkdir(parents=True)
    for number, name in enumerate(["street.jpg", "grey.png", "trip/a.png", "trip/day/street.JPG"]):
        image = Image.fromarray(random_image(40, 56, number))
        (image.convert("L") if name == "grey.png" else image).save(folder / name)
    return folder


@pytest.fixture
def desk(_desk, tmp_path):
    """A folder without a project: a model, two images by name, two in a folder."""
    return Project(Path(shutil.copytree(_desk, tmp_path / "desk")))


@pytest.fixture
def drive(desk):
    """The same with a video with sound."""
    make_video(desk.root / "drive.mp4", 8, sound="aac")
    return desk


def segment(desk, *arguments):
    return desk.ok("segment", *arguments, "--model", ".")


def files(folder):
    """The outputs of single images and videos."""
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return [name for name in found if name != "classes.json"]


def read(path):
    return np.array(Image.open(path))


# --- outputs


def test_each_image_gets_a_described_label_map_and_an_overlay(desk):
    assert "segmented: 4 of 4 images" in segment(desk, "street.jpg", "grey.png", "trip")
    stems = ["a", "day/street", "grey", "street"]
    assert files(desk.root / "segmented") == sorted(
        f"{stem}_{kind}.png" for stem in stems for kind in ("labels", "overlay")
    )
    model = sgcp.load(desk.root / "model.safetensors")
    image = np.array(Image.open(desk.root / "street.jpg"))
    labels = Image.open(desk.root / "segmented/street_labels.png")
    assert (np.array(labels) == model.segment(image)).all()
    colors = np.array([item.color for item in model.classes])[np.array(labels)]
    overlay = np.array(Image.open(desk.root / "segmented/street_overlay.png"))
    assert np.abs(overlay - (image / 2 + colors / 2)).max() <= 0.5
    meaning = read_meaning(read_png_text(desk.root / "segmented/street_labels.png"))
    assert meaning == train_ids_of(model.classes, model.card.dataset)


def test_only_selected_outputs_are_written(drive):
    segment(drive, "street.jpg", "--no-labels", "--no-overlay", "--colors", "--out", "x")
    assert files(drive.root / "x") == ["street_colors.png"]
    for name, options in (("street.jpg", ["--no-labels"]), ("drive.mp4", [])):
        text = drive.fails("segment", name, *options, "--no-overlay", "--model", ".")
        assert f"{name}: no output selected" in text


def test_confidence_is_that_of_predict_in_256_steps(drive):
    segment(drive, "street.jpg", "drive.mp4", "--confidence", "--no-overlay", "--no-labels")
    out = drive.root / "segmented"
    assert files(out) == ["drive_confidence.mkv", "street_confidence.png"]
    model = sgcp.load(drive.root / "model.safetensors")
    images = [read(drive.root / "street.jpg"), *frames_of(drive.root / "drive.mp4")[1]]
    written = [read(out / "street_confidence.png"), *labels_of(out / "drive_confidence.mkv")]
    for image, found in zip(images, written, strict=True):
        wanted = model.predict(image).confidence.astype(float)
        assert np.abs(found / 255 - wanted).max() <= 0.5 / 255 + 1e-9
        assert np.ptp(found) > 20


def test_pixels_below_the_threshold_get_no_class_and_no_colour(drive):
    model = sgcp.load(drive.root / "model.safetensors")
    image = read(drive.root / "street.jpg")
    prediction = model.predict(image)
    threshold = float(np.median(prediction.confidence))
    unsure = prediction.confidence < threshold
    assert 0.3 < unsure.mean() < 0.7
    segment(drive, "street.jpg", "drive.mp4", "--threshold", str(threshold), "--colors", "--labels")
    out = drive.root / "segmented"
    labels = read(out / "street_labels.png")
    assert (labels[unsure] == 255).all()
    assert (labels[~unsure] == prediction.labels[~unsure]).all()
    overlay, colors = read(out / "street_overlay.png"), read(out / "street_colors.png")
    assert (overlay[unsure] == image[unsure]).all()
    assert (colors[unsure] == 0).all()
    assert (colors[~unsure].any(-1) | (overlay[~unsure] != image[~unsure]).any(-1)).all()
    assert any((frame == 255).any() for frame in labels_of(out / "drive_labels.mkv"))


@pytest.mark.parametrize(
    "option",
    [["--confidence"], ["--threshold", "0.5"], ["drive.mp4", "--smooth", "0.5"]],
)
def test_a_model_that_gives_labels_has_no_confidence(drive, option):
    model = drive.root / "labels.onnx"
    export(str(drive.root), model, ExportOptions(labels=True))
    text = drive.fails("segment", "street.jpg", "--model", model, *option)
    assert "--confidence, --threshold, --smooth: this model was exported with --labels" in text
    assert not (drive.root / "segmented").exists()


def test_a_legend_names_the_classes_that_occur_below_the_overlay(drive):
    segment(drive, "street.jpg", "drive.mp4")
    segment(drive, "street.jpg", "drive.mp4", "--legend", "--out", "named")
    plain = read(drive.root / "segmented/street_overlay.png")
    named = read(drive.root / "named/street_overlay.png")
    assert (named[: len(plain)] == plain).all()
    strip = named[len(plain) :].reshape(-1, 3).tolist()
    model = sgcp.load(drive.root / "model.safetensors")
    labels = read(drive.root / "named/street_labels.png")
    for item in model.classes:
        assert (list(item.color) in strip) == (item.train_id in labels), item.name
    sizes = [frames_of(drive.root / folder / "drive_overlay.mp4")[1][0].shape
             for folder in ("segmented", "named")]  # fmt: skip
    assert sizes[0] == sizes[1]


def test_classes_json_names_the_values_of_the_label_maps(desk):
    segment(desk, "street.jpg", "--no-labels")
    path = desk.root / "segmented/classes.json"
    assert not path.exists()
    segment(desk, "street.jpg", "trip")
    model = sgcp.load(desk.root / "model.safetensors")
    rows = json.loads(path.read_text())
    assert [row["index"] for row in rows] == list(range(11))
    for row, item in zip(rows, model.classes, strict=True):
        wanted = {"index": item.train_id, "name": item.name, "color": [*item.color],
                  "label_id": item.label_id}  # fmt: skip
        assert row == wanted
    before = path.stat().st_mtime_ns
    segment(desk, "grey.png", "--flip")
    assert path.stat().st_mtime_ns == before


def test_classes_json_of_another_model_is_kept(desk):
    path = desk.root / "segmented/classes.json"
    path.parent.mkdir()
    path.write_text("[]")
    text = desk.fails("segment", "street.jpg", "--model", ".")
    assert "classes.json: names the classes of another model" in text
    assert path.read_text() == "[]"
    assert files(path.parent) == []
    segment(desk, "street.jpg", "--no-labels")  # which writes none
    segment(desk, "street.jpg", "--force")
    assert len(json.loads(path.read_text())) == 11


def test_json_has_the_shares_of_the_classes(drive):
    (drive.root / "broken.png").write_bytes(b"no image")
    result = drive.run("segment", "street.jpg", "trip", "drive.mp4", "broken.png", "--labels",
                       "--threshold", "0.5", "--model", ".", "--json", "result.json")  # fmt: skip
    assert result.exit_code == 1
    shares = json.loads((drive.root / "result.json").read_text())["shares"]
    assert list(shares) == ["drive.mp4", "street.jpg", "trip/a.png", "trip/day/street.JPG"]
    out = drive.root / "segmented"
    written = {"street.jpg": [read(out / "street_labels.png")],
               "drive.mp4": labels_of(out / "drive_labels.mkv")}  # fmt: skip
    for name, maps in written.items():
        labels = np.stack(maps)
        assert (labels == 255).any()
        for k, share in enumerate(shares[name].values()):
            assert share == pytest.approx((labels == k).mean(), abs=1e-6)
    assert len(shares["street.jpg"]) == 11


def test_options_are_those_of_the_segmenter(desk):
    segment(desk, "street.jpg", "--flip", "--scale", "1", "--scale", "1.5", "--window", "24", "32",
            "--input-size", "80", "112")  # fmt: skip
    model = sgcp.load(desk.root / "model.safetensors")
    image = np.array(Image.open(desk.root / "street.jpg"))
    labels = np.array(Image.open(desk.root / "segmented/street_labels.png"))
    options = InferenceOptions(flip=True, scales=(1.0, 1.5), window=(24, 32))
    assert (labels == model.segment(image, (80, 112), options)).all()
    assert (labels != model.segment(image)).any()


def test_images_of_any_size_and_mode_keep_the_size_that_is_shown(desk):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (20, 12)).save(desk.root / "turned.webp", exif=turned)
    sizes = {"turned": (12, 20)}
    for height, width in ((1, 1), (1, 300), (300, 1), (7, 5)):
        Image.fromarray(random_image(height, width)).save(desk.root / f"{height}x{width}.bmp")
        sizes[f"{height}x{width}"] = (width, height)
    segment(desk, "*.bmp", "turned.webp")
    for name, size in sizes.items():
        for kind in ("labels", "overlay"):
            written = Image.open(desk.root / f"segmented/{name}_{kind}.png")
            assert (written.size, bool(written.getexif())) == (size, False)


# --- videos


def test_video_becomes_videos_with_its_sound_and_label_maps(drive):
    make_video(drive.root / "old.avi", codec="mpeg4", ticks=25, sound="adpcm_ms")
    text = segment(drive, "drive.mp4", "old.avi", "--labels")
    assert "left out: old.avi: sound 1 (adpcm_ms)" in text
    assert "segmented: 2 of 2 videos (20 frames), " in text
    assert " frames/s (" in text
    out = drive.root / "segmented"
    assert files(out) == [f"{name}_{kind}" for name in ("drive", "old")
                          for kind in ("labels.mkv", "overlay.mp4")]  # fmt: skip
    times, frames = frames_of(drive.root / "drive.mp4")
    assert frames_of(out / "drive_overlay.mp4")[0] == times
    assert sound_of(out / "drive_overlay.mp4") == sound_of(drive.root / "drive.mp4")
    model = sgcp.load(drive.root / "model.safetensors")
    labels = labels_of(out / "drive_labels.mkv")
    assert all((a == model.segment(b)).all() for a, b in zip(labels, frames, strict=True))


# --- files that cannot be labelled


def test_unreadable_files_are_named_and_the_others_labelled(drive):
    trip = drive.root / "trip"
    (drive.root / "drive.mp4").rename(trip / "drive.mp4")
    (trip / "broken.mov").write_bytes(b"no video")
    (trip / "broken.webp").write_bytes(b"RIFF")
    (trip / "cut.png").write_bytes((trip / "a.png").read_bytes()[:200])
    (trip / "notes.txt").write_text("neither")
    result = drive.run("segment", "trip", "--model", ".")
    assert result.exit_code == 1
    for name in ("broken.mov", "broken.webp", "cut.png"):
        assert f"left out: trip/{name}: " in result.output
    assert "segmented: 2 of 4 images, 1 of 2 videos (8 frames)" in result.output
    assert len(files(drive.root / "segmented")) == 5


def test_dark_images_are_doubted_once_each_and_in_one_line_for_a_calibration(desk, capsys):
    values = np.linspace(0, 4095, 64 * 96).reshape(64, 96).astype(np.uint16)
    (desk.root / "deep").mkdir()
    for name, factor in (("a", 1), ("b", 1), ("full", 16)):
        (desk.root / f"deep/{name}.png").write_bytes(imagecodecs.png_encode(values * factor))
    text = segment(desk, "deep", "--json", "notes.json")
    notes = json.loads((desk.root / "notes.json").read_text())["notes"]
    assert len(notes) == text.count("values up to 4,095 of 65,535") == 2
    assert all(f"warning: {note}" in text for note in notes)
    assert len(find_images(desk.root / "deep", 3)) == 3
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "of 65,535" in line]
    assert f"warning: {desk.root}/deep/a.png: values up to 4,095" in line
    assert line.endswith("and 1 more")


# --- runs after an earlier one


def test_a_second_run_skips_what_is_finished(drive):
    inputs = ("street.jpg", "grey.png", "drive.mp4")
    assert "skipped" not in segment(drive, *inputs)
    out = drive.root / "segmented"
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    (out / "grey_overlay.png").unlink()  # as a kill would leave it
    text = segment(drive, *inputs, "trip", "--json", "result.json")
    assert "4 of 4 images, 1 of 1 videos (0 frames), 2 of them skipped" in text
    result = json.loads((drive.root / "result.json").read_text())
    assert (result["labelled"], result["skipped"]) == (3, 2)
    for name in ("street_labels.png", "street_overlay.png", "drive_overlay.mp4"):
        assert (out / name).stat().st_mtime_ns == before[out / name]
    assert "skipped" not in segment(drive, *inputs, "--force")


def test_a_second_run_skips_what_is_finished_of_every_kind(drive):
    every = ("trip", "drive.mp4", "--labels", "--colors", "--confidence", "--legend",
             "--threshold", "0.4")  # fmt: skip
    segment(drive, *every)
    out = drive.root / "segmented"
    assert len(files(out)) == 3 * 4
    assert (out / "day/street_confidence.png").is_file()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert "1 of 1 videos (0 frames), 3 of them skipped" in segment(drive, *every)
    (out / "a_confidence.png").unlink()
    assert "2 of them skipped" in segment(drive, *every)
    again = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    assert {path.name for path in before if again[path] != before[path]} == {
        f"a_{kind}.png" for kind in ("labels", "colors", "overlay", "confidence")
    }
    for other in ([*every[:-1], "0.5"], [option for option in every if option != "--legend"]):
        assert "Pass --force" in drive.fails("segment", *other, "--model", ".")


@pytest.mark.parametrize("changed", ["options", "model", "image", "labels", "video"])
def test_outputs_of_other_settings_are_neither_skipped_nor_overwritten(drive, changed):
    source, target = "street.jpg", "street_labels.png"
    if changed == "video":
        source, target = "drive.mp4", "drive_overlay.mp4"
    segment(drive, source)
    options = {"options": ["--flip"], "video": ["--alpha", "1"]}.get(changed, [])
    if changed == "model":
        save_random(drive.root, input_side=48)
    elif changed == "image":
        Image.fromarray(random_image(40, 56, 7)).save(drive.root / "street.jpg")
    elif changed == "labels":  # edited by hand
        path = drive.root / "segmented/street_labels.png"
        Image.open(path).save(path)
    before = {p: p.read_bytes() for p in (drive.root / "segmented").iterdir()}
    text = drive.fails("segment", source, *options, "--model", ".")
    assert target in text
    assert "Pass --force" in text
    assert {p: p.read_bytes() for p in (drive.root / "segmented").iterdir()} == before
    segment(drive, source, "--force", *options)


def test_running_again_after_an_interruption_resumes(desk, monkeypatch):
    written = []

    def stop(*given):
        if written:
            raise KeyboardInterrupt
        written.append(given)
        return render(*given)

    with monkeypatch.context() as patch:
        patch.setattr("sgcp.tools.segment.render", stop)
        assert desk.run("segment", "street.jpg", "grey.png", "--model", ".").exit_code == 130
    assert "2 of 2 images, 1 of them skipped" in segment(desk, "street.jpg", "grey.png")


def test_results_of_an_earlier_run_are_not_inputs(desk):
    for options in ([], ["--force"]):
        assert "4 of 4 images" in segment(desk, ".", *options)


def test_inputs_and_folders_are_not_overwritten(desk):
    (desk.root / "street_overlay.png").write_bytes((desk.root / "grey.png").read_bytes())
    text = desk.fails("segment", "street.jpg", "street_overlay.png", "--out", ".", "--force",
                      "--model", ".")  # fmt: skip
    assert "street_overlay.png: is both an input and an output" in text
    (desk.root / "segmented/street_labels.png").mkdir(parents=True)
    for options in ([], ["--force"]):
        text = desk.fails("segment", "street.jpg", "--model", ".", *options)
        assert "segmented/street_labels.png: is a folder" in text


# --- inputs


def test_sub_folders_are_kept(desk):
    for folder in ("drive/one/left", "drive/two/left"):
        (desk.root / folder).mkdir(parents=True)
        Image.fromarray(random_image(40, 56)).save(desk.root / folder / "0001.png")
    expected = ["one/left/0001_labels.png", "two/left/0001_labels.png"]
    for out, paths in {
        "one": ["drive"],
        "pattern": ["drive/*/left/*.png"],
        "absolute": [desk.root / "drive/one/left", desk.root / "drive/two/left"],
    }.items():
        segment(desk, *paths, "--no-overlay", "--out", out)
        assert files(desk.root / out) == expected, out
    segment(desk, "drive/one/left", "street.jpg", "./street.jpg", "--no-overlay", "--out", "mixed")
    assert files(desk.root / "mixed") == ["0001_labels.png", "street_labels.png"]


def test_linked_folders_are_entered_and_each_file_is_found_once(tmp_path):
    trip, day = tmp_path / "trip", tmp_path / "elsewhere/day"
    trip.mkdir()
    day.mkdir(parents=True)
    for place in (trip, day.parent, day):
        (place / f"{place.name}.png").write_bytes(forge.png((8, 8)))
    for link, target in {"a": day.parent, "b": day.parent, "c": day, "self": trip}.items():
        (trip / link).symlink_to(target)
    (day / "up").symlink_to(trip)
    assert find_media([trip], tmp_path / "out") == {
        trip / "a/day/day.png": Path("a/day"),
        trip / "a/elsewhere.png": Path("a"),
        trip / "trip.png": Path(),
    }


def test_names_of_outputs_are_unique_and_stay_below_the_folder(tmp_path):
    images = map(Path, ["a/1.png", "/1.png", "b/1.png", "c/b/1.png", "A/1.PNG"])
    named = name_outputs(dict.fromkeys(images, Path()), tmp_path).values()
    stems = [path.relative_to(tmp_path).as_posix() for path in named]
    assert stems == ["1", "1.png", "b_1.png", "b_1.png_2", "A_1.PNG"]
    forms = [unicodedata.normalize(form, "\u00e9") for form in ("NFC", "NFD")]
    for first, second in (forms, forms[::-1]):
        media = {Path(f"a/{first}.png"): Path(), Path(f"b/{second}.png"): Path()}
        named = name_outputs(media, tmp_path).values()
        assert len({unicodedata.normalize("NFC", str(name)) for name in named}) == 2


def test_patterns_are_expanded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "holiday/day").mkdir(parents=True)
    for name in ("1.jpg", "day/2.jpg", "day/3.png", "day/[4].jpg", "day/5.txt", "day/6.mp4"):
        (tmp_path / "holiday" / name).touch()

    def found(pattern, out="segmented"):
        return [path.name for path in find_media([Path(pattern)], Path(out))]

    assert found("holiday/**/*.jpg") == ["1.jpg", "2.jpg", "[4].jpg"]
    assert found("holiday/**") == ["1.jpg", "2.jpg", "3.png", "6.mp4", "[4].jpg"]
    assert found("holiday/day/[4].jpg") == ["[4].jpg"]
    assert found("*/day/?.png") == ["3.png"]
    assert found("holiday/**", out="holiday/day") == ["1.jpg"]


def test_standard_input(drive, monkeypatch):
    monkeypatch.chdir(drive.root)

    def piped(content, *options):
        from sgcp.cli import app

        return CliRunner().invoke(app, ["segment", "-", "--model", ".", *options], input=content)

    street = (drive.root / "street.jpg").read_bytes()
    assert piped(street).exit_code == 0
    assert files(drive.root / "segmented") == ["stdin_labels.png", "stdin_overlay.png"]
    assert "1 of 1 images, 1 of them skipped" in piped(street).output
    other = piped(forge.png((8, 8)))
    assert other.exit_code == 1
    assert "stdin_labels.png and 1 more: exists" in other.stderr
    assert piped((drive.root / "drive.mp4").read_bytes(), "--out", "x").exit_code == 0
    assert files(drive.root / "x") == ["stdin_overlay.mp4"]
    for content, message in ((b"", "standard input is empty"), (b"hello" * 99, "standard input: ")):
        result = piped(content, "--out", "y")
        assert result.exit_code == 1
        assert message in result.output + result.stderr
        assert files(drive.root / "y") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg: no such file or folder"),
        (["empty"], "empty: no image or video"),
        (["*.gif"], "*.gif: no image or video"),
        (["street.jpg", "--scale", "0"], "--scale: "),
        (["street.jpg", "--window", "0", "8"], "--window: "),
        (["street.jpg", "--model", "nobody"], "no model 'nobody'"),
        (["street.jpg", "--alpha", "1.5"], "--alpha: "),
        (["street.jpg", "--alpha", "nan"], "--alpha: "),
        (["street.jpg", "--smooth", "0.5"], "--smooth: of videos, cameras and streams alone"),
        (["street.jpg", "--threshold", "60"], "--threshold: expected 0 .. 1, got 60"),
    ],
)
def test_wrong_arguments_are_refused(desk, monkeypatch, arguments, message):
    monkeypatch.chdir(desk.root)
    (desk.root / "empty").mkdir()
    options = [] if "--model" in arguments else ["--model", "."]
    assert message in desk.fails("segment", *arguments, *options)
