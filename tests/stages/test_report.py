"""Stage ``report``: one page about a run, from the files of the other stages."""

import base64
import io
import json
import re
import shutil
import subprocess

import kills
import numpy as np
import pandas as pd
import pytest
from conftest import Project, run_python
from networks import change_weights
from PIL import Image

from sgcp.core.machine import processor_name, usable_cores
from sgcp.datasets.classes import IGNORE
from sgcp.datasets.ground_truth import read_ground_truth
from sgcp.datasets.index import read_dataset
from sgcp.inference.segmenter import load
from sgcp.media.images import read_image, read_label
from sgcp.metrics.iou import ImageScore
from sgcp.models.card import model_digest
from sgcp.reporting.panels import choose_images
from sgcp.reporting.run import Example, read_table
from sgcp.reporting.run_charts import class_chart, confusion_chart, curve_chart
from sgcp.reporting.run_page import _view

PAGE = "data/reports/sample/report.html"
METRICS = "metrics/sample/validate.json"
PANELS = "data/panels/sample"


@pytest.fixture(scope="module")
def reported(_trained, tmp_path_factory) -> Project:
    """A project whose run has its page; not to be changed."""
    project = Project(tmp_path_factory.mktemp("reported") / "project")
    shutil.copytree(_trained.root, project.root)
    project.ok("report")
    return project


def page(project: Project) -> str:
    return (project.root / PAGE).read_text(encoding="utf-8").replace("&#96;", "`")


def report(project: Project, *arguments: str) -> str:
    project.ok("report", "sample", *arguments)
    return page(project)


def edit(project: Project, name: str = METRICS, **values) -> None:
    """Write this run's metrics with other values."""
    content = json.loads((project.root / METRICS).read_text())
    (project.root / name).write_text(json.dumps(content | values))


def test_page_is_one_file_without_requests_and_its_links_exist(reported):
    text = page(reported)
    assert len(text.encode()) < 5 * 2**20
    markup = re.sub(r"<script[^>]*>.*?</script>", "<script>", text, flags=re.DOTALL)
    asked = re.findall(r"<(?:img|link|iframe|script)[^>]*?(?:src|href)=.(.{9})", markup)
    assert asked
    assert all(address.startswith("data:") for address in asked), asked
    assert text.count("window.vegaEmbed=") == 1
    assert [path.name for path in (reported.root / PAGE).parent.iterdir()] == ["report.html"]
    links = re.findall(r'<li>[^<]*<a href="([^"#]+)"', text)
    assert "../../../metrics/sample/validate.json" in links
    assert all((reported.root / PAGE).parent.joinpath(link).exists() for link in links), links
    sections = re.findall(r'<li><a href="#([^"]+)"', text)
    assert len(sections) == 8
    assert all(f'<h2 id="{name}">' in text for name in sections)


def test_page_shows_scores_settings_and_provenance(reported):
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
        "SGCPNet with encoder sgcp, epoch",
        f"<h1>sample, quick: {100 * scores['miou']:.2f} % mIoU</h1>",
        f"trained on {len(card['trained_on'])} images",
    ):
        assert part in text, part


@pytest.mark.integration
def test_report_runs_without_torch_and_engines(trained):
    """A page costs no second segmentation of the images."""
    code = (
        f"import os, sys; os.chdir({str(trained.root)!r}); from sgcp.cli import app; "
        "app(['report', 'sample'], standalone_mode=False); "
        "print({'torch', 'openvino', 'onnxruntime'} & sys.modules.keys())"
    )
    assert run_python(code, PATH="").endswith("\nset()\n")
    assert (trained.root / PAGE).is_file()


def test_same_run_gives_the_same_page_and_changed_code_is_shown(trained):
    """Another commit changes nothing, as long as it leaves code and settings alone."""

    def git(*arguments: str) -> None:
        settings = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *settings, *arguments], cwd=trained.root, check=True)

    git("init", "--quiet")
    git("add", "params.yaml", "pipeline")
    git("commit", "--quiet", "--message", "settings")
    first = report(trained)
    assert "code and settings of commit" in first
    git("add", "metrics")
    git("commit", "--quiet", "--message", "numbers")
    assert report(trained) == first
    (trained.root / "params.yaml").open("a").write("# a remark\n")
    assert "with changes" in report(trained)


def test_scores_of_single_images_add_up_and_are_their_own_mean_iou(reported):
    table = pd.read_csv(reported.root / "metrics/sample/per_image.csv").set_index("image")
    prepared = reported.root / "data/prepared/sample"
    items = read_dataset(prepared).split("val")
    assert list(table.index) == [item.key for item in items]
    right = (table["pixel_accuracy"] * table["labelled"]).sum() / table["labelled"].sum()
    scores = json.loads((reported.root / METRICS).read_text())
    assert right == pytest.approx(scores["pixel_accuracy"], abs=1e-12)
    truth = read_ground_truth(prepared, items[1])
    label = truth.train_ids[truth.segments]
    model = load(reported.root / "data/models/sample", precision="fp32")
    predicted = model.segment(read_image(reported.root / "data/raw/sample" / items[1].image))
    masked = np.where(label == 255, 255, predicted)
    ious = [
        ((label == k) & (masked == k)).sum() / ((label == k) | (masked == k)).sum()
        for k in range(19)
        if ((label == k) | (masked == k)).any()
    ]
    assert table.loc[items[1].key, "miou"] == pytest.approx(np.mean(ious), abs=1e-12)
    place = "best" if table["miou"].idxmax() == items[1].key else "worst"
    assert (read_label(reported.root / PANELS / f"{place}.prediction.png") == predicted).all()
    for place, image in (("Best", table["miou"].idxmax()), ("Worst", table["miou"].idxmin())):
        assert f"{place}: {image}" in page(reported)


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("size", range(1, 9))
def test_chosen_images_are_best_median_and_worst_and_none_comes_twice(size, count):
    values = np.random.default_rng(size).permutation(size) / 10
    images = [ImageScore(f"p{n}", value, 0, 1) for n, value in enumerate(values)]
    chosen = choose_images([*images, ImageScore("unlabelled", np.nan, np.nan, 0)], count)
    places, shown = [place for place, _ in chosen], [image.miou for _, image in chosen]
    assert shown == sorted(set(shown), reverse=True)
    assert len(chosen) == min(size, 3 * count)
    if count:
        assert shown[0] == values.max()
        assert places[0].startswith("best")
        assert size == 1 or shown[-1] == values.min()
    if size >= 3 and count == 1:
        assert abs(shown[places.index("median")] - np.median(values)) <= 0.05 + 1e-9
    equal = [ImageScore(name, 0.5, 0.5, 1) for name in "cab"]
    assert [image.image for _, image in choose_images(equal, 1)] == ["a", "b", "c"]


def test_charts_say_the_numbers_of_their_tables():
    table = pd.DataFrame({"step": [1, 2], "loss": [2.0, 0.5]})
    assert curve_chart("loss", table).summary == "2 values over the epochs, from 2 to 0.5."
    classes = pd.DataFrame({"class": ["a", "b", "c"], "iou": [0.25, np.nan, 0.50123]})
    chart = class_chart(classes, [], None)
    assert [row[:2] for row in chart.rows] == [("c", 50.12), ("a", 25), ("b", None)]
    assert "2 classes with a score, best first: from c, 50.12 %, to a, 25.00 %" in chart.summary
    pairs = [("a", "a", 0.9), ("a", "b", 0.1), ("b", "a", 0.25), ("b", "b", 0.75)]
    confusion = pd.DataFrame(pairs, columns=["actual", "predicted", "share"]).assign(pixels=1)
    chart = confusion_chart(confusion)
    assert chart.rows == [["a", 90, 10], ["b", 25, 75]]
    assert "25 % of b is predicted as a" in chart.summary


def test_label_maps_on_the_page_are_train_ids_plus_one_unmixed():
    truth = np.array([[0, 18, IGNORE, 7]], np.uint8).repeat(600, axis=1).repeat(40, axis=0)
    score = ImageScore("a", 1.0, 1.0, 1)
    view = _view(Example("best", score, np.zeros((40, 2400, 3), np.uint8), truth, truth))
    content = base64.b64decode(view["sources"]["truth"].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
    assert shown.shape == (17, 1024)
    assert np.unique(shown).tolist() == [0, 1, 8, 19]


def test_difference_from_an_earlier_run_is_shown_for_each_class(trained, monkeypatch):
    scores = json.loads((trained.root / METRICS).read_text())
    iou = scores["iou"] | {"road": scores["iou"]["road"] - 0.1}
    edit(trained, "other.json", miou=scores["miou"] - 0.0123, iou=iou)
    text = report(trained, "--against", "other.json")
    before, now = 100 * scores["miou"] - 1.23, 100 * scores["miou"]
    assert f"{before:.2f} -&gt; {now:.2f} (+1.23), other.json" in text
    assert f"{100 * scores['iou']['road']:.2f} (+10.00)" in text
    trained.set(sample__report__against="other.json")  # relative to the project
    Project(trained.root / "data").ok("report", "sample")
    assert page(trained) == text


def test_several_earlier_runs_stand_side_by_side(trained):
    scores = json.loads((trained.root / METRICS).read_text())
    for name, lower in (("one.json", 0.01), ("two.json", 0.02)):
        edit(trained, name, miou=scores["miou"] - lower)
    text = report(trained, "--against", "one.json", "--against", "two.json")
    assert "(+1.00), one.json" in text
    assert "(+2.00), two.json" in text
    assert "IoU of two.json %" in text
    assert "difference from two.json, points" in text
    many = [word for name in ("one.json", "two.json") * 4 for word in ("--against", name)]
    chart = re.search(r'id="class-chart|"range": \[([^\]]*)\]', report(trained, *many))
    assert chart[1].count("#4c78a8") == 1  # this run's alone


def test_seeds_of_this_recipe_are_error_bars(trained):
    scores = json.loads((trained.root / METRICS).read_text())
    folder = trained.root / "metrics/sample/seeds"
    share = {"mean": 0.5, "std": 0.0321, "values": [0.5]}
    summary = {"seeds": [41, 42], "miou": share, "iou": {"road": share}}
    for name, content in (("41/", scores | {"model": {"settings": "other"}}), ("42/", scores)):
        (folder / name).mkdir(parents=True)
        (folder / name / "validate.json").write_text(json.dumps(content))
    (folder / "summary.json").write_text(json.dumps(summary))
    text = report(trained)
    assert "50.00, standard deviation 3.21, over 2 seeds" in text
    assert "mean of 2 seeds %" in text
    assert '"high": 0.5321' in text
    for other in ({"split_fingerprint": "x"}, {"flip": True}):  # of other images, scored otherwise
        (folder / "42/validate.json").write_text(json.dumps(scores | other))
        assert "over 2 seeds" not in report(trained)
    shutil.rmtree(folder / "42")
    assert "over 2 seeds" not in report(trained)


def test_earlier_run_that_is_missing_or_not_comparable_is_named(trained):
    for name in ("none.json: not found", "HEAD:x.json: "):
        assert f"--against: {name}" in trained.fails("report", "--against", name.split(": ")[0])
    trained.set(sample__report__against="none.json")
    assert "report.against: none.json: not found" in trained.fails("report")
    assert not (trained.root / PAGE).exists()
    edit(trained, "other.json", protocol="strict", miou=0.1)
    text = report(trained, "--against", "other.json")
    assert "is not comparable with this one" in text
    assert "protocol: cityscapes-19 (this run); strict (other.json)" in text
    assert "-&gt;" not in text
    assert "difference from other.json" not in text


AGAIN = "run `sgcp validate sample` again"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("per_image.csv", lambda path: path.unlink()),
        ("per_image.csv", lambda path: path.write_text(path.read_text().replace("miou", "x"))),
        ("per_image.csv", lambda path: path.write_text(path.read_text() + "x,none,0,1\n")),
        ("per_image.csv", lambda path: path.write_text(path.read_text() + "x,0.5,0.5,1\n")),
        ("best.prediction.png", lambda path: path.unlink()),
        ("best.prediction.png", lambda path: path.write_bytes(b"x")),
        ("best.prediction.png", lambda path: path.rename(path.with_name("worst.prediction.png"))),
    ],
    ids=["missing", "column", "number", "other images", "no prediction", "damaged", "exchanged"],
)
def test_missing_and_foreign_files_ask_for_validation(trained, name, change):
    folder = "metrics/sample" if name.endswith("csv") else PANELS
    change(trained.root / folder / name)
    assert AGAIN in trained.fails("report")


def test_files_of_another_model_are_refused_and_its_curves_left_out(trained):
    """Its settings and epoch may be equal."""
    path = trained.root / METRICS
    before = path.read_text()
    content = json.loads(before)
    del content["model"]["sha256"]
    path.write_text(json.dumps(content))
    assert AGAIN in trained.fails("report")
    trained.ok("compare", METRICS, METRICS)  # numbers are comparable with any weights
    path.write_text(before)
    change_weights(trained.root / "data/models/sample")
    assert AGAIN in trained.fails("report")
    kept = trained.root / "kept"
    shutil.copytree(trained.root / PANELS, kept)
    trained.ok("validate")
    text = report(trained)  # as after a kill between the new model and its curves
    assert "There are no curves of this model: metrics/sample/train belongs to another" in text
    assert "curve-1" not in text
    shutil.copytree(kept, trained.root / PANELS, dirs_exist_ok=True)
    assert "best.prediction.png" in trained.fails("report")


def curve_values(text: str, chart: str) -> list[float]:
    """Return the values that the page draws in one chart."""
    drawn = re.search(rf'<script type="application/json" id="{chart}">(.*?)</script>', text)
    return [row["value"] for row in json.loads(drawn[1])["data"]["values"]]


def test_curves_of_an_unfinished_run_are_not_drawn_as_those_of_the_model(trained):
    text = report(trained)
    kept = kills.tree(trained.root, "metrics")
    assert "Unfinished run" not in text
    losses = curve_values(text, "curve-1")
    assert len(losses) == 16
    trained.set(sample__train__epochs=5)
    assert trained.stopped_after(5, "sample").exit_code == 130
    assert kills.tree(trained.root, "metrics") == kept
    text = report(trained)
    assert curve_values(text, "curve-1") == losses
    assert "Unfinished run, epoch 3 of 5" in text
    assert len(curve_values(text, "unfinished-1")) == 2


def time_model(project: Project, **changes) -> None:
    """Write the times of the stage's model on this processor, as `sgcp benchmark` does; changed."""
    weights = project.root / "data/models/sample/model.safetensors"
    speed = {
        "model_sha256": model_digest(weights), "size": [64, 128], "threads": 2, "device": "cpu",
        "processor": f"{usable_cores()} cores of {processor_name()}",
        "tasks": {"network": "scores"},
        "rows": [{"network": "SGCPNet", "engine": "torch", "precision": "fp32", "device": "cpu",
                  "tasks": {"network": {"p50_ms": 12.25}}, "peak_mib": {}}],
    }  # fmt: skip
    (project.root / "metrics/sample/speed.json").write_text(json.dumps(speed | changes))


def test_times_are_shown_of_this_model_on_this_processor_alone(trained):
    time_model(trained)
    text = report(trained)
    assert "12.25" in text
    time_model(trained, processor="64 cores of Another")
    text = report(trained)
    assert "12.25" not in text
    assert "The times were measured on another machine; `sgcp benchmark sample`" in text
    time_model(trained, model_sha256="0" * 64)
    text = report(trained)
    assert "12.25" not in text
    assert "There are no times of this model; `sgcp benchmark sample`" in text
    time_model(trained, rows=[{}])
    assert "speed.json: damaged" in trained.fails("report")


def test_scores_on_corrupted_images_are_shown_of_this_model_alone(trained):
    assert "no such scores of this model; `sgcp validate sample --corrup" in report(trained)
    scores = json.loads((trained.root / "metrics/sample/validate.json").read_text())
    made = {"by_strength": {"fog": {"1/4": 0.4321, "1/2": 0.1}}, "miou": 0.2661}
    path = trained.root / "metrics/sample/corruptions/validate.json"

    def write(**changes):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(scores | {"corruptions": made} | changes))

    write()
    text = report(trained)
    assert "1/4: 43.21, 1/2: 10.00" in text
    assert f"26.61</td>\n<td>unchanged images: {100 * scores['miou']:.2f}" in text
    write(model={"sha256": "0" * 64})
    assert "1/4: 43.21" not in report(trained)
    write(corruptions={})
    assert "corruptions/validate.json: damaged" in trained.fails("report")


def test_run_without_curves_shows_so_and_names_are_escaped(trained):
    shutil.rmtree(trained.root / "metrics/sample/train")
    edit(trained, "<b>.json")
    text = report(trained, "--against", "<b>.json")
    assert "There are no curves of this model: metrics/sample/train is missing." in text
    assert "&lt;b&gt;.json" in text
    assert "<b>.json" not in text


@pytest.mark.integration
def test_killed_report_leaves_no_half_page(reported, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(reported.root, root)
    shutil.rmtree((root / PAGE).parent)
    changes, _ = kills.finish(root, "report")
    (root / PAGE).write_text("the page before")
    for number in range(changes - 7, changes):  # as soon as the new folder is begun
        assert kills.kill_at_change(root, "report", number)
        if list((root / PAGE).parent.parent.glob("*.partial")):
            break
    assert (root / PAGE).read_text() == "the page before"
    kills.finish(root, "report")
    assert (root / PAGE).read_text().rstrip().endswith("</html>")
    assert not list((root / PAGE).parent.parent.glob("*.partial"))


def test_names_that_look_like_numbers_stay_names(tmp_path):
    path = tmp_path / "per_image.csv"
    path.write_text("image,class,miou\n000001,0,0.5\n")
    row = read_table(path, ("image",), "again").iloc[0]
    assert (row["image"], row["class"], row["miou"]) == ("000001", "0", 0.5)
