"""The stages on a tiny sample: what they write, and what they refuse."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Project
from kills import STAGES, tree
from PIL import Image
from safetensors.torch import load_file, save_file

from sgcp.datasets.classes import cityscapes_classes
from sgcp.stages.import_checkpoint import AUTHORS_CAMVID

LABEL_IDS = {item.label_id for item in cityscapes_classes()}


def metrics(project: Project, name: str = "validate.json") -> dict:
    return json.loads((project.root / "metrics/sample" / name).read_text())


def test_model_description_says_what_the_numbers_mean(trained):
    card = json.loads((trained.root / "data/models/sample/model.json").read_text())
    assert [row["name"] for row in card["classes"]][:3] == ["road", "sidewalk", "building"]
    assert card["protocol"] == "cityscapes-19"
    assert card["trained_size"] == [64, 64]
    assert len(card["trained_on"]) == 4
    assert card["provenance"]["settings"]["seed"] == 42


def test_curves_have_a_row_an_epoch(trained):
    folder = trained.root / "metrics/sample/train/plots/metrics"
    for name, steps in (("loss", [*range(1, 17)]), ("lr", [*range(1, 17)]), ("miou", [8, 16])):
        table = pd.read_csv(folder / f"{name}.tsv", sep="\t")
        assert table["step"].tolist() == steps, name


def test_metrics_carry_their_protocol_split_and_size(trained):
    content = metrics(trained)
    assert 0 <= content["miou"] <= 1
    assert (content["dataset"], content["protocol"]) == ("sample", "cityscapes-19")
    assert (content["split"], content["images"]) == ("val", 2)
    assert content["input_size"] == content["scored_size"] == [64, 128]
    assert content["class_order"][:2] == ["road", "sidewalk"]
    prepared = json.loads((trained.root / "data/prepared/sample/dataset.json").read_text())
    assert content["split_fingerprint"] == prepared["splits"]["val"]["fingerprint"]
    curves = metrics(trained, "train/metrics.json")
    for key in ("dataset", "edition", "protocol", "class_order", "split", "split_fingerprint"):
        assert curves[key] == content[key], key


def test_score_of_the_best_epoch_is_the_one_seen_in_training(trained):
    """Training's validation and the stage count the same pixels the same way."""
    history = pd.read_csv(trained.root / "metrics/sample/train/plots/metrics/miou.tsv", sep="\t")[
        "miou"
    ]
    assert metrics(trained)["miou"] == pytest.approx(history.max(), abs=1e-9)


def test_tables_agree_with_the_metrics(trained):
    folder = trained.root / "metrics/sample"
    per_class = pd.read_csv(folder / "per_class.csv")
    assert per_class["iou"].mean() == pytest.approx(metrics(trained)["miou"])
    confusion = pd.read_csv(folder / "confusion.csv")
    assert len(confusion) == 19 * 19
    right = confusion[confusion["actual"] == confusion["predicted"]]["pixels"].sum()
    accuracy = right / confusion["pixels"].sum()
    assert accuracy == pytest.approx(metrics(trained)["pixel_accuracy"])


def test_panels_are_pictures(trained):
    panels = list((trained.root / "data/panels/sample").glob("*.png"))
    assert len(panels) == 1
    assert Image.open(panels[0]).mode == "RGB"


def test_network_sees_the_size_asked_for(trained):
    before = metrics(trained)
    trained.set(sample__validate__input_size=[32, 64])
    trained.ok("validate", "sample")
    after = metrics(trained)
    assert after["input_size"] == [32, 64]
    assert after["scored_size"] == before["scored_size"]
    assert after["miou"] != before["miou"]


def test_scoring_the_training_split_is_refused(trained):
    assert "were trained on" in trained.fails("validate", "sample", "--split", "train")


def test_scores_of_another_split_go_beside_the_tracked_ones(trained):
    before = metrics(trained)
    trained.set(sample__train__validate_split="val", sample__validate__split="test")
    trained.ok("validate", "sample", "--split", "val")
    assert metrics(trained, "val/validate.json")["miou"] == before["miou"]
    assert metrics(trained) == before
    assert (trained.root / "data/panels/sample-val").is_dir()


def test_scoring_unlabelled_pictures_is_refused(trained):
    assert "without labels" in trained.fails("validate", "sample", "--split", "test")


def test_training_and_choosing_on_one_split_is_refused(trained):
    trained.set(sample__train__validate_split="train")
    assert "were trained on" in trained.fails("train", "sample")


def test_model_with_classes_in_another_order_scores_the_same(trained):
    """Indices mean nothing without names: reorder the outputs and their description together."""
    before = metrics(trained)
    folder = trained.root / "data/models/sample"
    card = json.loads((folder / "model.json").read_text())
    order = np.random.default_rng(0).permutation(19)
    weights = load_file(folder / "model.safetensors")
    for key in ("classifier.weight", "classifier.bias"):
        weights[key] = weights[key][torch.from_numpy(order)].contiguous()
    card["classes"] = [card["classes"][i] | {"train_id": n} for n, i in enumerate(order.tolist())]
    save_file(weights, folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(card))
    trained.ok("validate", "sample")
    assert metrics(trained)["miou"] == pytest.approx(before["miou"], abs=1e-4)
    before = {p.name: p.read_bytes() for p in (trained.root / "data/predictions/sample").iterdir()}
    trained.ok("predict", "sample")
    for path in (trained.root / "data/predictions/sample").iterdir():
        same = np.array(Image.open(path)) == np.array(
            Image.open(__import__("io").BytesIO(before[path.name]))
        )
        assert same.mean() > 0.999


def test_model_of_other_classes_is_refused(trained, shared):
    source = shared / "reference" / "camvid11.pth.tar"
    trained.ok("import-checkpoint", source, "data/models/sample", "--classes", "camvid")
    for command in ("validate", "predict"):
        assert "scores 11 classes, the dataset has 19" in trained.fails(command, "sample")


def test_predictions_are_label_ids_at_original_size(trained):
    paths = sorted((trained.root / "data/predictions/sample").iterdir())
    assert [path.name for path in paths] == [
        "dunham_000000_000019.png", "dunham_000001_000019.png",
    ]  # fmt: skip
    for path in paths:
        image = Image.open(path)
        assert (image.mode, image.size) == ("L", (128, 64))
        assert set(np.unique(np.array(image)).tolist()) <= LABEL_IDS


def test_zip_holds_the_predictions_and_nothing_else(trained):
    folder = trained.root / "data/submissions/sample"
    with zipfile.ZipFile(folder / "test_result.zip") as archive:
        assert archive.testzip() is None
        packed = {name: archive.read(name) for name in archive.namelist()}
    predictions = trained.root / "data/predictions/sample"
    assert packed == {path.name: path.read_bytes() for path in predictions.iterdir()}
    report = json.loads((folder / "check.json").read_text())
    assert report["images"] == 2
    assert report["problems"] == []


def test_same_predictions_give_the_same_zip(trained):
    path = trained.root / "data/submissions/sample/test_result.zip"
    before = path.read_bytes()
    os.utime(trained.root / "data/predictions/sample/dunham_000000_000019.png", (0, 0))
    trained.ok("package-submission", "sample")
    assert path.read_bytes() == before


def test_wrong_predictions_are_all_listed_and_no_zip_is_written(trained):
    shutil.rmtree(trained.root / "data/submissions")
    folder = trained.root / "data/predictions/sample"
    (folder / "dunham_000000_000019.png").unlink()
    Image.fromarray(np.full((64, 128), 3, np.uint8)).save(folder / "dunham_000001_000019.png")
    (folder / "thumbs.db").write_bytes(b"x")
    text = trained.fails("package-submission", "sample")
    for problem in ("3 problem(s)", "no prediction (1)", "ids [3]", "thumbs.db"):
        assert problem in text
    assert not list((trained.root / "data").rglob("*.zip"))


def test_cityscapes_submission_needs_its_1525_images(trained):
    for part in ("raw", "prepared", "models", "predictions"):
        shutil.copytree(
            trained.root / f"data/{part}/sample", trained.root / f"data/{part}/cityscapes"
        )
    description = trained.root / "data/prepared/cityscapes/dataset.json"
    content = json.loads(description.read_text()) | {"dataset": "cityscapes", "edition": "fine"}
    description.write_text(json.dumps(content))
    text = trained.fails("package-submission", "cityscapes")
    assert "2 test images are known, the benchmark has 1525" in text


def test_official_command_and_ours_agree_on_the_same_files(trained):
    """cityscapesScripts' own command scores val predictions as `sgcp validate` does, both ways."""
    trained.set(sample__predict__split="val")
    trained.ok("predict", "sample")
    predictions = trained.root / "data/predictions/sample"
    environment = os.environ | {
        "CITYSCAPES_DATASET": str(trained.root / "data/raw/sample"),
        "CITYSCAPES_RESULTS": str(predictions),
    }
    script = Path(sys.executable).with_name("csEvalPixelLevelSemanticLabeling")
    done = subprocess.run(
        [script], env=environment, cwd=trained.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = [*trained.root.rglob("resultPixelLevelSemanticLabeling.json")]
    official = json.loads(files[0].read_text())
    trained.ok("validate", "sample", "--predictions", predictions)
    for name in ("validate.json", "predictions/sample/validate.json"):
        assert_official(metrics(trained, name), official)


def assert_official(ours: dict, official: dict) -> None:
    means = {
        "miou": "averageScoreClasses",
        "miiou": "averageScoreInstClasses",
        "category_miou": "averageScoreCategories",
        "category_miiou": "averageScoreInstCategories",
    }
    for key, name in means.items():
        assert ours[key] == pytest.approx(official[name], abs=1e-9), key
    kinds = {
        "iou": "classScores",
        "iiou": "classInstScores",
        "category_iou": "categoryScores",
        "category_iiou": "categoryInstScores",
    }
    for key, kind in kinds.items():
        for name, value in ours[key].items():
            judge = official[kind][name]
            assert np.isnan(judge) if value is None else value == pytest.approx(judge, abs=1e-9)
    assert [len(ours[key]) for key in kinds] == [19, 8, 7, 2]


def test_predictions_of_any_depth_and_ending_are_found(trained):
    trained.set(sample__predict__split="val")
    trained.ok("predict", "sample")
    other = trained.root / "mine"
    for path in (trained.root / "data/predictions/sample").iterdir():
        (other / path.stem.split("_")[0]).mkdir(parents=True, exist_ok=True)
        path.rename(other / path.stem.split("_")[0] / f"{path.stem}_pred.png")
    before = metrics(trained)
    trained.ok("validate", "sample", "--predictions", other)
    assert metrics(trained, "predictions/mine/validate.json")["miou"] == before["miou"]
    assert metrics(trained) == before


def test_wrong_prediction_folders_are_refused(trained):
    text = trained.fails("validate", "sample", "--predictions", "data/predictions/sample")
    assert "2 problem(s), nothing was scored" in text  # they are of the test split
    assert "no such folder" in trained.fails("validate", "sample", "--predictions", "absent")
    trained.set(sample__predict__split="val")
    trained.ok("predict", "sample")
    path = next((trained.root / "data/predictions/sample").iterdir())
    Image.fromarray(np.full((64, 128), 255, np.uint8)).save(path)
    text = trained.fails("validate", "sample", "--predictions", "data/predictions/sample")
    assert "ids [255] are no label ids (0 to 33); 255 stands in train-id maps" in text
    Image.fromarray(np.full((128, 64), 7, np.uint8)).save(path)
    text = trained.fails("validate", "sample", "--predictions", "data/predictions/sample")
    assert "size (128, 64), expected (64, 128)" in text
    assert not (trained.root / "metrics/sample/predictions").exists()


def test_same_picture_under_another_name_is_found_out(trained):
    """By content: a validation picture that is a training picture saved anew."""
    raw = trained.root / "data/raw/sample/leftImg8bit"
    learned, scored = (sorted((raw / split).rglob("*.png"))[0] for split in ("train", "val"))
    Image.open(learned).save(scored, compress_level=1)
    trained.ok("prepare", "sample")
    for command in ("train", "validate"):
        text = trained.fails(command, "sample")
        assert f"the same pixels as {learned.stem}" in text, command


def test_same_settings_give_the_same_bytes_for_any_number_of_workers(project):
    """Weights, metrics and zip, from an empty project, twice and with other workers."""
    trees = []
    for workers in (0, 2):
        project.set(machine__loader_workers=workers, machine__prepare_workers=workers or 1)
        for stage in STAGES:
            project.ok(stage, "sample")
        trees.append(tree(project.root))
        for part in ("data", "metrics"):
            shutil.rmtree(project.root / part)
    assert trees[0].keys() == trees[1].keys()
    assert [name for name in trees[0] if trees[0][name] != trees[1][name]] == []
    names = "data/models/sample/model.safetensors", "data/submissions/sample/test_result.zip"
    assert all(name in trees[0] for name in names)


def test_model_of_another_protocol_is_marked(trained):
    path = trained.root / "data/models/sample/model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"protocol": "strict"}))
    assert "the model learnt protocol strict" in trained.ok("validate", "sample")
    assert metrics(trained)["model"]["protocol"] == "strict"


@pytest.mark.parametrize(
    ("name", "options", "first", "protocol"),
    [
        ("cityscapes19", (), "road", "cityscapes-19"),
        ("camvid11", ("--classes", "camvid"), "Sky", "strict"),
        ("camvid11", ("--classes", "camvid-authors"), "Bicyclist", "strict"),
    ],
)
def test_imported_checkpoint_keeps_its_outputs_and_names_them(
    project, shared, name, options, first, protocol
):
    import sgcp
    from sgcp.models import read_authors_checkpoint

    source = shared / "reference" / f"{name}.pth.tar"
    project.ok("import-checkpoint", source, "out", *options, "--trained-size", "1024", "2048")
    model = sgcp.load(project.root / "out")
    assert model.classes[0].name == first
    assert model.card.protocol == protocol
    assert tuple(model.card.trained_size) == (1024, 2048)
    assert model.card.provenance["imported_from"] == source.name
    x = torch.randn(1, 3, 40, 56)
    with torch.inference_mode():
        ours, theirs = model.predictor.network(x), read_authors_checkpoint(source)(x)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_camvid_checkpoint_must_be_told_its_order(project, shared):
    source = shared / "reference" / "camvid11.pth.tar"
    assert "--classes camvid-authors" in project.fails("import-checkpoint", source, "out")
    text = project.fails("import-checkpoint", source, "out", "--classes", "cityscapes")
    assert "19 classes, the checkpoint has 11" in text
    assert not (project.root / "out").exists()
    assert len(set(AUTHORS_CAMVID)) == 11
