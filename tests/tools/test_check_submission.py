"""`sgcp check-submission` as people and scripts use it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Project
from PIL import Image
from submissions import (
    FIRST,
    FULL,
    GOOD,
    PREDICTIONS,
    SIZE,
    STEMS,
    png,
    scene,
    write_folder,
    write_zip,
)

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import SemanticClass, cityscapes_classes
from sgcp.datasets.index import Dataset, Item, write_dataset
from sgcp.submission import expected as expectations

BAD = GOOD | {FIRST: png(PREDICTIONS["train-ids"]), "notes.txt": b"x"}
ALL_STEMS = [
    f"{city}_{index:06d}_000019"
    for city, count in expectations.TEST_CITIES.items()
    for index in range(count)
]


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Project:
    """A folder that belongs to no project, with the images of the submission beside it."""
    for stem in STEMS:
        image = Path("cityscapes/leftImg8bit/test", stem.split("_")[0], f"{stem}_leftImg8bit.png")
        write_folder(tmp_path, {str(image): png(np.zeros((*SIZE, 3), np.uint8))})
    # Three images are the whole benchmark, so that a check against them can pass.
    monkeypatch.setattr("sgcp.tools.check_submission.PUBLISHED", len(STEMS))
    return Project(tmp_path)


@pytest.fixture
def few_published(monkeypatch):
    """Publish two cities of few images."""
    monkeypatch.setattr(expectations, "TEST_CITIES", {"berlin": 2, "bonn": 1})


# Exit codes and the report.


@pytest.mark.parametrize("folder", ["cityscapes", "cityscapes/leftImg8bit", "cityscapes/leftImg8bit/test"])  # fmt: skip # noqa: E501
def test_right_zip_passes_against_the_images_of_a_folder(nowhere, folder):
    write_zip(nowhere.root / "good.zip", GOOD)
    text = nowhere.ok("check-submission", "good.zip", "--images", folder)
    assert f"good.zip: 3 files, 3 images read\ncompared with the 3 images of {folder}\n" in text
    assert "no problems: every rule was checked" in text
    assert "exact names were not compared" not in text


def test_problems_are_a_table_with_advice_and_exit_code_1(nowhere):
    write_zip(nowhere.root / "bad.zip", BAD)
    result = nowhere.run("check-submission", "bad.zip", "--images", "cityscapes")
    assert result.exit_code == 1
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("train ids suspected" in line and f"{FIRST}: ids [0," in line for line in lines)
    assert any(line.startswith("train ids suspected: all values are train ids") for line in lines)
    assert any("(warning)" in line for line in lines)
    assert lines[-1] == "1 problem, 1 warning: the server would refuse this or score it wrongly"


def test_folder_is_checked_like_the_zip_made_of_it(nowhere):
    write_folder(nowhere.root / "results", BAD)
    write_zip(nowhere.root / "results.zip", BAD)
    texts = [
        nowhere.run("check-submission", name, "--images", "cityscapes").stdout
        for name in ("results", "results.zip")
    ]
    assert texts[0] == texts[1].replace("results.zip", "results")


def test_long_lists_show_three_examples_and_the_json_has_all(nowhere):
    write_zip(nowhere.root / "a.zip", GOOD | {f"{i}.txt": b"x" for i in range(9)})
    arguments = ("check-submission", "a.zip", "--images", "cityscapes", "--json")
    text = nowhere.ok(*arguments, "new/report.json")
    assert "2.txt" in text
    assert "3.txt" not in text
    assert "... and 6 more" in text
    report = json.loads((nowhere.root / "new/report.json").read_text())
    assert [(group["kind"], group["count"]) for group in report["warnings"]] == [("stray", 9)]
    assert [item["name"] for item in report["warnings"][0]["found"]] == [
        f"{i}.txt" for i in range(9)
    ]


def test_json_on_standard_output_is_json_alone(nowhere):
    write_zip(nowhere.root / "bad.zip", BAD)
    result = nowhere.run("check-submission", "bad.zip", "--images", "cityscapes", "--json", "-")
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert not report["passed"]
    assert report["exact_names"]
    assert report["problems"][0]["kind"] == "train-ids"
    assert report["problems"][0]["found"][0]["name"] == FIRST
    assert set(report["pixel_share"]) == {item.name for item in cityscapes_classes()}
    assert sum(report["pixel_share"].values()) == pytest.approx(1)


def test_hostile_names_reach_neither_markup_nor_terminal(nowhere):
    names = ["[bold]x[/bold].txt", "[/nothing].txt", "\x1b[31m.txt"]
    write_zip(nowhere.root / "a.zip", GOOD | dict.fromkeys(names, b"x"))
    text = nowhere.ok("check-submission", "a.zip", "--images", "cityscapes", "--json", "r.json")
    assert "[bold]x[/bold].txt" in text
    assert "[/nothing].txt" in text
    assert "\\x1b[31m.txt" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.zip",), "absent.zip: no such file or folder"),
        (("text.zip",), "text.zip: not a zip archive"),
        (("good.zip", "--images", "absent"), "absent: no such folder"),
        (("good.zip", "--images", "empty"), "has no images CITY/*_leftImg8bit.png"),
        (("good.zip", "--dataset", "sample"), "no params.yaml"),
        (("good.zip", "--images", "cityscapes", "--json", "text.zip/r.json"), "text.zip"),
    ],
)
def test_unusable_input_is_one_message(nowhere, arguments, message):
    write_zip(nowhere.root / "good.zip", GOOD)
    (nowhere.root / "text.zip").write_text("hello")
    (nowhere.root / "empty").mkdir()
    assert message in nowhere.fails("check-submission", *arguments)


@pytest.mark.parametrize("extra", [("--images", "a", "--dataset", "sample"), ("--quick",)])
def test_contradicting_or_unknown_options_are_usage_errors(nowhere, extra):
    assert nowhere.run("check-submission", "a.zip", *extra).exit_code == 2


# What is compared with.


def test_incomplete_folder_of_images_is_a_problem(nowhere, monkeypatch):
    monkeypatch.undo()
    write_zip(nowhere.root / "good.zip", GOOD)
    result = nowhere.run("check-submission", "good.zip", "--images", "cityscapes")
    assert result.exit_code == 1
    assert "3 test images are known, the" in result.stdout


def test_images_of_other_cities_set_no_number(nowhere, monkeypatch):
    monkeypatch.undo()
    name = "frankfurt_000000_000294"
    image = f"val/frankfurt/{name}_leftImg8bit.png"
    write_folder(nowhere.root, {image: png(np.zeros((*SIZE, 3), np.uint8))})
    write_zip(nowhere.root / "val.zip", {f"{name}.png": png(scene())})
    assert "no problems" in nowhere.ok("check-submission", "val.zip", "--images", "val")


def test_without_images_public_knowledge_judges_and_says_so(nowhere, few_published):
    write_zip(nowhere.root / "a.zip", dict.fromkeys(GOOD, FULL))
    text = nowhere.ok("check-submission", "a.zip")
    assert "compared with what is public of Cityscapes' test split" in text
    assert "exact names were not compared; `--images leftImg8bit/test` does that" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "all was checked but the exact names" in text


@pytest.mark.slow
def test_full_zip_of_constant_images_passes_with_warnings(nowhere):
    write_zip(nowhere.root / "a.zip", {f"results/{stem}.png": FULL for stem in ALL_STEMS})
    text = nowhere.ok("check-submission", "a.zip")
    assert "a.zip: 1525 files, 1525 images read" in text
    assert "one class alone" in text
    assert "equal images" in text


def prepare(project: Project, stems: list[str]) -> None:
    """Write an index of test images as `sgcp prepare cityscapes` does."""
    items = tuple(
        Item("test", Path(f"leftImg8bit/test/x/{stem}_leftImg8bit.png"), "x", *SIZE, stem)
        for stem in stems
    )
    dataset = Dataset("cityscapes", "fine", "cityscapes-19", cityscapes_classes(), items)
    write_dataset(project.root / "data/prepared/cityscapes", dataset)


def test_inside_a_project_its_whole_cityscapes_is_compared_with(project: Project):
    prepare(project, ALL_STEMS)
    files = {f"{stem}.png": png(scene(i)) for i, stem in enumerate(ALL_STEMS)}
    write_zip(project.root / "a.zip", files)
    text = project.ok("check-submission", "a.zip")
    assert "compared with the 1525 test images of data/prepared/cityscapes" in text
    del files[f"{ALL_STEMS[7]}.png"]
    write_zip(project.root / "a.zip", files)
    result = project.run("check-submission", "a.zip", "--json", "-")
    problems = json.loads(result.stdout)["problems"]
    assert [(p["kind"], [f["name"] for f in p["found"]]) for p in problems] == [
        ("missing", [ALL_STEMS[7]])
    ]


def test_incomplete_cityscapes_of_a_project_is_passed_over(project: Project, few_published):
    prepare(project, STEMS)
    write_zip(project.root / "a.zip", dict.fromkeys(GOOD, FULL))
    text = " ".join(project.ok("check-submission", "a.zip").split())
    assert "(not with the 3 test images of data/prepared/cityscapes, which are not all)" in text


OWN = tuple(
    SemanticClass(train_id, label_id, name, (train_id, 9, 9))
    for train_id, (name, label_id) in enumerate({"a": 7, "b": 30}.items())
)


@pytest.mark.parametrize(("dataset", "edition"), [("custom", "folder"), ("sample", "procedural")])
def test_advice_fits_the_dataset_that_is_compared_with(project: Project, dataset, edition):
    """Nothing about Cityscapes' tables, cities and server where another dataset is judged."""
    items = tuple(Item("test", Path(f"images/test/{n}.png"), "", *SIZE, n) for n in "abcdefg")
    data = Dataset(dataset, edition, "custom-1", OWN, items)
    write_dataset(project.root / "data/prepared" / dataset, data)
    values = np.resize(np.array([7, 30], np.uint8), SIZE)
    files = {
        "a.png": png(values), "a_color.png": png(np.zeros((*SIZE, 3), np.uint8)), "b.PNG": b"x",
        "c.png": png(np.resize(np.array([0, 1], np.uint8), SIZE)),
        "d.png": png(np.resize(np.array([7, 30, 255], np.uint8), SIZE)),
        "e.png": png(np.resize(np.array([7, 30, 8], np.uint8), SIZE)), "f.png": png(values.T),
        "ulm_000000_000019.png": b"x", "x/.DS_Store": b"x", "readme.txt": b"x", "../g.png": b"x",
    }  # fmt: skip
    write_zip(project.root / "a.zip", files)
    result = project.run("check-submission", "a.zip", "--dataset", dataset, "--json", "r.json")
    assert result.exit_code == 1
    kinds = {
        "missing", "double", "unknown-image", "ending", "unsafe-name", "damaged", "colour", "size",
        "train-ids", "void", "foreign-ids", "system-file", "stray",
    }  # fmt: skip
    report = json.loads((project.root / "r.json").read_text())
    found = {group["kind"] for group in report["problems"] + report["warnings"]}
    assert kinds <= found
    assert "other-split" not in found
    for text in (result.stdout, json.dumps(report)):
        for word in ("cityscapes", "Cityscapes", "trainId2label", "berlin", "the server",
                     "leftImg8bit", "<city>"):  # fmt: skip
            assert word not in text, word


def test_broken_params_do_not_matter(project: Project, few_published):
    (project.root / "params.yaml").write_text("]")
    write_zip(project.root / "a.zip", dict.fromkeys(GOOD, FULL))
    project.ok("check-submission", "a.zip")


def test_dataset_that_is_not_prepared_names_the_command(project: Project):
    write_zip(project.root / "a.zip", GOOD)
    text = project.fails("check-submission", "a.zip", "--dataset", "camvid")
    assert "run `sgcp prepare camvid` first" in text


def test_packed_submission_passes_and_a_broken_one_is_explained_alike(trained):
    """The package stage and the tool judge by the same rules, in the same words."""
    packed = "data/submissions/sample/test_result.zip"
    trained.ok("check-submission", packed, "--dataset", "sample")
    folder = trained.root / "data/predictions/sample"
    Image.fromarray(np.full((64, 128), 255, np.uint8)).save(folder / "dunham_000001_000019.png")
    refused = trained.fails("package-submission", "sample")
    command = refused.strip().splitlines()[-1]
    assert command.startswith("`sgcp check-submission data/predictions/sample --dataset sample")
    arguments = command.split("`")[1].split()[1:]
    report = json.loads(trained.run(*arguments).stdout)
    for group in report["problems"]:
        assert group["advice"].split(".")[0] in " ".join(refused.split())


def test_check_needs_neither_torch_nor_pandas(tmp_path):
    write_zip(tmp_path / "a.zip", GOOD)
    code = (
        "import sys; from typer.testing import CliRunner; from sgcp.cli import app; "
        "r = CliRunner().invoke(app, ['check-submission', 'a.zip']); assert r.exit_code == 1, r; "
        "assert 'count of a city' in r.output; "
        "sys.exit(bool({'torch', 'pandas', 'dvc'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0


def test_report_is_not_written_over_the_submission(nowhere):
    write_zip(nowhere.root / "a.zip", GOOD)
    before = (nowhere.root / "a.zip").read_bytes()
    text = nowhere.fails("check-submission", "a.zip", "--images", "cityscapes", "--json", "a.zip")
    assert "--json a.zip" in text
    assert (nowhere.root / "a.zip").read_bytes() == before


def test_predictions_to_score_are_found_by_the_same_rules(tmp_path):
    """Missing and doubled files stop `validate --predictions`; others lie there unharmed."""
    from sgcp.tools.score_predictions import find_predictions

    items = [
        Item("val", Path(f"leftImg8bit/val/x/{stem}_leftImg8bit.png"), "x", *SIZE, stem)
        for stem in STEMS
    ]
    folder = write_folder(tmp_path / "right", GOOD | {"notes.txt": b"x", "0001.png": b"x"})
    assert find_predictions(folder, items) == {stem: folder / f"{stem}.png" for stem in STEMS}
    folder = write_folder(tmp_path / "wrong", {FIRST: b"x", f"b/{FIRST}": b"x"})
    with pytest.raises(SgcpError) as error:
        find_predictions(folder, items)
    text = str(error.value)
    assert "3 problem(s), nothing was scored" in text
    assert "no prediction (2)" in text
    assert "several predictions (1)" in text


def test_copy_below_macosx_stops_scoring_as_it_stops_the_official_evaluator(tmp_path):
    from sgcp.tools.score_predictions import find_predictions

    items = [
        Item("val", Path(f"leftImg8bit/val/x/{stem}_leftImg8bit.png"), "x", *SIZE, stem)
        for stem in STEMS
    ]
    folder = write_folder(tmp_path, GOOD | {f"__MACOSX/._{FIRST}": b"x"})
    assert len(find_predictions(folder, items)) == len(STEMS)
    write_folder(folder, {f"res/__MACOSX/{FIRST}": GOOD[FIRST]})
    with pytest.raises(SgcpError, match=f"several predictions(.|\n)*__MACOSX/{FIRST}"):
        find_predictions(folder, items)
