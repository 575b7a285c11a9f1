"""`sgcp browse`: numbers against a count by brute force, and every planted fault is found."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import forge
import numpy as np
import pytest
from conftest import Project, run_python
from PIL import Image
from scenes_at_hand import CLASSES, SIZE, Folder

from sgcp.datasets.ground_truth import ground_truth_of_labels, write_segments
from sgcp.datasets.index import read_dataset
from sgcp.inspection.checks import find_problems
from sgcp.inspection.page import contact_sheet
from sgcp.inspection.statistics import Thumb, describe_images
from sgcp.media.images import read_image, read_label, write_png
from sgcp.reporting.panels import blend

BROWSE = ("browse", "sample")


@pytest.fixture
def folder(project: Project) -> Folder:
    return Folder(project.root)


def problems(folder: Folder) -> list[tuple[str, str]]:
    dataset = folder.dataset
    found = find_problems(
        list(describe_images(dataset.items, folder.raw, folder.prepared)), dataset.classes
    )
    return [(finding.kind.key, Path(finding.name).stem) for finding in found]


def report(project: Project, *options: str) -> dict:
    result = project.run(*BROWSE, "--json", "-", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


# Numbers.


def brute_force(root: Path, raw: Path, split: str) -> dict:
    """Count a split's labels pixel by pixel."""
    dataset = read_dataset(root)
    pixels, images, sizes = Counter(), Counter(), Counter()
    items = [item for item in dataset.items if item.split == split]
    for item in items:
        sizes["x".join(map(str, read_image(raw / item.image).shape[:2]))] += 1
        if item.label is not None:
            values = read_label(root / item.label).ravel().tolist()
            pixels.update(values)
            images.update(set(values))
    labels = sum(item.label is not None for item in items)
    labelled = sum(count for value, count in pixels.items() if value != 255)
    return {
        "images": len(items),
        "labels": labels,
        "sizes": dict(sizes),
        "labelled_share": labelled / pixels.total() if labels else None,
        "classes": {
            c.name: {
                "pixels": pixels[c.train_id],
                "pixel_share": pixels[c.train_id] / labelled if labels else None,
                "images": images[c.train_id],
                "image_share": images[c.train_id] / labels if labels else None,
            }
            for c in dataset.classes
        },
    }


def test_numbers_are_those_of_a_brute_force_count(project, folder):
    label = read_label(folder.label("val", 2))
    label[4:] = 255
    write_png(folder.label("val", 2), label)
    root, raw = (project.root / "data" / kind / "sample" for kind in ("prepared", "raw"))
    for split, numbers in report(project)["splits"].items():
        for key, expected in brute_force(root, raw, split).items():
            if key == "classes":
                for name, counts in expected.items():
                    assert numbers[key][name] == pytest.approx(counts)
            else:
                assert numbers[key] == pytest.approx(expected), (split, key)
    worst = report(project)["splits"]["val"]["least_labelled"]
    assert worst[0]["name"] == "images/val/val_02.png"
    assert worst[0]["labelled_share"] == pytest.approx((4 * 32 - 2) / (24 * 32))


def test_one_split_alone_is_shown_and_all_are_compared(project, folder):
    write_png(folder.image("train", 1), read_image(folder.image("val", 0)))
    without_cars(folder, "train", range(16))
    folder.index_again()
    everything, val = report(project), report(project, "--split", "val")
    assert val["splits"] == {"val": everything["splits"]["val"]}
    assert {kind["kind"] for kind in val["suspicions"]} == {"across-splits", "untrained"}
    assert val["suspicions"] == everything["suspicions"]


def test_page_of_one_split_names_the_split(project, folder):
    page = project.root / "data/browse/sample/index.html"
    assert "nothing looks wrong, all splits looked at" in project.ok(*BROWSE, "--split", "val")
    val = page.read_text()
    assert "Images and numbers are of val alone" in val
    assert "Image val_00" in val
    assert "Image train_00" not in val
    assert "place 0 (train, val, test)" in val  # of all splits, too
    project.ok(*BROWSE)
    assert "alone" not in page.read_text()


# What looks wrong.


def test_clean_data_flags_nothing(folder):
    assert problems(folder) == []


def test_clean_sample_flags_nothing(project: Project):
    """As it comes, but for the size."""
    project.set(sample__download__train=24, sample__download__val=8)
    project.ok("download", "sample")
    project.ok("prepare", "sample")
    assert "nothing looks wrong" in project.ok(*BROWSE)


def mostly_void(label):
    label[5:] = 255
    return label


def change(path: Path, function) -> None:
    array = (read_label if "prepared" in path.parts else read_image)(path)
    write_png(path, np.ascontiguousarray(function(array)))


def without_cars(folder: Folder, split: str, numbers: range) -> None:
    for number in numbers:
        change(folder.label(split, number), lambda label: np.minimum(label, 1))


IMAGES = {
    "constant": lambda rgb: np.full_like(rgb, 90),
    "black": lambda rgb: (rgb // 20).astype(np.uint8),
    "white": lambda rgb: (255 - rgb // 20).astype(np.uint8),
    "flat": lambda rgb: (100 + rgb // 14).astype(np.uint8),
    "grey": lambda rgb: rgb[..., :1].repeat(3, -1),
    "odd-size": lambda rgb: rgb[:, :-8],
}
LABELS = {
    "unknown-ids": lambda label: np.where(label == 2, 77, label).astype(np.uint8),
    "misfit": lambda label: label[:, :-1],
    "unlabelled": mostly_void,
    "one-class": lambda label: np.zeros_like(label),
}
OTHERS = {
    "twice": (lambda f: shutil.copy(f.image("val", 0), f.image("val", 1)), "val_00"),
    "across-splits": (lambda f: shutil.copy(f.image("val", 0), f.image("test", 1)), "val_00"),
    "label-twice": (lambda f: shutil.copy(f.label("train", 1), f.label("train", 8)), "train_01"),
    "untrained": (lambda f: without_cars(f, "train", range(16)), "car"),
    "lone-class": (
        lambda f: [without_cars(f, *part) for part in (("train", range(1, 16)), ("val", range(6)))],
        "train_00",
    ),
}


@pytest.mark.parametrize("kind", IMAGES | LABELS | OTHERS)
def test_fault_is_found(folder, kind):
    if kind in IMAGES:
        change(folder.image("test", 1), IMAGES[kind])
    elif kind in LABELS:
        change(folder.label("train", 1), LABELS[kind])
    else:
        OTHERS[kind][0](folder)
    folder.index_again()
    name = "test_01" if kind in IMAGES else "train_01" if kind in LABELS else OTHERS[kind][1]
    assert problems(folder) == [(kind, name)]


def test_neighbouring_frame_in_another_split_is_found(folder):
    rgb = read_image(folder.image("train", 5))
    brighter = np.clip(rgb.astype(int) + 3, 0, 255).astype(np.uint8)
    brighter[8:12, 8:16] = brighter[8:12, 15:7:-1]  # something has moved
    write_png(folder.image("val", 1), brighter)
    folder.index_again()
    assert problems(folder) == [("nearly-across-splits", "val_01")]
    write_png(folder.image("train", 6), brighter)  # in one split, a video's frames are alike
    write_png(folder.image("val", 1), read_image(folder.image("val", 1))[:, ::-1].copy())
    folder.index_again()
    assert problems(folder) == []


def test_missing_and_damaged_files_are_found_and_the_rest_is_counted(project, folder):
    folder.image("val", 0).unlink()
    folder.label("val", 1).write_bytes(b"no image")
    assert problems(folder) == [("unreadable", "val_00"), ("unreadable", "val_01")]
    numbers = report(project)["splits"]["val"]
    assert (numbers["images"], numbers["labels"]) == (6, 5)


def test_segments_that_scores_cannot_use_are_found(folder):
    """Missing, damaged, of another size, of other classes."""
    inside = Path("segments/val/val_00.png")
    items = folder.dataset.items
    folder.index_again(
        *(replace(item, segments=inside) if item.key == "val_00" else item for item in items)
    )
    path, label = folder.prepared / inside, read_label(folder.label("val", 0))
    write_segments(path, ground_truth_of_labels(label))
    assert problems(folder) == []
    for other in (label[:, :-1], label[::-1]):
        write_segments(path, ground_truth_of_labels(other))
        assert problems(folder) == [("unreadable", "val_00")]
    path.write_bytes(b"no image")
    assert problems(folder) == [("unreadable", "val_00")]
    path.unlink()
    assert problems(folder) == [("unreadable", "val_00")]


def test_file_changed_after_preparation_is_found(folder):
    label = read_label(folder.label("train", 2))
    label[10, 10] = (label[10, 10] + 1) % 3
    write_png(folder.label("train", 2), label)
    assert problems(folder) == [("changed", "train_02")]


def test_missing_label_of_a_labelled_split_is_found(folder):
    first, *others = folder.dataset.items
    folder.index_again(replace(first, label=None), *others)
    assert problems(folder) == [("no-label", "train_00")]


# What is written.


def test_table_fits_80_columns_and_names_kind_count_and_pages(project, folder):
    folder.image("val", 0).unlink()
    text = project.ok(*BROWSE)
    assert max(map(len, text.splitlines())) <= 80
    assert "cannot be read" in text
    assert "1 thing looks wrong" in text
    assert "data/browse/sample/index.html: the images" in text


def test_contact_sheet_shows_image_and_truth_of_each_split(project, folder):
    project.ok(*BROWSE, "--images", "2")
    sheet = Image.open(project.root / "data/browse/sample/contact-sheet.png")
    assert sheet.width == 1600
    colors = {color for _, color in sheet.getcolors(2**24)}
    assert {item.color for item in CLASSES} <= colors
    few = sheet.height
    project.ok(*BROWSE, "--images", "5")
    assert Image.open(project.root / "data/browse/sample/contact-sheet.png").height > few


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_contact_sheet_blends_truth_and_image_as_overlays_are(share):
    photo = np.full((*SIZE, 3), 101, dtype=np.uint8)
    label = np.zeros(SIZE, dtype=np.uint8)
    label[12:] = 255
    sheet = contact_sheet({"val": [Thumb("one", "one.png", photo, label)]}, CLASSES, share)
    for color in (CLASSES[0].color, (0, 0, 0)):  # ignored pixels are black
        mixed = blend(photo, np.full_like(photo, color), share)[0, 0]
        exact = 101 * (1 - share) + np.array(color) * share
        assert np.abs(mixed - exact).max() <= (0 if share in (0, 1) else 1)
        assert (sheet == mixed).all(-1).sum() > 10_000


def test_before_preparation_and_with_wrong_options_nothing_is_written(project: Project):
    assert "run `sgcp prepare sample` first" in project.fails(*BROWSE)
    Folder(project.root)
    assert "--blend: 0 (the image) .. 1" in project.fails(*BROWSE, "--blend", "1.5")
    assert not (project.root / "data/browse").exists()


@pytest.mark.parametrize("name", ["contact-sheet.png", "index.html"])
def test_interrupted_run_leaves_no_old_file_beside_a_new_one(project, folder, monkeypatch, name):
    """The page is missing then, which ``write_together`` renames last."""
    project.ok(*BROWSE)
    place = project.root / "data/browse/sample"
    before = forge.snapshot(place)
    folder.image("val", 0).unlink()
    replace_file = Path.replace

    def stop(path: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise KeyboardInterrupt
        return replace_file(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        assert project.run(*BROWSE).exit_code != 0
    half = forge.snapshot(place)
    assert "index.html" not in half
    assert (half["contact-sheet.png"] == before["contact-sheet.png"]) == (name != "index.html")
    project.ok(*BROWSE)
    assert forge.snapshot(place).keys() == before.keys()


def test_browse_needs_no_torch(project, folder):
    code = (
        f"import os, sys; os.chdir({str(project.root)!r}); from typer.testing import CliRunner; "
        "from sgcp.cli import app; "
        "assert CliRunner().invoke(app, ['browse', 'sample']).exit_code == 0; "
        "print('torch' in sys.modules)"
    )
    assert run_python(code) == "False\n"
