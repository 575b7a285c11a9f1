"""The rules of a submission, on real zips and folders of tiny images."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling import getPrediction
from PIL import Image
from submissions import (
    FIRST,
    FULL,
    GOOD,
    IMAGES,
    PREDICTIONS,
    SIZE,
    STEMS,
    check,
    found,
    png,
    scene,
    write_folder,
    write_zip,
)

from sgcp.core.findings import Finding, Report
from sgcp.datasets.classes import camvid_classes, cityscapes_classes
from sgcp.datasets.label_files import ids_of, train_ids_of, write_labels
from sgcp.media.images import encode_png
from sgcp.submission import rules
from sgcp.submission.archive import Entry
from sgcp.submission.check import judge_entry, match_files
from sgcp.submission.expected import TEST_CITIES, KnownImages, PublicCityscapes
from sgcp.submission.prediction_file import judge_image
from sgcp.submission.rules import DAMAGED, SPECIAL


@pytest.fixture(params=["zip", "folder"])
def judge(request, tmp_path) -> Callable[[dict[str, bytes]], Report]:
    """Check files given by name, once as a zip and once as a folder."""
    write = write_zip if request.param == "zip" else write_folder
    target = tmp_path / ("test_result.zip" if request.param == "zip" else "results")
    return lambda files: check(write(target, files))


def test_right_predictions_have_no_finding(judge):
    report = judge(GOOD)
    assert (report.findings, report.passed, report.files, report.images) == ((), True, 3, 3)
    assert report.pixels == {item.name: 12 for item in cityscapes_classes()}


@pytest.mark.parametrize(
    "names",
    [
        ["{}.png"], ["{}_pred_labelIds.png"], ["{}5.png"], ["a/b.zip/{}.png"], ["{}.x.png"],
        ["{}.PNG"], ["{}.jpg"], ["x{}.png"], ["._{}.png"], ["{}.png", "__MACOSX/._{}.png"],
        ["{}.png", "b/{}.png"], ["{}.png", "{}_color.png"], ["{}.png", "{}.txt"],
        ["{}.png", "res/__MACOSX/{}.png"], ["__MACOSX/{}.png"], ["__MACOSX/._{}.png"],
        ["{}.png", "__MACOSX/{}.jpg"], ["{}.png", ".hidden/{}.png"],
    ],
)  # fmt: skip
def test_files_are_found_as_the_official_evaluator_finds_them(tmp_path, names):
    """Its getPrediction exits where an image has no file or several."""
    files = {name.format(stem): GOOD[f"{stem}.png"] for stem in STEMS for name in names}
    folder = write_folder(tmp_path, files)
    kinds = {"missing", "double"} & found(check(folder)).keys()
    args = SimpleNamespace(predictionPath=str(folder), predictionWalk=None)
    try:
        getPrediction(args, f"gtFine/{STEMS[0]}_gtFine_labelIds.png")
    except SystemExit:
        assert kinds
    else:
        assert not kinds


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_wrong_pixels_are_of_their_kind_alone(judge, kind):
    report = judge(GOOD | {FIRST: png(PREDICTIONS[kind])})
    assert found(report) == {kind: [FIRST]}
    assert report.passed == (kind == "one-class")


def test_details_name_what_was_found_and_what_is_expected(tmp_path):
    files = {name: png(array) for name, array in zip(GOOD, map(PREDICTIONS.get, ["size", "depth",
             "foreign-ids"]), strict=True)}  # fmt: skip
    text = [str(finding) for finding in check(write_zip(tmp_path / "a.zip", files)).findings]
    assert text == [
        f"{STEMS[0]}.png: 19 x 4, expected 4 x 19",
        f"{STEMS[1]}.png: mode I;16, expected L",
        f"{STEMS[2]}.png: ids [3]",
    ]


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ([0, 1, 8, 10, 255], {"train-ids"}),
        ([7, 8, 11], set()),  # train ids or label ids: nobody can tell, and all are allowed
        ([0, 7, 23], {"foreign-ids"}),
        ([7, 23, 255], {"void"}),
        ([7, 255], {"void"}),
        ([4, 23, 255], {"foreign-ids", "void"}),
        ([7, 34], {"foreign-ids"}),
    ],
)
def test_train_ids_are_suspected_only_where_they_explain_all_values(values, kinds):
    content = png(np.resize(np.array(values, np.uint8), SIZE))
    train_ids = {item.label_id: item.train_id for item in cityscapes_classes()}
    judgement = judge_image("a.png", content, SIZE, train_ids)
    assert {finding.kind.key for finding in judgement.findings} == kinds


@pytest.mark.parametrize("value", [8, 7])
def test_train_ids_of_ours_are_named_whatever_their_values(judge, tmp_path, value):
    """All 8: sidewalk as label id, vegetation as train id; the file says which."""
    path = tmp_path / "a.png"
    write_labels(path, np.full(SIZE, value, np.uint8), train_ids_of(cityscapes_classes()))
    report = judge(GOOD | {FIRST: path.read_bytes()})
    assert found(report) == {"train-ids": [FIRST]}
    assert "the file says so" in str(report.findings)


def test_label_ids_of_ours_have_no_finding(judge, tmp_path):
    path = tmp_path / "a.png"
    write_labels(path, scene(), ids_of(cityscapes_classes(), "cityscapes"))
    assert judge(GOOD | {FIRST: path.read_bytes()}).findings == ()


def test_train_ids_are_right_where_the_dataset_submits_them(tmp_path):
    array = np.resize(np.arange(11, dtype=np.uint8), SIZE)
    folder = write_folder(tmp_path, {"Seq05VD_f00000.png": png(array)})
    images = KnownImages({"Seq05VD_f00000": SIZE})
    assert check(folder, images, camvid_classes()).findings == ()


def test_palette_is_refused_though_its_indices_are_right(judge):
    image = Image.fromarray(scene())
    image.putpalette(list(range(256)) * 3)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert found(judge(GOOD | {FIRST: buffer.getvalue()})) == {"palette": [FIRST]}


def test_other_formats_and_damaged_files_are_told_apart(judge):
    grey = np.tile(scene(), (30, 30))
    files = {
        f"{STEMS[0]}.png": png(grey, "JPEG"),
        f"{STEMS[1]}.png": png(np.random.default_rng(0).integers(0, 34, (64, 64), np.uint8))[:900],
        f"{STEMS[2]}.png": b"",
    }
    report = judge(files)
    kinds = found(report)
    assert kinds["format"] == [f"{STEMS[0]}.png"]
    assert kinds["damaged"] == [f"{STEMS[1]}.png", f"{STEMS[2]}.png"]
    assert "JPEG under the name of a PNG" in str(report.findings)
    assert "object at 0x" not in str(report.findings)


def test_all_problems_are_listed_at_once_with_their_counts(judge):
    files = {
        f"{STEMS[0]}.png": png(PREDICTIONS["train-ids"]),
        f"a/{STEMS[0]}_color.png": png(PREDICTIONS["colour"]),
        f"{STEMS[1]}.jpg": b"x",
        "frankfurt_000000_000294.png": GOOD[FIRST],
        "aachen_000000_000019.png": GOOD[FIRST],
        "0001.png": GOOD[FIRST],
        "notes.txt": b"x",
        "more/old.ZIP": b"x",
        ".DS_Store": b"x",
        f"__MACOSX/._{STEMS[0]}.png": b"x",
        f"a/._{STEMS[2]}.png": b"x",
        "Thumbs.db": b"x",
    }
    report = judge(files)
    counts = {kind: len(names) for kind, names in found(report).items()}
    assert counts == {
        "other-split": 2, "missing": 2, "double": 1, "unknown-image": 1, "ending": 1,
        "nested-archive": 1, "colour": 1, "train-ids": 1, "system-file": 4, "stray": 1,
    }  # fmt: skip
    assert list(counts) == [
        kind.key for kind in vars(rules).values() if getattr(kind, "key", "") in counts
    ]
    assert report.files == len(files)
    assert not report.passed


def test_system_files_and_strays_alone_are_warnings(judge):
    report = judge(GOOD | {".DS_Store": b"x", "readme.md": b"x"})
    assert found(report) == {"system-file": [".DS_Store"], "stray": ["readme.md"]}
    assert report.passed


def test_upper_case_ending_is_not_found_by_the_evaluator(judge):
    files = {name.replace(".png", ".PNG"): data for name, data in GOOD.items()}
    assert {k: len(v) for k, v in found(judge(files)).items()} == {"missing": 3, "ending": 3}


def test_equal_pixels_and_absent_classes_are_warnings(judge):
    same = np.where(scene() == 33, 32, scene()).astype(np.uint8)
    other = encode_png(same, text={"title": "other bytes, equal pixels"})
    report = judge(dict.fromkeys(GOOD, png(same)) | {f"{STEMS[1]}.png": other})
    names = [f"{stem}.png" for stem in STEMS[1:]]
    assert found(report) == {"same-content": names, "absent-class": ["bicycle"]}
    assert report.passed


def test_absent_classes_are_not_told_of_train_ids(judge):
    report = judge({name: png(np.roll(PREDICTIONS["train-ids"], i)) for i, name in enumerate(GOOD)})
    assert set(found(report)) == {"train-ids"}


def test_every_image_is_judged_by_several_processes_as_by_one(tmp_path, monkeypatch):
    images = KnownImages({f"bonn_{i:06d}_000019": SIZE for i in range(40)})
    files = {f"{name}.png": png(scene(i)) for i, name in enumerate(images.sizes)}
    files["bonn_000033_000019.png"] = png(PREDICTIONS["size"])
    path = write_zip(tmp_path / "a.zip", files)
    several = check(path, images)
    monkeypatch.setattr("sgcp.submission.check.FEW", 1000)
    assert check(path, images) == several
    assert found(several)["size"] == ["bonn_000033_000019.png"]


# What is public of Cityscapes.


def public(stems: list[str], tmp_path: Path) -> dict[str, list[str]]:
    return found(check(write_zip(tmp_path / "a.zip", {f"{s}.png": FULL for s in stems}),
                       PublicCityscapes()))  # fmt: skip


def test_cities_with_too_few_images_are_counted(tmp_path):
    stems = [f"bonn_{i:06d}_000019" for i in range(47)]
    report = check(write_zip(tmp_path / "a.zip", {f"{s}.png": FULL for s in stems}),
                   PublicCityscapes())  # fmt: skip
    text = [str(f) for kind, group in report.groups() for f in group if kind.key == "city-count"]
    assert text == [
        "berlin: 0 of 544 images", "bielefeld: 0 of 181 images", "bonn: 47 of 46 images",
        "leverkusen: 0 of 58 images", "mainz: 0 of 298 images", "munich: 0 of 398 images",
    ]  # fmt: skip


def test_form_of_names_and_doubles_are_judged_without_a_list(tmp_path):
    kinds = public(
        ["bonn_000000_000019", "bonn_000000_000019_b", "bonn_1_19", "dunham_000000_000019",
         "lindau_000000_000019", "ulm_000000_000019", "Bonn_000001_000019"], tmp_path
    )  # fmt: skip
    assert kinds["double"] == ["bonn_000000_000019"]
    assert kinds["unknown-image"] == [
        "bonn_1_19.png", "dunham_000000_000019.png", "Bonn_000001_000019.png",
    ]  # fmt: skip
    assert kinds["other-split"] == ["lindau_000000_000019.png", "ulm_000000_000019.png"]


def test_public_images_are_1024_by_2048(tmp_path):
    path = write_zip(tmp_path / "a.zip", {FIRST: png(np.full((512, 1024), 7, np.uint8))})
    assert "512 x 1024, expected 1024 x 2048" in str(check(path, PublicCityscapes()).findings)


def test_published_numbers_are_those_of_the_benchmark():
    assert sum(TEST_CITIES.values()) == 1525


def test_fewer_known_images_than_published_are_a_problem(tmp_path):
    images = KnownImages(IMAGES.sizes, published=1525)
    report = check(write_zip(tmp_path / "a.zip", GOOD), images)
    assert "3 test images are known, the benchmark has 1525" in str(report.findings)
    assert not report.passed


def details(report: Report, kind: str) -> list[tuple[str, str]]:
    return [(f.name, f.detail) for f in report.findings if f.kind.key == kind]


def test_each_finding_names_its_file_and_what_is_known_of_it(tmp_path):
    one = f"{STEMS[0]}.png"
    files = GOOD | {
        f"b/{STEMS[0]}_color.png": GOOD[one],
        "preds.tar.gz": b"x",
        f"{STEMS[1]}.v2.PNG": b"x",
        "__MACOSX/notes.txt": b"x",
        "a/__MACOSX/deep.png": b"x",
        "Thumbs.db": b"x",
        "notes.txt": b"x",
    }
    report = check(write_zip(tmp_path / "r.zip", files))
    assert details(report, "double") == [(STEMS[0], f"b/{STEMS[0]}_color.png, {one}")] or details(
        report, "double"
    ) == [(STEMS[0], f"{one}, b/{STEMS[0]}_color.png")]
    assert details(report, "nested-archive") == [("preds.tar.gz", "")]
    assert details(report, "ending") == [(f"{STEMS[1]}.v2.PNG", "")]
    assert {name for name, _ in details(report, "system-file")} == {
        "__MACOSX/notes.txt", "a/__MACOSX/deep.png", "Thumbs.db",
    }  # fmt: skip
    assert details(report, "stray") == [("notes.txt", "")]
    same = details(report, "same-content")
    assert len(same) == 1
    assert same[0][1] in (f"as {one}", f"as b/{STEMS[0]}_color.png")


def test_file_that_cannot_be_read_is_damaged_and_named():
    entry = Entry("a/x.png")

    class Broken:
        def read(self, entry):
            raise OSError("no medium")

    judgement = judge_entry((entry, SIZE), Broken(), {})
    assert [(f.kind, f.name, f.detail) for f in judgement.findings] == [
        (DAMAGED, "a/x.png", "no medium")
    ]


def test_file_that_is_not_opened_says_why(tmp_path):
    finding = Finding(DAMAGED, "x", "why")
    images = KnownImages({"x": SIZE})
    answers, findings = match_files([Entry("x.png", closed=finding)], images)
    assert findings == [finding]
    assert list(answers) == ["x"]


def test_link_that_answers_no_image_is_told_as_a_link():
    link, other = Finding(SPECIAL, "y"), Finding(DAMAGED, "z")
    entries = [Entry("y.txt", closed=link), Entry("z.txt", closed=other)]
    _, findings = match_files(entries, KnownImages({}))
    assert findings[0] is link
    assert (findings[1].kind.key, findings[1].name) == ("stray", "z.txt")


def test_number_of_another_image_is_not_taken_for_a_beginning():
    images = KnownImages({"1": SIZE, "berlin_000000_000019": SIZE})
    assert images.image_of("10.png") is None
    assert images.image_of("1.png") == images.image_of("1_labels.png") == "1"
    # as the official evaluator has it
    assert images.image_of("berlin_000000_0000190.png") == "berlin_000000_000019"


def test_of_names_that_begin_alike_the_longest_counts_in_any_form_of_its_letters():
    images = KnownImages({"a": SIZE, "a_b": SIZE, "\u00e9": SIZE})
    answered = [images.image_of(f"{name}.png") for name in ("a", "a_b", "a_b_x")]
    assert answered == ["a", "a_b", "a_b"]
    assert images.image_of("e\u0301_x.png") == "\u00e9"  # as macOS writes names


FOLDERS = KnownImages(dict.fromkeys(("a/1", "b/1", "b/2"), SIZE))


def test_files_without_folders_answer_the_images_of_their_names_unless_several_have_it():
    answers, findings = match_files([Entry("1_x.png"), Entry("2.png"), Entry("3.png")], FOLDERS)
    assert {image: [entry.name for entry in found] for image, found in answers.items()} == {
        "b/2": ["2.png"]
    }
    assert [(f.kind.key, f.name, f.detail) for f in findings] == [
        ("ambiguous", "1_x.png", "a/1, b/1"), ("unknown-image", "3.png", ""),
    ]  # fmt: skip


def test_a_file_without_a_folder_answers_none_where_others_have_theirs():
    answers, findings = match_files([Entry("a/1.png"), Entry("2.png")], FOLDERS)
    assert list(answers) == ["a/1"]
    assert [(f.kind.key, f.name) for f in findings] == [("unknown-image", "2.png")]


def test_two_files_of_one_name_for_an_image_are_one_too_many():
    answers, findings = match_files([Entry("2.png"), Entry("2_ids.png")], FOLDERS)
    assert [entry.name for entry in answers["b/2"]] == ["2.png", "2_ids.png"]
    assert [(f.kind.key, f.name, f.detail) for f in findings] == [
        ("double", "b/2", "2.png, 2_ids.png")
    ]
