"""Files that changed since `prepare` are noticed by every stage that reads them."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgcp.core.files import fingerprint
from sgcp.core.layout import Layout
from sgcp.datasets import stale

IMAGE = "data/raw/sample/leftImg8bit/val"
SOURCE = "data/raw/sample/gtFine/val"
STAGES = ("train", "validate", "predict", "report")


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def mirror(path: Path) -> None:
    """Replace an image by its mirror image."""
    with Image.open(path) as image:
        flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    flipped.save(path)


def drop_objects(path: Path) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"objects": content["objects"][:1]}))


def touch(root: Path) -> None:
    for path in root.rglob("*"):
        if path.is_file() and not path.name.endswith(".stamps.json"):
            os.utime(path)


@pytest.fixture
def digested(monkeypatch) -> list[Path]:
    """The files whose content is compared."""
    found: list[Path] = []
    compare = stale.is_as_described

    def record(file: stale.Known) -> bool:
        found.append(file.path)
        return compare(file)

    monkeypatch.setattr(stale, "is_as_described", record)
    return found


@pytest.fixture
def settled(monkeypatch) -> None:
    """Trust the times of files made just now; a test cannot wait until they are old."""
    monkeypatch.setattr(stale, "RECENT", 0)


@pytest.mark.parametrize(
    ("pattern", "change", "stages"),
    [
        ("data/raw/sample/leftImg8bit/train/*/*.png", mirror, ("train",)),
        ("data/raw/sample/leftImg8bit/val/*/*.png", mirror, ("train", "validate", "report")),
        ("data/raw/sample/leftImg8bit/test/*/*.png", mirror, ("predict",)),
        ("data/raw/sample/gtFine/val/*/*.json", drop_objects, ("train", "validate", "report")),
        ("data/prepared/sample/labels/val/*/*.png", mirror, ("train", "validate", "report")),
        ("data/prepared/sample/segments/val/*/*.png", mirror, ("train", "validate", "report")),
    ],
)
def test_stages_that_read_a_changed_file_name_it_and_say_prepare(trained, pattern, change, stages):
    path = first(trained.root, pattern)
    change(path)
    for stage in STAGES:
        if stage in stages:
            message = trained.fails(stage, "sample")
            assert message.startswith("error: sample: files differ from what `sgcp prepare")
            assert f"(1: {path.relative_to(trained.root)} (changed))" in message
            assert "Run `sgcp prepare sample`" in message
    assert not list((trained.root / "data").rglob("*.partial"))


def test_changed_labels_are_noticed_when_predictions_are_scored(trained, tmp_path):
    trained.set(sample__predict__split="val")
    trained.ok("predict", "sample")
    drop_objects(first(trained.root, f"{SOURCE}/*/*.json"))
    shutil.move(trained.root / "data/predictions/sample", tmp_path / "mine")
    message = trained.fails("validate", "sample", "--predictions", tmp_path / "mine")
    assert "_gtFine_polygons.json (changed)" in message


def test_changed_images_are_noticed_before_ranges_are_taken_from_them(trained, monkeypatch):
    from sgcp.cli.project import open_project
    from sgcp.core.errors import SgcpError
    from sgcp.models.card import read_card
    from sgcp.tools.calibration import Calibration

    mirror(first(trained.root, "data/raw/sample/leftImg8bit/train/*/*.png"))
    monkeypatch.chdir(trained.root)
    _, section, layout = open_project("sample")
    card = read_card(layout.model / "model.safetensors")
    calibration = Calibration(4, prepared=(layout, section))
    with pytest.raises(SgcpError, match=r"train/.*png \(changed\)"):
        calibration.read(card, None, labels=False)


@pytest.fixture
def linked(project, tmp_path) -> Path:
    """A prepared dataset linked from a folder; returns the folder."""
    source = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "train", "val", "val")):
        for kind, high in (("images", 255), ("labels", 2)):
            path = source / kind / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            shape = (64, 64, 3) if kind == "images" else (64, 64)
            Image.fromarray(rng.integers(0, high, shape).astype(np.uint8)).save(path)
    (source / "classes.csv").write_text("name,values,color\nroad,0,#010203\nsky,1,#040506\n")
    project.ok("download", "custom", "--root", source)
    project.ok("prepare", "custom")
    return source


def refused(project) -> str:
    return project.fails("train", "custom")


def test_files_are_followed_through_links(project, linked):
    mirror(linked / "images/val/2.png")
    assert "data/raw/custom/images/val/2.png (changed)" in refused(project)


def test_classes_that_changed_or_went_are_noticed(project, settled, linked):
    with (linked / "classes.csv").open("a") as file:
        file.write("car,2,#070809\n")
    assert "data/raw/custom/classes.csv (changed)" in refused(project)
    (linked / "classes.csv").unlink()
    assert "data/raw/custom/classes.csv (missing)" in refused(project)


def test_removed_and_added_files_are_named_with_what_to_do(project, linked):
    (linked / "images/val/2.png").unlink()
    raw = project.root / "data/raw/custom"
    shutil.copy(linked / "images/val/3.png", raw / "images/val/9.png")
    for litter in (".DS_Store", "._3.png"):
        (raw / "images/val" / litter).write_bytes(b"litter")
    message = refused(project)
    assert "read or wrote (2: " in message
    assert "data/raw/custom/images/val/2.png (missing)" in message
    assert "data/raw/custom/images/val/9.png (new)" in message
    assert "DS_Store" not in message
    assert "or run `sgcp download custom` and `sgcp prepare custom`" in message


def test_files_of_the_official_tools_are_no_change(prepared):
    raw = prepared.root / "data/raw/sample"
    (raw / "evaluationResults").mkdir()
    (raw / "evaluationResults/resultPixelLevelSemanticLabeling.json").write_text("{}")
    for path in [*raw.glob("gtFine/val/*/*_labelIds.png")]:
        shutil.copy(path, path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    prepared.ok("train", "sample")
    image = next(raw.glob("leftImg8bit/val/*/*.png"))
    shutil.copy(image, image.with_name(f"new_{image.name}"))
    assert f"new_{image.name} (new)" in prepared.fails("train", "sample")


def test_files_of_a_linked_folder_are_there_and_their_changes_are_seen(prepared, tmp_path):
    city = next((prepared.root / "data/raw/sample/gtFine/train").iterdir())
    shutil.move(city, tmp_path / "disk")
    city.symlink_to(tmp_path / "disk")
    prepared.ok("prepare", "sample")
    assert "resuming" not in prepared.stopped_after(0, "sample").output
    before = fingerprint(prepared.root / "data/raw/sample")
    next((tmp_path / "disk").glob("*_polygons.json")).touch()
    assert fingerprint(prepared.root / "data/raw/sample") != before


def test_unchanged_files_are_not_read(prepared, digested, settled):
    prepared.ok("prepare", "sample")
    prepared.ok("train", "sample")
    assert not digested


def test_touched_files_are_read_once_and_are_no_error(trained, digested, settled):
    touch(trained.root / "data")
    trained.ok("validate", "sample")
    assert len(digested) == 8  # 2 images, label maps, maps of segments and polygons
    trained.ok("validate", "sample")
    assert len(digested) == 8


def test_stamps_of_another_index_are_not_trusted(trained):
    path, layout = first(trained.root, f"{IMAGE}/*/*.png"), Layout(trained.root, "sample")
    mirror(path)
    content = json.loads(layout.stamps.read_text())
    content["files"][f"raw/{path.relative_to(layout.raw)}"] = stale.status_of(path)
    layout.stamps.write_text(json.dumps(content))
    trained.ok("validate", "sample")
    layout.stamps.write_text(json.dumps(content | {"index": "another"}))
    assert f"{path.name} (changed)" in trained.fails("validate", "sample")


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"index": 1}', b'{"files": [1]}'])
def test_without_stamps_every_file_is_read_and_changes_are_noticed(trained, content, digested):
    layout = Layout(trained.root, "sample")
    layout.stamps.unlink()
    if content is not None:
        layout.stamps.write_bytes(content)
    trained.ok("validate", "sample")
    assert len(set(digested)) == 8
    layout.stamps.unlink(missing_ok=True)
    mirror(first(trained.root, f"{IMAGE}/*/*.png"))
    assert "(changed)" in trained.fails("validate", "sample")


def test_source_of_labels_that_never_lay_here_is_not_missed(trained):
    Layout(trained.root, "sample").stamps.unlink()
    shutil.rmtree(trained.root / SOURCE)
    trained.ok("validate", "sample")


def test_change_within_the_same_tick_of_the_clock_is_noticed(trained, monkeypatch):
    """Size and times alone do not tell two versions apart that were written at once."""
    monkeypatch.setattr(stale, "status_of", lambda path: [1, *[2**63] * 2])
    trained.ok("validate", "sample")
    mirror(first(trained.root, f"{IMAGE}/*/*.png"))
    assert "(changed)" in trained.fails("validate", "sample")


def test_stamps_that_cannot_be_written_are_left(trained, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "read-only")

    before = Layout(trained.root, "sample").stamps.read_bytes()
    touch(trained.root / "data")
    monkeypatch.setattr(stale, "write_text", refuse)
    trained.ok("validate", "sample")
    assert Layout(trained.root, "sample").stamps.read_bytes() == before


@pytest.mark.parametrize(
    ("pattern", "change"),
    [
        ("data/raw/sample/leftImg8bit/val/*/*.png", mirror),
        ("data/raw/sample/gtFine/val/*/*.json", drop_objects),
        ("data/raw/sample/leftImg8bit/val/*/*.png", Path.unlink),
    ],
)
def test_raw_file_that_changes_while_it_is_prepared_is_an_error(
    prepared, pattern, change, monkeypatch
):
    path = first(prepared.root, pattern)
    before = (prepared.root / "data/prepared/sample/index.csv").read_bytes()
    after_converting(monkeypatch, lambda: change(path))
    message = prepared.fails("prepare", "sample")
    assert "sample: raw files changed while this ran (1: " in message
    assert str(path.relative_to(prepared.root)) in message
    assert (prepared.root / "data/prepared/sample/index.csv").read_bytes() == before


def after_converting(monkeypatch, do):
    """Do something when all label maps are made, before the index is written."""
    from sgcp.stages import prepare

    write = prepare.write_dataset
    monkeypatch.setattr(prepare, "write_dataset", lambda *given: (do(), write(*given)))


def test_raw_files_touched_while_they_are_prepared_are_no_error(prepared, monkeypatch):
    after_converting(monkeypatch, lambda: touch(prepared.root / "data/raw"))
    prepared.ok("prepare", "sample")
