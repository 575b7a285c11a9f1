import shutil
from pathlib import Path
from typing import get_args

import pytest
from conftest import ROOT, set_params
from pydantic import BaseModel

from sgcp.core.errors import SgcpError
from sgcp.settings import Params, TrainSettings
from sgcp.settings.load import load_params, read_changes


@pytest.fixture
def params_file(tmp_path: Path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def message(path: Path) -> str:
    with pytest.raises(SgcpError) as caught:
        load_params(path)
    return str(caught.value)


def test_committed_params_are_valid():
    assert load_params(ROOT / "params.yaml").datasets == ("sample",)


def test_settings_cannot_be_changed_after_loading(params_file):
    with pytest.raises(ValueError, match="frozen"):
        load_params(params_file).sample.train.lr = 1.0


@pytest.mark.parametrize(
    ("key", "value", "right"),
    [
        ("sample.train.lr", -1, "greater than 0"),
        ("sample.train.lr", "fast", "valid number"),
        ("sample.train.lr", float("nan"), "finite"),
        ("camvid.train.lr", float("inf"), "finite"),
        ("camvid.train.batch_size", 12.5, "valid integer"),
        ("camvid.train.batch_size", 1, "greater than or equal to 2"),
        ("camvid.train.batch_size", True, "valid integer"),
        ("camvid.train.seed", 5_000_000_000, "less than or equal to 4294967295"),
        ("camvid.train.crop", [360], "too few values"),
        ("camvid.train.crop", [360, 484], "should be a multiple of 8, got 484"),
        ("camvid.train.encoder", "resnet", "'sgcp' or 'mobilenet_v3_small'"),
        ("camvid.prepare.protocol", "both", "'strict' or 'grouped'"),
        ("cityscapes.download.root", 3, "valid string"),
        ("custom.download.root", 3, "valid string"),
        ("camvid.download.edition", "fine", "'segnet'"),
        ("machine.devices", "many", "'auto'"),
        ("machine.compile", "maybe", "'auto'"),
        ("machine.loader_workers", -1, "'auto'"),
        ("machine.cache_megabytes", -1, "greater than or equal to 0"),
        ("datasets", ["sample", "kitti"], "'sample', 'camvid', 'cityscapes' or 'custom'"),
        ("datasets", [], "at least 1"),
        ("datasets", ["sample", "sample"], "twice"),
    ],
)
def test_wrong_value_is_refused_by_full_name(params_file, key, value, right):
    set_params(params_file, {key: value})
    text = message(params_file)
    assert key.replace(".train.", ".train.quick.") in text
    assert right in text


@pytest.mark.parametrize("change", ["holdout=2024-01-05", "lr", "=3", "a b=3", "crop=[1,"])
def test_change_that_is_no_setting_is_one_message(change):
    with pytest.raises(SgcpError, match="expected KEY=VALUE"):
        read_changes([change], "camvid.train.quick")


def test_a_list_of_wrong_items_is_not_called_empty(params_file):
    set_params(params_file, {"datasets": ["sampel"]})
    assert message(params_file).count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"scale": [2.0, 0.5]}, "scale: the range must rise"),
        ({"validate_split": None}, "keep: 'best' needs a split to choose by"),
        ({"init": "a", "encoder_weights": "b"}, "init: brings an encoder"),
        ({"teacher": "a"}, "teacher: has no effect without distill"),
        ({"distill": 1.0}, "teacher: has no effect without distill"),
        ({"noise_from": 0.5}, "noise_from: has no effect without noise"),
        ({"noise": 9.0, "noise_from": 0.5, "max_minutes": 5}, "noise_from: counts epochs"),
    ],
)
def test_contradiction_is_refused_in_the_recipe_that_is_used_alone(params_file, changes, problem):
    set_params(params_file, {f"camvid.train.strong.{key}": v for key, v in changes.items()})
    camvid = load_params(params_file).camvid
    assert camvid.train.epochs > 0
    camvid.select("strong")
    with pytest.raises(SgcpError) as caught:
        _ = camvid.train
    assert f"camvid.train.strong.{problem}" in str(caught.value)


def test_unknown_key_of_a_recipe_that_is_not_used_is_refused(params_file):
    set_params(params_file, {"camvid.train.strong.learning_rate": 1})
    assert "camvid.train.strong.learning_rate: unknown key" in message(params_file)


def test_unknown_key_is_refused_with_the_nearest_known(params_file):
    set_params(params_file, {"camvid.train.learning_rate": 1, "camvid.train.epoch": 3})
    text = message(params_file)
    assert "camvid.train.quick.epoch: unknown key; did you mean 'epochs'?" in text
    assert "camvid.train.quick.learning_rate: unknown key; known here: seed, split" in text


def test_old_name_is_refused_with_the_new_one(params_file):
    set_params(params_file, {"own": {}, "camvid.train.lovasz": 0.5})
    text = message(params_file)
    assert "own: is now called custom" in text
    assert "camvid.train.quick.lovasz: is now called extra_loss" in text


def test_missing_key_is_refused_by_full_name(params_file):
    params_file.write_text(params_file.read_text().replace("    batch_size: 4 ", "    # ", 1))
    assert "sample.train.paper.batch_size: missing" in message(params_file)


def test_merged_values_are_those_of_the_nearest_section(params_file):
    params = load_params(params_file)
    quick, paper = params.camvid.recipes["quick"], params.camvid.recipes["paper"]
    assert (quick.optimizer, quick.epochs, quick.crop) == ("adamw", 34, (360, 480))
    assert (paper.optimizer, paper.epochs, paper.crop) == ("sgd", 60, (360, 480))
    assert params.custom.recipes["strong"].crop == (384, 384)


def test_recipe_of_ones_own_is_the_keys_that_differ(params_file):
    text = params_file.read_text()
    text = text.replace("  train:\n", "  train:\n    mine:\n      <<: *recipe\n      lr: 0.5\n", 1)
    params_file.write_text(text.replace("recipe: quick", "recipe: mine", 1))
    sample = load_params(params_file).sample
    assert sample.train.recipe == "mine"
    changed = {"lr": 0.5, "epochs": 60, "validate_every": 10}
    assert sample.train.model_dump() == sample.recipes["paper"].model_dump() | changed


@pytest.mark.parametrize("content", ["", "[1, 2]", "datasets: [", "datasets: [a]\ndatasets: [b]"])
def test_file_that_is_no_map_is_refused(params_file, content):
    params_file.write_text(content)
    assert "params.yaml" in message(params_file)


def test_repeated_key_is_refused(params_file):
    text = params_file.read_text().replace("      panels: 1", "      panels: 2\n      panels: 1")
    params_file.write_text(text)
    assert "duplicate key" in message(params_file)


def test_binary_file_is_refused(params_file):
    params_file.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in message(params_file)


def all_sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):  # of a map, its values
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= all_sections(kind)
    return found


def test_no_setting_has_a_silent_default():
    assert TrainSettings in all_sections(Params)
    for section in all_sections(Params):
        for name, field in section.model_fields.items():
            assert field.is_required(), f"{section.__name__}.{name}"
