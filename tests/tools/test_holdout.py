"""Held-out drives: what is learnt, what is scored, and where the results go."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from customs import halves, noise, save
from kills import tree

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import camvid_classes
from sgcp.datasets.index import Dataset, Item, learned_items, name_items
from sgcp.settings.load import load_params
from sgcp.settings.training import ALL_LABELLED

FRAMES = {
    "train": ["0001TP_1", "0006R0_f1", "0016E5_1", "0016E5_2"],
    "val": ["0016E5_3"],
    "test": ["0001TP_9", "Seq05VD_f1"],
}
RESULTS = "metrics/sample/holdout/quick/arcburg"
MODEL = "data/holdout/sample/quick/arcburg/models"


@pytest.fixture
def camvid():
    items = [
        Item(split, Path(split, f"{name}.png"), name.split("_")[0], 4, 4, name, Path(name))
        for split, names in FRAMES.items()
        for name in names
    ]
    return Dataset("camvid", "segnet", "grouped", camvid_classes(), tuple(items))


@pytest.fixture
def without(prepared):
    """Return a recipe of which a drive is held out."""
    recipe = load_params(prepared.root / "params.yaml").camvid.train
    return lambda drive: recipe.model_copy(update=ALL_LABELLED | {"holdout": drive})


@pytest.mark.parametrize(
    ("drive", "scored"),
    [("0001TP", ["0001TP_1"]), ("0016E5", ["0016E5_1", "0016E5_2", "0016E5_3"])],
)
def test_drive_is_scored_the_others_are_learnt_and_test_is_not_touched(
    camvid, without, drive, scored
):
    assert [item.image.stem for item in camvid.split(f"holdout:{drive}")] == scored
    labelled = {*FRAMES["train"], *FRAMES["val"]}
    learnt = {item.image.stem for item in learned_items(camvid, without(drive))}
    assert learnt == labelled - {*scored}


@pytest.mark.parametrize("drive", ["Seq05VD", "0016", ""])
def test_drive_that_train_and_val_lack_is_refused_with_those_that_they_have(camvid, drive):
    with pytest.raises(SgcpError, match=r"have no drive '.*'. Choose one of 0001TP \(1 images\)"):
        camvid.split(f"holdout:{drive}")


@pytest.mark.parametrize(("sequence", "what"), [("", "in no folders"), ("a/b", "a (4 images)")])
def test_data_of_one_drive_cannot_hold_it_out(camvid, sequence, what):
    items = tuple(replace(item, sequence=sequence) for item in camvid.items[:4])
    with pytest.raises(SgcpError, match="no drive can be held out") as caught:
        replace(camvid, items=items).split("holdout:a")
    assert what in str(caught.value)


def test_images_of_one_key_in_two_splits_have_different_names(camvid):
    one, other = camvid.items[0], replace(camvid.items[0], split="val", image=Path("val/0001TP_1"))
    assert list(name_items([one])) == ["0001TP_1"]
    assert name_items([one, other]) == {"train/0001TP_1": one, "val/0001TP_1": other}


def test_holdout_trains_and_scores_beside_other_results_and_resumes(trained):
    before = tree(trained.root)
    trained.set(sample__train__epochs=2, machine__checkpoint_seconds=0)
    stopped = trained.stopped_after(3, "sample", "--holdout", "arcburg")
    assert stopped.exit_code == 130
    text = trained.ok("train", "sample", "--holdout", "arcburg")
    assert "resuming" in text
    assert "sample 'holdout:arcburg', 2 images" in text
    after = tree(trained.root)
    assert {name: after[name] for name in before} == before
    assert all("/holdout/" in name for name in after.keys() - before.keys())
    scores = json.loads((trained.root / RESULTS / "validate.json").read_text())
    assert (scores["split"], scores["images"]) == ("holdout:arcburg", 2)
    card = json.loads((trained.root / MODEL / "model.json").read_text())
    cities = {name.split("/")[1] for name in card["trained_on"]}
    assert cities == {"bridgeton", "crossfield"}  # of train and of val
    assert card["provenance"]["epoch"] == 2
    curves = json.loads((trained.root / RESULTS / "train/metrics.json").read_text())
    assert curves["split"] == "holdout:arcburg"
    assert "finished already" in trained.ok("train", "sample", "--holdout", "arcburg")


@pytest.fixture
def held_out(trained):
    """A project with a model that was trained without the drive arcburg."""
    trained.set(sample__train__epochs=1)
    trained.ok("train", "sample", "--holdout", "arcburg", "--quiet")
    return trained


def test_model_is_scored_on_its_drive_unless_a_split_is_named(held_out):
    text = held_out.ok("validate", "sample", "--model", MODEL, "--name", "a")
    assert "trained without the drive arcburg: scored on it, not on 'val'" in text
    scores = json.loads((held_out.root / "metrics/sample/models/a/validate.json").read_text())
    assert scores == json.loads((held_out.root / RESULTS / "validate.json").read_text()) | {
        "source": MODEL
    }
    refused = held_out.fails("validate", "sample", "--model", MODEL, "--split", "val")
    assert "2 of 2 images to score were trained on" in refused


def test_score_of_a_drive_is_not_compared_with_one_of_the_published_split(held_out):
    files = "metrics/sample/validate.json", f"{RESULTS}/validate.json"
    assert "split: val" in held_out.fails("compare", *files)


def test_recipe_may_hold_out_a_drive_through_the_whole_graph(trained):
    """As by ``dvc exp run -S``: the stage's own outputs, marked."""
    changes = {f"sample__train__{key}": value for key, value in ALL_LABELLED.items()}
    trained.set(**changes, sample__train__holdout="crossfield", sample__train__epochs=1)
    for command in ("train", "validate", "report"):
        trained.ok(command, "sample")
    scores = json.loads((trained.root / "metrics/sample/validate.json").read_text())
    assert scores["split"] == "holdout:crossfield"


def test_unknown_drive_and_two_processes_are_refused_before_training(prepared):
    text = prepared.fails("train", "sample", "--holdout", "nowhere")
    assert "no drive 'nowhere'. Choose one of arcburg" in text
    prepared.set(machine__devices=2)
    assert "--holdout: runs on one device" in prepared.fails("train", "sample", "--holdout", "a")
    assert not (prepared.root / "data/holdout").exists()


def test_model_that_learnt_the_drive_is_no_beginning(trained):
    (trained.root / "data/models/sample").rename(trained.root / "start")
    trained.set(sample__train__init=str(trained.root / "start"))
    text = trained.fails("train", "sample", "--holdout", "arcburg")
    assert "2 of 2 images to score were trained on" in text


@pytest.mark.integration
def test_folders_of_custom_data_are_drives(project, tmp_path):
    """Two images have one key: that of a/1 in train and in val."""
    source = tmp_path / "source"
    for seed, name in enumerate(("train/a/1", "train/b/1", "train/b/2", "val/a/1", "val/c/1")):
        save(source / f"images/{name}.png", noise(seed))
        save(source / f"labels/{name}.png", halves(7, 3))
    (source / "classes.csv").write_text("name,values,color\nland,7,#00ff00\nsea,3,#0000ff\n")
    project.ok("download", "custom", "--root", source)
    project.ok("prepare", "custom")
    project.set(custom__train__epochs=1, custom__train__batch_size=2,
                custom__train__crop=[64, 64], custom__train__input_side=64)  # fmt: skip
    assert "on 3 images" in project.ok("train", "custom", "--holdout", "a")
    table = (project.root / "metrics/custom/holdout/quick/a/per_image.csv").read_text()
    assert [line.split(",")[0] for line in table.splitlines()[1:]] == ["train/a/1", "val/a/1"]
