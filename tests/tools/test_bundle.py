"""``sgcp bundle``: weights for the package, from a commit, described."""

import json
import subprocess

import pytest

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.core.layout import Layout
from sgcp.settings.load import load_params
from sgcp.settings.training import ALL_LABELLED
from sgcp.tools.bundle import bundle


def git(root, *arguments):
    command = ["git", "-C", root, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def committed(trained):
    trained.ok("validate", "sample")
    return commit(trained)


def commit(project):
    git(project.root, "init", "-q")
    git(project.root, "add", "params.yaml")
    git(project.root, "commit", "-qm", "state")
    return project


def make(project, target):
    params = load_params(project.root / "params.yaml")
    layout = Layout(project.root, "sample")
    bundle(layout, "quick", params.sample.train, params.machine, target)


@pytest.mark.integration
def test_bundle_is_the_recipe_on_train_and_val_with_its_origin(committed, tmp_path):
    make(committed, tmp_path / "weights")
    described = json.loads((tmp_path / "weights/sample.json").read_text())
    origin = described["provenance"]
    scores = json.loads((committed.root / "metrics/sample/validate.json").read_text())
    assert len(described["trained_on"]) == 6
    assert origin["commit"] == git(committed.root, "rev-parse", "HEAD")
    assert origin["recipe"] == "quick"
    assert origin["settings"]["split"] == "trainval"
    assert origin["chosen_by"]["miou"] == scores["miou"]
    assert origin["chosen_by"]["split"] == "val"
    fitted = scores["calibration"]["fitted_temperature"]
    assert sgcp.load(tmp_path / "weights/sample.safetensors").card.temperature == fitted != 1
    assert len(sgcp.load(tmp_path / "weights/sample.safetensors").classes) == 19
    # DVC's own outputs are as they were.
    kept = json.loads((committed.root / "data/models/sample/model.json").read_text())
    assert len(kept["trained_on"]) == 4


@pytest.mark.integration
def test_bundle_learns_the_drive_that_its_recipe_held_out(trained, tmp_path):
    changes = {f"sample__train__{key}": value for key, value in ALL_LABELLED.items()}
    trained.set(**changes, sample__train__holdout="arcburg", sample__train__epochs=1)
    for command in ("train", "validate"):
        trained.ok(command, "sample")
    commit(trained)
    make(trained, tmp_path / "weights")
    described = json.loads((tmp_path / "weights/sample.json").read_text())
    assert len(described["trained_on"]) == 6
    assert described["provenance"]["chosen_by"]["split"] == "holdout:arcburg"


def test_uncommitted_settings_make_no_bundle(committed, tmp_path):
    committed.set(sample__train__lr=0.02)
    with pytest.raises(SgcpError, match=r"not committed: params\.yaml"):
        make(committed, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_recipe_without_its_own_score_makes_no_bundle(committed, tmp_path):
    committed.set(sample__train__lr=0.02)
    git(committed.root, "commit", "-qam", "other")
    with pytest.raises(SgcpError, match="of a model with other settings"):
        make(committed, tmp_path / "weights")
    (committed.root / "metrics/sample/validate.json").unlink()
    with pytest.raises(SgcpError, match="sgcp validate sample"):
        make(committed, tmp_path / "weights")


def test_a_score_of_another_model_of_equal_settings_makes_no_bundle(committed, tmp_path):
    path = committed.root / "metrics/sample/validate.json"
    content = json.loads(path.read_text())
    content["model"]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(SgcpError, match="scores of another model; run `sgcp validate sample`"):
        make(committed, tmp_path / "weights")


@pytest.mark.parametrize("key", ["split_fingerprint", "protocol"])
def test_a_score_on_other_data_makes_no_bundle(committed, tmp_path, key):
    path = committed.root / "metrics/sample/validate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "other"}))
    with pytest.raises(SgcpError, match=rf"of other data \({key}\)"):
        make(committed, tmp_path / "weights")


def test_unknown_recipe_is_refused_with_those_there_are(committed):
    assert "sample has no 'best'; it has" in committed.fails("bundle", "sample", "--recipe", "best")
    assert "sample has no 'best'" in committed.fails("train", "sample", "--recipe", "best")
