"""Stage ``validate``, of the model and of given predictions."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kills
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Project
from PIL import Image
from safetensors.torch import load_file, save_file

from sgcp.datasets.index import read_dataset
from sgcp.datasets.label_files import read_meaning
from sgcp.inference import segmenter
from sgcp.media.images import read_label
from sgcp.metrics.details import BoundaryCounts, count_boundary
from sgcp.stages import validate

PREDICTIONS = "data/predictions/sample"


def metrics(project: Project, name: str = "validate.json") -> dict:
    return json.loads((project.root / "metrics/sample" / name).read_text())


@pytest.fixture(scope="module")
def _predicted(_trained, tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("predicted") / "project")
    shutil.copytree(_trained.root, project.root)
    project.set(sample__predict__split="val")
    project.ok("predict", "sample")
    return project


@pytest.fixture(scope="module")
def kept(_trained) -> Project:
    """The trained project itself; not to be changed."""
    return _trained


@pytest.fixture
def predicted(_predicted, tmp_path) -> Project:
    """A trained project with predictions of the validation split; a copy."""
    shutil.copytree(_predicted.root, tmp_path / "project")
    return Project(tmp_path / "project")


def test_metrics_carry_their_protocol_split_and_size(kept):
    content = metrics(kept)
    assert 0 <= content["miou"] <= 1
    assert (content["dataset"], content["protocol"]) == ("sample", "cityscapes-19")
    assert (content["split"], content["images"]) == ("val", 2)
    assert content["input_size"] == content["scored_size"] == [64, 128]
    assert content["class_order"][:2] == ["road", "sidewalk"]
    prepared = json.loads((kept.root / "data/prepared/sample/dataset.json").read_text())
    assert content["split_fingerprint"] == prepared["splits"]["val"]["fingerprint"]
    curves = metrics(kept, "train/metrics.json")
    for key in ("dataset", "edition", "protocol", "class_order", "split", "split_fingerprint"):
        assert curves[key] == content[key], key


def test_scores_agree_with_their_tables_and_with_the_best_epoch_of_training(kept):
    """Training's validation and the stage count the same pixels the same way."""
    folder, content = kept.root / "metrics/sample", metrics(kept)
    history = pd.read_csv(folder / "train/plots/metrics/miou.tsv", sep="\t")["miou"]
    assert content["miou"] == pytest.approx(history.max(), abs=1e-9)
    per_class = pd.read_csv(folder / "per_class.csv")
    assert per_class["iou"].mean() == pytest.approx(content["miou"])
    confusion = pd.read_csv(folder / "confusion.csv")
    assert len(confusion) == 19 * 19
    right = confusion[confusion["actual"] == confusion["predicted"]]["pixels"].sum()
    assert right / confusion["pixels"].sum() == pytest.approx(content["pixel_accuracy"])


def test_pixels_of_each_image_and_class_add_up_to_the_scores(kept):
    content = metrics(kept)
    table = pd.read_csv(kept.root / "metrics/sample/per_image.csv")
    right, true, predicted = (
        table[[f"{kind}:{name}" for name in content["iou"]]].sum().to_numpy()
        for kind in ("right", "true", "predicted")
    )
    with np.errstate(invalid="ignore"):  # a class that is nowhere
        found = right / (true + predicted - right)
    wanted = np.array([*content["iou"].values()], float)
    np.testing.assert_allclose(found, wanted)
    assert right.sum() / true.sum() == pytest.approx(content["pixel_accuracy"])
    assert table["labelled"].sum() == true.sum()
    weighted = np.average(found[true > 0], weights=true[true > 0])
    assert content["weighted_iou"] == pytest.approx(weighted)
    low, high = content["miou_interval"]
    assert low <= content["miou"] <= high
    assert [*table["drive"].unique()] == ["crossfield"]


def test_scores_near_edges_are_those_of_the_maps(kept):
    found = metrics(kept)["boundary"]
    assert found["iou"].keys() == metrics(kept)["iou"].keys()
    assert 0 <= found["miou"] < 1
    dataset = read_dataset(kept.root / "data/prepared/sample")
    table = pd.read_csv(kept.root / "metrics/sample/per_image.csv")
    right = table["labelled"] * table["pixel_accuracy"]
    counts = BoundaryCounts(np.zeros((3, 19), np.int64), np.zeros((2, 2), np.int64))
    for item in dataset.split("val"):
        label = read_label(kept.root / "data/prepared/sample" / item.label)
        counts += count_boundary(label, label, 19)
    (near, elsewhere), shares = counts.accuracy[:, 1], ("accuracy_near", "accuracy_elsewhere")
    total = near * found[shares[0]] + elsewhere * found[shares[1]]
    assert total == pytest.approx(right.sum())


def test_temperature_of_training_is_in_the_card_and_is_the_one_that_validate_would_fit(kept):
    """Training fits it in PyTorch on the same pixels of the same split."""
    calibration = metrics(kept)["calibration"]
    folder = kept.root / "data/models/sample"
    card = json.loads((folder / "model.json").read_text())
    assert card["temperature"] == calibration["temperature"] != 1
    assert calibration["fitted_temperature"] == pytest.approx(card["temperature"], rel=2e-3)
    assert calibration["nll_calibrated"] < calibration["nll"]
    assert calibration["pixels"] == 2 * 4096
    last = json.loads((folder / "last.json").read_text())
    assert 0.05 <= last["temperature"] <= 20


def test_a_model_without_a_temperature_is_scored_as_it_is(trained):
    path = trained.root / "data/models/sample/model.json"
    card = json.loads(path.read_text())
    before = metrics(trained)
    del card["temperature"]  # as older versions wrote it
    path.write_text(json.dumps(card))
    trained.ok("validate", "sample")
    after = metrics(trained)
    assert after["miou"] == before["miou"]
    assert after["calibration"]["ece_calibrated"] == after["calibration"]["ece"]
    assert after["calibration"]["ece"] == before["calibration"]["ece"]


def test_panels_show_what_was_scored_each_image_segmented_once(trained, monkeypatch):
    segmented, predict = [], segmenter.Segmenter.predict

    def record(self, *given):
        found = predict(self, *given)
        segmented.append(found.labels)
        return found

    monkeypatch.setattr(segmenter.Segmenter, "predict", record)
    trained.ok("validate", "sample")
    assert len(segmented) == 2
    folder = trained.root / "data/panels/sample"
    names = {f"{place}{end}" for place in ("best", "worst") for end in (".png", ".prediction.png")}
    assert {path.name for path in folder.iterdir()} == names
    assert Image.open(folder / "best.png").mode == "RGB"
    shown = [read_label(folder / f"{place}.prediction.png") for place in ("best", "worst")]
    assert all(any((one == other).all() for other in segmented) for one in shown)
    with Image.open(folder / "best.prediction.png") as image:
        meaning = read_meaning(image.info)
        assert image.getpalette()[:3] == [128, 64, 128]  # road, in its colour
    assert meaning.model == metrics(trained)["model"]["sha256"]
    assert meaning.classes["sidewalk"] == 1


def test_panels_of_other_settings_do_not_stay(trained, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    trained.set(sample__validate__panels=2)
    with monkeypatch.context() as patch:
        patch.setattr(validate, "write_prediction", interrupt)
        assert trained.run("validate", "sample").exit_code == 130
    partial = trained.root / "data/panels/sample.partial"
    assert [path.name for path in partial.glob("*.png")] == ["best-1.png"]
    for panels, files in ((1, 4), (0, 0)):
        trained.set(sample__validate__panels=panels)
        trained.ok("validate", "sample")
        assert len(list((trained.root / "data/panels/sample").iterdir())) == files


def test_settings_of_params_change_the_tracked_scores(trained):
    before = metrics(trained)
    trained.set(sample__validate__input_size=[32, 64], sample__validate__flip=True)
    trained.ok("validate", "sample")
    after = metrics(trained)
    assert (after["input_size"], after["flip"]) == ([32, 64], True)
    assert after["scored_size"] == before["scored_size"]
    assert after["miou"] != before["miou"]


def test_unseen_and_labelled_images_alone_are_scored(kept):
    assert "without labels" in kept.fails("validate", "sample", "--split", "test")
    for options in ([], ["--model", "data/models/sample"]):
        text = kept.fails("validate", "sample", "--split", "train", *options)
        assert "were trained on" in text
        assert "`--split val` has none of them" in text
    dataset = read_dataset(kept.root / "data/prepared/sample")
    seen = {item.origin: "" for item in dataset.items if item.split != "test"}
    advice = validate.advise_split(seen, dataset)
    assert advice.startswith("'test' has none of them, but it has no labels here. A score needs")


def test_options_by_hand_are_scored_beside_the_tracked_scores(trained):
    before = metrics(trained)
    variants = {
        "flip-scales-1.0-1.5": ["--flip", "--scale", "1", "--scale", "1.5"],
        "window-32-48": ["--window", "32", "48"],
    }
    for name, options in variants.items():
        trained.ok("validate", "sample", *options)
        assert (trained.root / f"data/panels/sample-{name}").is_dir()
    names = ["validate.json", *(f"{name}/validate.json" for name in variants)]
    found = [metrics(trained, name) for name in names]
    assert found[0] == before
    assert [(one["flip"], one["scales"], one["window"]) for one in found[1:]] == [
        (True, [1.0, 1.5], None), (False, [1.0], [32, 48])
    ]  # fmt: skip
    assert found[1]["miou"] != before["miou"]
    assert "mIoU" in trained.ok("compare", *(f"metrics/sample/{name}" for name in names))
    trained.set(sample__validate__split="test")
    trained.ok("validate", "sample", "--split", "val")
    assert metrics(trained, "val/validate.json")["miou"] == before["miou"]
    assert metrics(trained) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--scale", "0"], "scales"),
        (["--scale", "99"], "scales"),
        (["--window", "0", "8"], "window"),
        (["--flip", "--predictions", PREDICTIONS], "--flip"),
        (["--model", "data/models/sample", "--predictions", "data"], "one of them"),
        (["--model", "data/models/sample", "--name", "a/b"], "'a/b'"),
        (["--model", "camvid"], "not in both"),  # other classes
        (["--model", "none"], "neither a path nor bundled"),
        (["--model", "none/model.onnx"], "none/model"),
        (["--name", "x"], "--name"),
        (["--predictions", "absent"], "absent: no such folder"),
        (["--predictions", PREDICTIONS], "2 problem(s)"),  # they are of the test split
    ],
)
def test_impossible_options_are_refused(kept, options, named):
    before = kills.tree(kept.root, "metrics")
    assert named in kept.fails("validate", "sample", *options)
    assert kills.tree(kept.root, "metrics") == before


@pytest.mark.integration
def test_model_with_classes_in_another_order_scores_the_same(trained):
    """Indices mean nothing without names: reorder the outputs and their description together."""
    before = metrics(trained)
    folder, predictions = trained.root / "data/models/sample", trained.root / PREDICTIONS
    card = json.loads((folder / "model.json").read_text())
    order = np.random.default_rng(0).permutation(19)
    weights = load_file(folder / "model.safetensors")
    for key in ("classifier.weight", "classifier.bias"):
        weights[key] = weights[key][torch.from_numpy(order)].contiguous()
    card["classes"] = [card["classes"][i] | {"train_id": n} for n, i in enumerate(order.tolist())]
    save_file(weights, folder / "model.safetensors")
    del card["weights_sha256"]
    (folder / "model.json").write_text(json.dumps(card))
    trained.ok("validate", "sample")
    assert metrics(trained)["miou"] == pytest.approx(before["miou"], abs=1e-4)
    labels = {path.name: path.read_bytes() for path in predictions.iterdir()}
    trained.ok("predict", "sample")
    for path in predictions.iterdir():
        same = np.array(Image.open(path)) == np.array(Image.open(io.BytesIO(labels[path.name])))
        assert same.mean() > 0.999


@pytest.mark.integration
def test_official_command_and_ours_agree_on_the_same_files(predicted):
    """cityscapesScripts' own command scores val predictions as `sgcp validate` does, both ways."""
    environment = os.environ | {
        "CITYSCAPES_DATASET": str(predicted.root / "data/raw/sample"),
        "CITYSCAPES_RESULTS": str(predicted.root / PREDICTIONS),
    }
    script = Path(sys.executable).with_name("csEvalPixelLevelSemanticLabeling")
    subprocess.run([script], env=environment, cwd=predicted.root, capture_output=True, check=True)
    files = [*predicted.root.rglob("resultPixelLevelSemanticLabeling.json")]
    official = json.loads(files[0].read_text())
    predicted.ok("validate", "sample", "--predictions", PREDICTIONS)
    for name in ("validate.json", "predictions/predictions-sample/validate.json"):
        assert_official(metrics(predicted, name), official)


def assert_official(ours: dict, official: dict) -> None:
    for mean, key, part in (
        ("miou", "iou", "Classes"),
        ("miiou", "iiou", "InstClasses"),
        ("category_miou", "category_iou", "Categories"),
        ("category_miiou", "category_iiou", "InstCategories"),
    ):
        assert ours[mean] == pytest.approx(official[f"averageScore{part}"], abs=1e-9), mean
        kind = "category" if "category" in key else "class"
        judged = official[f"{kind}{'Inst' if 'Inst' in part else ''}Scores"]
        for name, value in ours[key].items():
            expected = pytest.approx(judged[name], abs=1e-9)
            assert np.isnan(judged[name]) if value is None else value == expected, (key, name)
    kinds = ("iou", "iiou", "category_iou", "category_iiou")
    assert [len(ours[key]) for key in kinds] == [19, 8, 7, 2]


def test_predictions_of_any_depth_and_ending_are_found(predicted):
    other = predicted.root / "mine"
    for path in (predicted.root / PREDICTIONS).iterdir():
        (other / path.stem.split("_")[0]).mkdir(parents=True, exist_ok=True)
        path.rename(other / path.stem.split("_")[0] / f"{path.stem}_pred.png")
    before = metrics(predicted)
    predicted.ok("validate", "sample", "--predictions", other, "--name", "other")
    assert metrics(predicted, "predictions/other/validate.json")["miou"] == before["miou"]
    assert metrics(predicted) == before


def test_scores_of_another_folder_or_model_are_overwritten_by_name_alone(predicted):
    for kind, folder in (("predictions", "predictions/sample"), ("model", "models/sample")):
        for user in ("a", "b"):
            shutil.copytree(predicted.root / "data" / folder, predicted.root / user / kind / "val")
        option = ("validate", "sample", f"--{kind}")
        predicted.ok(*option, f"a/{kind}/val")
        predicted.ok(*option, predicted.root / f"a/{kind}/val")  # again, by another path
        before = kills.tree(predicted.root, "metrics")
        text = predicted.fails(*option, f"b/{kind}/val")
        assert f"scores of a/{kind}/val. Choose another --name" in text
        assert kills.tree(predicted.root, "metrics") == before
        predicted.ok(*option, f"b/{kind}/val", "--name", f"{kind}-val")
        assert f"scores of b/{kind}/val." in predicted.fails(*option, f"a/{kind}/val")


@pytest.mark.parametrize(
    ("size", "value", "named"),
    [((64, 128), 255, "values [255]"), ((128, 64), 7, "size (128, 64), expected (64, 128)")],
)
def test_wrong_predictions_are_refused(predicted, size, value, named):
    path = next((predicted.root / PREDICTIONS).iterdir())
    Image.fromarray(np.full(size, value, np.uint8)).save(path)
    text = predicted.fails("validate", "sample", "--predictions", PREDICTIONS)
    assert f"{path.name}: {named}" in text
    assert not (predicted.root / "metrics/sample/predictions").exists()


def test_model_of_another_protocol_is_marked(trained):
    path = trained.root / "data/models/sample/model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"protocol": "strict"}))
    assert "trained with protocol strict" in trained.ok("validate", "sample")
    assert metrics(trained)["model"]["protocol"] == "strict"


@pytest.mark.integration
def test_any_model_is_scored_beside_the_tracked_scores(trained, tmp_path):
    """By folder, by file, exported, and bundled; a model's twin has its numbers."""
    before = kills.tree(trained.root, "metrics")
    expected = metrics(trained)
    shutil.copytree(trained.root / "data/models/sample", tmp_path / "twin")
    trained.ok("export", tmp_path / "twin", tmp_path / "twin.onnx")
    trained.ok("validate", "--model", tmp_path / "twin")
    trained.ok("validate", "--model", tmp_path / "twin/last.safetensors", "--name", "last")
    trained.ok("validate", "--model", tmp_path / "twin.onnx", "--name", "graph")
    twin = metrics(trained, f"models/{tmp_path.name}-twin/validate.json")
    assert twin["model"] == expected["model"]
    assert twin["iou"] == expected["iou"]
    assert metrics(trained, "models/last/validate.json")["model"]["epoch"] == 16
    graph = metrics(trained, "models/graph/validate.json")
    assert graph["miou"] == pytest.approx(expected["miou"], abs=1e-3)
    assert graph["model"]["sha256"] != expected["model"]["sha256"]
    after = kills.tree(trained.root, "metrics")
    assert {name: after[name] for name in before} == before
    assert (trained.root / "data/panels/sample-models-last").is_dir()
    trained.ok("validate", "--model", tmp_path / "twin", "--flip", "--name", "twin")
    assert metrics(trained, "models/flip/twin/validate.json")["flip"] is True


def test_bundled_model_has_its_name_as_the_name_of_its_scores(trained, monkeypatch):
    for module in (segmenter, validate):
        monkeypatch.setattr(module, "BUNDLED", trained.root / "bundled")
    (trained.root / "bundled").mkdir()
    for path in (trained.root / "data/models/sample").glob("model.*"):
        shutil.copy(path, trained.root / "bundled" / f"tiny{path.suffix}")
    trained.ok("validate", "--model", "tiny")
    assert metrics(trained, "models/tiny/validate.json")["source"] == "tiny"


def test_without_a_model_the_command_to_run_is_named(trained):
    commands = ("validate", "predict", "report", "benchmark")
    shutil.rmtree(trained.root / "data/models/sample")
    for command in commands:
        assert "run `sgcp train sample` first" in trained.fails(command, "sample")
    assert trained.stopped_after(1, "sample").exit_code == 130
    for command in commands:
        text = trained.fails(command, "sample")
        assert "training was interrupted; run `sgcp train sample` to finish it" in text


@pytest.mark.integration
def test_predictions_with_options_by_hand_go_beside_the_tracked_ones(trained):
    before = kills.tree(trained.root, "data/predictions", "data/submissions")
    trained.ok("predict", "--flip", "--scale", "1", "--scale", "1.5")
    after = kills.tree(trained.root, "data/predictions", "data/submissions")
    beside = {name for name in after if name.startswith("data/predictions/sample-flip-scales")}
    assert len(beside) == 2
    assert {name: after[name] for name in after.keys() - beside} == before
    trained.ok("predict", "--window", "32", "48")
    assert len(list((trained.root / "data/predictions/sample-window-32-48").iterdir())) == 2
    trained.set(sample__predict__flip=True)
    trained.ok("predict", "--flip")  # as params.yaml has it: the tracked ones
    assert not (trained.root / "data/predictions/sample-flip").exists()


@pytest.mark.integration
def test_a_network_sees_images_at_the_size_that_it_was_trained_at(prepared, monkeypatch):
    from sgcp.inference.predict import Predictor

    seen, score = set(), Predictor.score

    def record(self, image):
        seen.add(tuple(image.shape[2:]))
        return score(self, image)

    monkeypatch.setattr(Predictor, "score", record)
    prepared.set(sample__train__input_side=32, sample__train__crop=[32, 32])
    prepared.ok("train", "sample")
    assert seen == {(32, 64)}
    prepared.ok("validate", "sample")
    scored = metrics(prepared)
    assert scored["input_size"] == [32, 64]
    assert scored["scored_size"] == [64, 128]
    # Training resizes by torch, validation by Pillow: a byte rounds otherwise here and there.
    history = pd.read_csv(prepared.root / "metrics/sample/train/plots/metrics/miou.tsv", sep="\t")
    assert scored["miou"] == pytest.approx(history["miou"].max(), abs=0.01)
    prepared.set(sample__validate__input_size=[64, 128])
    prepared.ok("validate", "sample")
    assert metrics(prepared)["input_size"] == [64, 128]
