"""Stage ``report``: one page about a run, from what the other stages left."""

import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import kills
import numpy as np
import pandas as pd
import pytest
from conftest import Project
from networks import change_weights

from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import read_dataset
from sgcp.inference.segmenter import describe_processor, load
from sgcp.media.images import read_image
from sgcp.models.card import model_digest
from sgcp.reporting.run import choose_images, read_table
from sgcp.stages.report import size_setting

PAGE = "data/reports/sample/report.html"
METRICS = "metrics/sample/validate.json"


@pytest.fixture(scope="module")
def reported(_trained, tmp_path_factory) -> Project:
    """A project whose run has its page; not to be changed."""
    project = Project(tmp_path_factory.mktemp("reported") / "project")
    shutil.copytree(_trained.root, project.root)
    project.ok("report")
    return project


def page(project: Project) -> str:
    return (project.root / PAGE).read_text(encoding="utf-8").replace("&#96;", "`")


def other_run(project: Project, name: str = "other.json", **values) -> None:
    """Write an earlier run's metrics: this one's, changed."""
    content = json.loads((project.root / METRICS).read_text())
    (project.root / name).write_text(json.dumps(content | values))


def test_page_is_one_file_that_asks_nobody(reported):
    text = page(reported)
    assert len(text.encode()) < 5 * 2**20
    markup = re.sub(r"<script[^>]*>.*?</script>", "<script>", text, flags=re.DOTALL)
    asked = re.findall(r"<(?:img|link|iframe|script)[^>]*?(?:src|href)=.(.{9})", markup)
    assert asked
    assert all(address.startswith("data:") for address in asked), asked
    assert text.count("window.vegaEmbed=") == 1
    assert [path.name for path in (reported.root / PAGE).parent.iterdir()] == ["report.html"]


def test_page_says_what_was_scored_and_how_it_was_made(reported):
    text = page(reported)
    scores = json.loads((reported.root / METRICS).read_text())
    card = json.loads((reported.root / "data/models/sample/model.json").read_text())
    for part in (
        f"{100 * scores['miou']:.2f}",
        f"{100 * scores['miiou']:.2f}",
        scores["protocol"],
        scores["split_fingerprint"],
        card["provenance"]["train_split_fingerprint"],
        card["provenance"]["versions"]["torch"],
        "poly_power",
        f"learnt from {len(card['trained_on'])} images",
    ):
        assert part in text, part


def test_same_run_gives_the_same_page_and_changed_code_is_told(trained):
    """Another commit changes nothing, as long as it leaves code and settings alone."""

    def git(*arguments: str) -> None:
        settings = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *settings, *arguments], cwd=trained.root, check=True)

    def report() -> str:
        trained.ok("report")
        return page(trained)

    git("init", "--quiet")
    git("add", "params.yaml", "pipeline")
    git("commit", "--quiet", "--message", "settings")
    first = report()
    assert "code and settings of commit" in first
    git("add", "metrics")
    git("commit", "--quiet", "--message", "numbers")
    assert report() == first
    (trained.root / "params.yaml").open("a").write("# a remark\n")
    assert "with changes" in report()


def test_links_lead_from_the_page_to_files(reported):
    text = page(reported)
    links = re.findall(r'<li>[^<]*<a href="([^"]+)"', text)
    assert "../../../metrics/sample/validate.json" in links
    for link in links:
        assert (reported.root / PAGE).parent.joinpath(link).exists(), link


def test_scores_of_single_images_add_up_to_the_splits(reported):
    folder = reported.root / "metrics/sample"
    table = pd.read_csv(folder / "per_image.csv")
    dataset = read_dataset(reported.root / "data/prepared/sample")
    assert list(table["image"]) == [item.key for item in dataset.split("val")]
    right = (table["pixel_accuracy"] * table["labelled"]).sum() / table["labelled"].sum()
    scores = json.loads((folder / "validate.json").read_text())
    assert right == pytest.approx(scores["pixel_accuracy"], abs=1e-12)


def test_score_of_a_image_is_its_own_mean_iou(reported):
    table = pd.read_csv(reported.root / "metrics/sample/per_image.csv").set_index("image")
    prepared = reported.root / "data/prepared/sample"
    item = read_dataset(prepared).split("val")[1]
    truth = read_ground_truth(prepared, item)
    label = truth.train_ids[truth.segments]
    image = read_image(reported.root / "data/raw/sample" / item.image)
    model = load(reported.root / "data/models/sample", precision="fp32")
    predicted = np.where(label == 255, 255, model.segment(image))
    ious = [
        ((label == k) & (predicted == k)).sum() / ((label == k) | (predicted == k)).sum()
        for k in range(19)
        if ((label == k) | (predicted == k)).any()
    ]
    assert table.loc[item.key, "miou"] == pytest.approx(np.mean(ious), abs=1e-12)


def test_best_and_worst_of_the_table_are_shown(reported):
    table = pd.read_csv(reported.root / "metrics/sample/per_image.csv").sort_values("miou")
    text = page(reported)
    assert f"Best: {table['image'].iloc[-1]}" in text
    assert f"Worst: {table['image'].iloc[0]}" in text


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("size", range(1, 9))
def test_chosen_images_are_best_median_and_worst_and_none_comes_twice(size, count):
    values = np.random.default_rng(size).permutation(size) / 10
    table = pd.DataFrame({"image": [f"p{n}" for n in range(size)], "miou": values})
    table.loc[size] = ["unlabelled", np.nan]
    chosen = choose_images(table, count)
    places = [place for place, _ in chosen]
    shown = [row["miou"] for _, row in chosen]
    assert shown == sorted(set(shown), reverse=True)
    assert len(chosen) == min(size, 3 * count)
    assert shown[0] == values.max()
    assert places[0].startswith("best")
    assert size == 1 or shown[-1] == values.min()
    if size >= 3 and count == 1:
        assert abs(shown[places.index("median")] - np.median(values)) <= 0.05 + 1e-9


def test_images_of_one_score_have_a_fixed_order():
    table = pd.DataFrame({"image": list("cab"), "miou": [0.5, 0.5, 0.5]})
    assert [row["image"] for _, row in choose_images(table, 1)] == ["a", "b", "c"]


def test_difference_from_an_earlier_run_stands_at_each_class(trained):
    scores = json.loads((trained.root / METRICS).read_text())
    other_run(
        trained,
        miou=scores["miou"] - 0.0123,
        iou=scores["iou"] | {"road": scores["iou"]["road"] - 0.1},
    )
    trained.ok("report", "sample", "--against", "other.json")
    text = page(trained)
    assert f"+1.23 points from {100 * scores['miou'] - 1.23:.2f} %" in text
    assert f"{100 * scores['iou']['road']:.2f} (+10.00)" in text
    assert "Compared with other.json" in text


def test_earlier_run_of_the_settings_is_sought_in_the_project(trained, monkeypatch):
    other_run(trained)
    trained.set(sample__report__against="other.json")
    below = Project(trained.root / "data")
    below.ok("report", "sample")
    assert "Compared with other.json" in page(trained)


def test_run_that_does_not_compare_is_marked_and_no_difference_shown(trained):
    other_run(trained, protocol="strict", miou=0.1)
    trained.ok("report", "sample", "--against", "other.json")
    text = page(trained)
    assert "does not compare with this one" in text
    assert "protocol: cityscapes-19 (this run); strict (other.json)" in text
    assert "points from" not in text
    assert "difference, points" not in text


def test_earlier_run_that_is_not_there_is_named(trained):
    assert "--against: none.json: not found" in trained.fails("report", "--against", "none.json")
    assert "--against: HEAD:x.json: " in trained.fails("report", "--against", "HEAD:x.json")
    trained.set(sample__report__against="none.json")
    assert "report.against: none.json: not found" in trained.fails("report")
    assert not (trained.root / PAGE).exists()


def test_scores_without_single_images_ask_for_validation(trained):
    (trained.root / "metrics/sample/per_image.csv").unlink()
    assert "per_image.csv: not found; run `sgcp validate sample` again" in trained.fails("report")


def test_scores_of_another_model_of_equal_settings_and_epoch_are_refused(trained):
    change_weights(trained.root / "data/models/sample")
    text = trained.fails("report")
    assert "scores of another model; run `sgcp validate sample` again" in text


def test_scores_that_do_not_say_of_which_model_are_refused(trained):
    path = trained.root / METRICS
    content = json.loads(path.read_text())
    del content["model"]["sha256"]
    path.write_text(json.dumps(content))
    text = trained.fails("report")
    assert "does not say which model it scored; run `sgcp validate sample` again" in text
    trained.ok("compare", METRICS, METRICS)  # numbers are comparable, whatever the weights


def curve_values(text: str, chart: str) -> list[float]:
    """Return the values that the page draws in one chart."""
    drawn = re.search(rf'<script type="application/json" id="{chart}">(.*?)</script>', text)
    values = json.loads(drawn[1])["data"]["values"]
    return [row["value"] for row in values]


def test_curves_of_an_unfinished_run_are_not_drawn_as_those_of_the_model(trained):
    trained.ok("report")
    kept = kills.tree(trained.root, "metrics")
    assert "Unfinished run" not in page(trained)
    losses = curve_values(page(trained), "curve-1")
    assert len(losses) == 16
    trained.set(sample__train__epochs=5)
    assert trained.stopped_after(5, "sample").exit_code == 130
    assert kills.tree(trained.root, "metrics") == kept
    trained.ok("report")
    text = page(trained)
    assert curve_values(text, "curve-1") == losses
    assert "Unfinished run, epoch 3 of 5" in text
    assert len(curve_values(text, "unfinished-1")) == 2


def test_curves_of_another_model_are_not_shown(trained):
    """Such as after a kill between the new model and its curves."""
    change_weights(trained.root / "data/models/sample")
    trained.ok("validate")
    trained.ok("report")
    text = page(trained)
    assert "There are no curves of this model: metrics/sample/train belongs to another" in text
    assert "curve-1" not in text


def time_model(project: Project, **changes) -> None:
    """Write the times of the stage's model on this processor, as `sgcp benchmark` does; changed."""
    weights = project.root / "data/models/sample/model.safetensors"
    speed = {
        "model_sha256": model_digest(weights), "size": [64, 128], "threads": 2, "device": "cpu",
        "processor": describe_processor("cpu"), "tasks": {"network": "scores"},
        "rows": [{"network": "SGCPNet", "engine": "torch", "precision": "fp32", "device": "cpu",
                  "tasks": {"network": {"p50_ms": 12.25}}, "peak_mib": {}}],
    }  # fmt: skip
    (project.root / "metrics/sample/speed.json").write_text(json.dumps(speed | changes))


def test_times_are_shown_of_this_model_alone(trained):
    time_model(trained)
    trained.ok("report")
    assert "12.25" in page(trained)
    assert "made on another" not in page(trained)
    time_model(trained, model_sha256="0" * 64)
    trained.ok("report")
    assert "12.25" not in page(trained)
    assert "There are no times of this model; `sgcp benchmark sample`" in page(trained)


def test_times_of_another_processor_are_marked(trained):
    time_model(trained, processor="64 cores of Another")
    trained.ok("report")
    assert "on 64 cores of Another, 2 threads, cpu" in page(trained)
    assert f"This page was made on another: {describe_processor('cpu')}." in page(trained)


def test_run_without_curves_and_speed_says_so_and_names_are_escaped(trained):
    shutil.rmtree(trained.root / "metrics/sample/train")
    (trained.root / "metrics/sample/speed.json").unlink(missing_ok=True)
    other_run(trained, "<b>.json")
    trained.ok("report", "--against", "<b>.json")
    text = page(trained)
    assert "There are no curves of this model: metrics/sample/train is missing." in text
    assert "There are no times of this model; `sgcp benchmark sample` measures them." in text
    assert "&lt;b&gt;.json" in text
    assert "<b>.json" not in text


@pytest.mark.integration
def test_killed_report_leaves_no_half_page(reported, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(reported.root, root)
    shutil.rmtree((root / PAGE).parent)
    changes, _ = kills.finish(root, "report")
    (root / PAGE).write_text("the page before")
    assert kills.kill_at_change(root, "report", changes - 6)
    assert (root / PAGE).read_text() == "the page before"
    assert list((root / PAGE).parent.parent.glob("*.partial"))
    kills.finish(root, "report")
    assert (root / PAGE).read_text().rstrip().endswith("</html>")
    assert not list((root / PAGE).parent.parent.glob("*.partial"))


@pytest.mark.parametrize(("seen", "told"), [([120, 160], None), ([60, 80], (60, 80))])
def test_images_of_unequal_sizes_are_seen_as_validate_saw_them(seen, told):
    """The scores tell the size of the first alone; the model's own choice is made for each anew."""
    dataset = SimpleNamespace(split=lambda _: [SimpleNamespace(height=120, width=160)])
    model = SimpleNamespace(card=SimpleNamespace(input_size=lambda height, width: (height, width)))
    assert size_setting(dataset, model, {"split": "val", "input_size": seen}) == told


def test_names_that_look_like_numbers_stay_names(tmp_path):
    path = tmp_path / "per_image.csv"
    path.write_text("image,class,miou\n000001,0,0.5\n")
    row = read_table(path, ("image",), "again").iloc[0]
    assert (row["image"], row["class"], row["miou"]) == ("000001", "0", 0.5)
