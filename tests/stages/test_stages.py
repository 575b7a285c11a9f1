"""The chain on a tiny sample: what stages leave, and that they leave the same twice."""

import json
import shutil

import pandas as pd
import pytest
from conftest import ROOT
from kills import STAGES, tree
from PIL import Image

from sgcp.settings.load import load_params


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


def test_training_and_choosing_on_one_split_is_refused(trained):
    trained.set(sample__train__validate_split="train")
    assert "were trained on" in trained.fails("train", "sample")


def test_same_image_under_another_name_is_found_out(trained):
    """By content: a validation image that is a training image saved anew."""
    raw = trained.root / "data/raw/sample/leftImg8bit"
    learned, scored = (sorted((raw / split).rglob("*.png"))[0] for split in ("train", "val"))
    Image.open(learned).save(scored, compress_level=1)
    trained.ok("prepare", "sample")
    for command in ("train", "validate"):
        text = trained.fails(command, "sample")
        assert "the same pixels as train/arcburg/arcburg_000000_000019" in text, command


@pytest.mark.integration
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


def test_a_step_of_the_strong_recipe_of_cityscapes(prepared):
    """The sample has the form of Cityscapes; the real one is for GPUs, and its data not here."""
    recipe = load_params(ROOT / "params.yaml").cityscapes.recipes["strong"]
    small = {"batch_size": 2, "crop": (64, 64), "epochs": 1, "validate_every": 1}
    settings = json.loads(recipe.model_copy(update=small).model_dump_json())
    prepared.set(**{f"sample__train__{key}": value for key, value in settings.items()})
    prepared.ok("train", "sample")
    card = json.loads((prepared.root / "data/models/sample/model.json").read_text())
    assert card["provenance"]["settings"] == settings
    assert all(settings[key] for key in ("gamma", "channel_gain", "hue", "grey"))
