"""Numbers side by side, and the refusal of those that do not compare."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sgcp.metrics.results import read_by_class

METRICS = "metrics/sample/validate.json"


@pytest.fixture
def two(trained):
    """The project's metrics file and a copy to be changed."""

    def change(**values):
        content = json.loads((trained.root / METRICS).read_text()) | values
        (trained.root / "other.json").write_text(json.dumps(content))

    change()
    trained.change = change
    return trained


def test_difference_stands_beside_each_number(two):
    miou = json.loads((two.root / METRICS).read_text())["miou"]
    two.change(miou=miou + 0.0123)
    text = two.ok("compare", METRICS, "other.json")
    assert f"{100 * miou + 1.23:.2f} (+1.23)" in text
    assert "NOT COMPARABLE" not in text


def test_difference_has_an_interval_over_the_images_of_both(trained):
    trained.ok("validate", "sample", "--scale", "0.5")
    (beside,) = (trained.root / "metrics/sample").rglob("scales*/validate.json")
    (trained.root / "x.json").unlink(missing_ok=True)
    text = trained.ok("compare", METRICS, beside, "--json", "x.json")
    assert "95% of resamples" in text
    content = json.loads((trained.root / "x.json").read_text())
    first, second = content["files"]
    low, high = second["miou_difference_interval"]
    assert low <= second["difference_from_first"]["miou"] <= high
    assert "miou_difference_interval" not in first
    # Beside an edited metrics file stand the counts of other scores.
    edited = json.loads(beside.read_text()) | {"miou": 0.5}
    beside.write_text(json.dumps(edited))
    assert "of resamples" not in trained.ok("compare", METRICS, beside)
    beside.with_name("per_image.csv").unlink()
    assert "of resamples" not in trained.ok("compare", METRICS, beside)


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("protocol", "strict", "protocol"),
        ("edition", "cambridge", "edition"),
        ("dataset", "camvid", "dataset"),
        ("class_order", ["road"], "class order"),
        ("split", "test", "split"),
        ("split_fingerprint", "0", "images and labels of the split"),
        ("scored_size", [1, 2], "scored size"),
    ],
)
def test_other_protocols_splits_and_data_are_refused_or_marked(two, key, value, name):
    two.change(**{key: value})
    text = two.fails("compare", METRICS, "other.json")
    assert f"  {name}: " in text
    assert str(value) in text
    shown = two.ok("compare", METRICS, "other.json", "--anyway")
    assert "NOT COMPARABLE" in shown
    assert "(+" not in shown


def test_long_class_orders_are_shown_from_where_they_differ(two):
    names = [f"class {number}" for number in range(138)]
    content = json.loads((two.root / METRICS).read_text()) | {"class_order": names}
    (two.root / "many.json").write_text(json.dumps(content))
    two.change(class_order=[*names[:100], "road", *names[101:]])
    text = two.fails("compare", "many.json", "other.json")
    (line,) = (line for line in text.splitlines() if "class order" in line)
    assert "138 names, from number 101: class 100, class 101" in line
    assert "from number 101: road, class 101" in line
    assert "and 33 more" in line


def test_file_of_another_revision_is_read_from_git(two):
    def git(*command):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command],
                       cwd=two.root, check=True)  # fmt: skip

    git("init", "-q")
    git("add", "-f", METRICS)
    git("commit", "-qm", "first")
    assert "(+0.00)" in two.ok("compare", f"HEAD:{METRICS}", METRICS)
    assert "HEAD:none.json" in two.fails("compare", "HEAD:none.json", METRICS)


def test_images_of_a_revision_are_those_of_git_wherever_the_file_lies(two, monkeypatch):
    for name in ("validate.json", "per_image.csv"):
        shutil.copy(two.root / "metrics/sample" / name, two.root)
    for command in ("init -q", "add -f validate.json per_image.csv",
                    "-c user.name=t -c user.email=t@t commit -qm first"):  # fmt: skip
        subprocess.run(["git", *command.split()], cwd=two.root, check=True)
    (two.root / "per_image.csv").unlink()
    monkeypatch.chdir(two.root)
    content = json.loads(Path("validate.json").read_text())
    assert read_by_class("HEAD:validate.json", content) is not None
    assert read_by_class("validate.json", content) is None


def test_what_is_no_metrics_file_is_refused(two):
    assert "two metrics files or more" in two.fails("compare", METRICS)
    (two.root / "old.json").write_text('{"miou": 0.5}')
    assert "lacks dataset" in two.fails("compare", METRICS, "old.json")
    assert "not found" in two.fails("compare", METRICS, "absent.json")
    two.change(miou={"mean": 0.5})
    assert "several seeds" in two.fails("compare", METRICS, "other.json")


@pytest.mark.parametrize(
    "changes",
    [{"iou": {"road": "x"}}, {"iou": {}}, {"model": 3}, {"miou": 64.2}, {"iou": {"road": True}}],
    ids=str,
)
def test_metrics_edited_by_hand_are_one_message(two, changes):
    two.change(**changes)
    text = two.fails("compare", METRICS, "other.json")
    assert "other.json: damaged or edited by hand; run `sgcp validate` again" in text


def test_model_of_another_protocol_is_noted(two):
    two.change(model={"protocol": "strict"})
    assert "trained with protocol strict" in two.ok("compare", METRICS, "other.json")
