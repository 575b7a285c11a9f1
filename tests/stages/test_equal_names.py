"""Images of one name in different folders and splits: each has its own files and its own score."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Project, make_project
from networks import random_network
from PIL import Image
from submissions import GOOD, SIZE, STEMS, png, scene, write_folder, write_zip

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import classes_to_json
from sgcp.datasets.index import read_dataset, refuse_overlap, trained_digests
from sgcp.media.images import read_image, read_label
from sgcp.models.artifact import save_model
from sgcp.models.card import ModelCard
from sgcp.models.network import SGCPNet

NAMES = ("a/0001", "b/0001", "b/c/0001", "0001", "b/0002")
VALUES = np.array([3, 7], np.uint8)  # of the two classes


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """A project with own data, prepared: in all splits the same five names, other pixels."""
    root = tmp_path_factory.mktemp("custom")
    (root / "project").mkdir()
    project, source = make_project(root / "project"), root / "source"
    random = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in NAMES:
            image = random.integers(0, 256, (32, 64, 3), np.uint8)
            save(source / f"images/{split}/{name}.png", image)
            label = VALUES[random.integers(0, 2, (32, 64))]
            save(source / f"labels/{split}/{name}.png", label)
    (source / "classes.csv").write_text("name,values,color\nx,3,#00ff00\ny,7,#0000ff\n")
    project.set(custom__validate__panels=4)
    project.ok("download", "custom", "--root", source)
    project.ok("prepare", "custom")
    project.source = source
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    return Project(shutil.copytree(made.root, tmp_path / "project", symlinks=True))


@pytest.fixture
def with_model(project: Project) -> Project:
    """The project with a model of random weights, as if trained on its training split."""
    dataset = read_dataset(project.root / "data/prepared/custom")
    network, state = SGCPNet(2), random_network().state_dict()
    network.load_state_dict(state | {k: state[k][:2] for k in state if k.startswith("classifier")})
    card = ModelCard(
        classes_to_json(dataset.classes), "custom", dataset.edition, dataset.protocol,
        trained_on=trained_digests(dataset.split("train")),
    )  # fmt: skip
    path = project.root / "data/models/custom/model.safetensors"
    save_model(network, network.state_dict(), card, path)
    return project


def files(folder: Path) -> set[str]:
    """Return the PNGs below a folder, without ending."""
    return {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.png")}


@pytest.fixture
def perfect(made: Project, tmp_path: Path) -> Path:
    """The labels of the validation split, as predictions."""
    return shutil.copytree(made.source / "labels/val", tmp_path / "perfect")


def scores(project: Project, folder: Path) -> dict:
    project.ok("validate", "custom", "--predictions", folder, "--name", "x")
    return json.loads(
        (project.root / "metrics/custom/predictions/x/validate.json").read_text("utf-8")
    )


def test_every_image_has_its_own_label_map(project):
    folder = project.root / "data/prepared/custom"
    assert files(folder / "labels") == {f"{s}/{n}" for s in ("train", "val", "test") for n in NAMES}
    for item in read_dataset(folder).items:
        label = read_label(project.root / "data/raw/custom/labels" / item.split / f"{item.key}.png")
        assert (VALUES[read_label(folder / item.label)] == label).all()


def test_every_image_has_its_own_prediction_and_place_in_the_zip(with_model):
    assert "5 label-id images" in with_model.ok("predict", "custom")
    folder = with_model.root / "data/predictions/custom"
    assert files(folder) == set(NAMES)
    model = sgcp.load(with_model.root / "data/models/custom", precision="fp32")  # as predict does
    for item in read_dataset(with_model.root / "data/prepared/custom").split("test"):
        labels = model.segment(read_image(with_model.root / "data/raw/custom" / item.image))
        assert (read_label(folder / f"{item.key}.png") == VALUES[labels]).all()
    with_model.ok("package-submission", "custom")
    zipped = "data/submissions/custom/test_result.zip"
    with zipfile.ZipFile(with_model.root / zipped) as archive:
        names = archive.namelist()
        assert set(names) == {f"{name}.png" for name in NAMES}
        assert all(archive.read(name) == (folder / name).read_bytes() for name in names)
    assert "no problems" in with_model.ok("check-submission", zipped, "--dataset", "custom")


def test_every_image_has_its_own_panel_row_and_place_on_the_pages(with_model):
    with_model.ok("validate", "custom")
    assert len(files(with_model.root / "data/panels/custom")) == 2 * len(NAMES)
    table = pd.read_csv(with_model.root / "metrics/custom/per_image.csv")
    assert set(table["image"]) == set(NAMES)
    best = table.sort_values(["miou", "image"], ascending=[False, True])["image"].iloc[0]
    with_model.ok("report", "custom")
    page = (with_model.root / "data/reports/custom/report.html").read_text(encoding="utf-8")
    assert f"Best 1: {best}" in page
    with_model.ok("browse", "custom")
    page = (with_model.root / "data/browse/custom/index.html").read_text(encoding="utf-8")
    assert all(f"images/val/{name}.png" in page for name in NAMES)
    assert "name twice" not in page


@pytest.mark.parametrize("depth", ["", "run/1"])
def test_predictions_are_matched_by_folder_and_name(project, perfect, tmp_path, depth):
    folder = tmp_path / "given"
    (folder / depth).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(perfect, folder / depth)
    found = scores(project, folder)
    assert (found["miou"], found["images"]) == (1.0, 5)
    first, second = folder / depth / "a/0001.png", folder / depth / "b/0001.png"
    first.rename(tmp_path / "x")
    second.rename(first)
    (tmp_path / "x").rename(second)
    assert scores(project, folder)["miou"] < 0.9


@pytest.mark.parametrize(
    ("spoil", "problem", "named"),
    [
        (lambda f: (f / "a/0001.png").unlink(), "no prediction (1)", "a/0001"),
        (lambda f: shutil.copytree(f / "a", f / "old/a"), "several predictions (1)",
         "a/0001: a/0001.png, old/a/0001.png"),
        # b/0002 is the only image of its name in the split, but the file is of another split
        (lambda f: (f / "b/0002.png").rename(f / "a/0002.png"), "no prediction (1)", "b/0002"),
    ],
    ids=["missing", "twice", "elsewhere"],
)  # fmt: skip
def test_each_image_needs_its_own_file(project, perfect, spoil, problem, named):
    spoil(perfect)
    text = project.fails("validate", "custom", "--predictions", perfect)
    assert "1 problem(s), nothing was scored" in text
    assert problem in text
    assert named in text


def test_flat_predictions_of_equal_names_are_refused_with_all_images_of_the_name(
    project, perfect, tmp_path
):
    folder = tmp_path / "flat"
    for name in ("b/c/0001", "b/0002"):
        (folder / "run").mkdir(parents=True, exist_ok=True)
        shutil.copy(perfect / f"{name}.png", folder / "run")
    shutil.rmtree(project.root / "data/prepared/custom")
    for kind in ("images", "labels"):
        (project.root / f"data/raw/custom/{kind}/val/0001.png").unlink()
    project.ok("prepare", "custom")
    text = project.fails("validate", "custom", "--predictions", folder)
    assert "name of several images (1)" in text
    assert "run/0001.png: a/0001, b/0001, b/c/0001" in text
    for name in ("a/0001", "b/0001"):
        for kind in ("images", "labels"):
            (project.root / f"data/raw/custom/{kind}/val/{name}.png").unlink()
    project.ok("prepare", "custom")
    assert scores(project, folder)["miou"] == 1.0  # each name stands for one image now


@pytest.mark.parametrize("top", ["", "results/"])
def test_zip_with_folders_is_matched_by_folder_and_name(made, project, top):
    labels = made.source / "labels/test"
    content = {f"{top}{name}.png": (labels / f"{name}.png").read_bytes() for name in NAMES}
    write_zip(project.root / "a.zip", content)
    assert "no problems" in project.ok("check-submission", "a.zip", "--dataset", "custom")
    del content[f"{top}b/0001.png"]
    write_zip(project.root / "a.zip", content)
    report = json.loads(
        project.run("check-submission", "a.zip", "--dataset", "custom", "--json", "-").stdout
    )
    assert [(p["kind"], [f["name"] for f in p["found"]]) for p in report["problems"]] == [
        ("missing", ["b/0001"])
    ]


# Which images a model was trained on.


def test_one_name_in_train_and_val_is_no_overlap_but_one_image_is(project):
    dataset = read_dataset(project.root / "data/prepared/custom")
    train, val = dataset.split("train"), dataset.split("val")
    refuse_overlap(trained_digests(train), val)
    raw = project.root / "data/raw/custom/images"
    (raw / "val/b/0002.png").unlink()
    shutil.copy(raw / "train/a/0001.png", raw / "val/b/0002.png")
    project.ok("prepare", "custom")
    val = read_dataset(project.root / "data/prepared/custom").split("val")
    with pytest.raises(SgcpError, match=r"1 of 5 .*val/b/0002, the same pixels as train/a/0001"):
        refuse_overlap(trained_digests(train), val)
    with pytest.raises(SgcpError, match=r"by its name alone; rename it if it is another image"):
        refuse_overlap({val[0].origin: "other"}, val)


def test_images_of_an_earlier_dataset_with_the_same_names_stay_known(project):
    """A model begun with another one was trained on the images of both."""
    train = read_dataset(project.root / "data/prepared/custom").split("train")
    before = {item.origin: f"before {item.key}" for item in train}
    digests = trained_digests(train, before)
    assert set(digests.values()) == {*before.values(), *(item.image_digest for item in train)}
    assert trained_digests(train, digests) == digests


# Cityscapes' form.


def test_images_of_one_name_to_compare_with_are_refused_with_both_paths(tmp_path):
    project = Project(tmp_path)
    image = png(np.zeros((*SIZE, 3), np.uint8))
    names = ("test/3/frame0021_leftImg8bit.png", "test/4/Frame0021_leftImg8bit.png")
    write_folder(tmp_path / "leftImg8bit", dict.fromkeys(names, image))
    write_zip(tmp_path / "a.zip", {"frame0021.png": GOOD[f"{STEMS[0]}.png"]})
    text = project.fails("check-submission", "a.zip", "--images", "leftImg8bit/test")
    assert all(f"leftImg8bit/{name}" in text for name in names)


def test_name_that_another_name_begins_with_is_answered_by_its_own_file_alone(tmp_path):
    project = Project(tmp_path)
    image = png(np.zeros((*SIZE, 3), np.uint8))
    names = ["frame1", "frame10", "frame1_b", "frame"]
    write_folder(tmp_path / "flat", {f"{name}_leftImg8bit.png": image for name in names})
    predictions = {f"{name}.png": png(scene(n)) for n, name in enumerate(names)}
    write_zip(tmp_path / "a.zip", predictions)
    # Images to compare with need no city folder.
    assert "4 images of flat" in project.ok("check-submission", "a.zip", "--images", "flat")
    for name in names:
        write_zip(tmp_path / "a.zip", {k: v for k, v in predictions.items() if k != f"{name}.png"})
        result = project.run("check-submission", "a.zip", "--images", "flat", "--json", "-")
        problems = json.loads(result.stdout)["problems"]
        assert [(p["kind"], [f["name"] for f in p["found"]]) for p in problems] == [
            ("missing", [name])
        ]
