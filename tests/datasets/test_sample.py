import json

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from sgcp.datasets.sample import generate_sample
from sgcp.metrics.iou import mean_iou
from sgcp.settings.load import load_params

SIZE = (128, 256)


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_same_seed_gives_the_same_bytes_on_any_number_of_processes(tmp_path):
    counts = {"train": 2, "val": 1, "test": 1}
    for name, seed, workers in (("a", 1, 1), ("b", 1, 2), ("c", 2, 1)):
        generate_sample(tmp_path / name, seed, (64, 128), counts, workers)
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert a != c


def test_files_have_the_form_of_cityscapes(tmp_path):
    generate_sample(tmp_path, 1, (64, 128), {"train": 1, "val": 1, "test": 1}, 1)
    stem = "crossfield/crossfield_000000_000019"
    image = Image.open(tmp_path / f"leftImg8bit/val/{stem}_leftImg8bit.png")
    assert (image.mode, image.size) == ("RGB", (128, 64))
    annotation = json.loads((tmp_path / f"gtFine/val/{stem}_gtFine_polygons.json").read_text())
    assert set(annotation) == {"imgHeight", "imgWidth", "objects"}
    assert set(annotation["objects"][0]) == {"label", "polygon"}
    for kind in ("labelIds", "instanceIds", "color"):
        assert (tmp_path / f"gtFine/val/{stem}_gtFine_{kind}.png").is_file()
    test = next((tmp_path / "gtFine/test").rglob("*_polygons.json"))
    assert [o["label"] for o in json.loads(test.read_text())["objects"]] == ["out of roi"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Images and train-id maps of a training and a validation split, as the pipeline sees them."""
    from sgcp.datasets.cityscapes import prepare_cityscapes

    root = tmp_path_factory.mktemp("scenes")
    counts = {"train": 24, "val": 8, "test": 1}
    generate_sample(root, load_params(ROOT / "params.yaml").sample.download.seed, SIZE, counts, 2)
    items = prepare_cityscapes(root, root, "sample", "procedural", counts, False, 2).items

    def read(split):
        pairs = [i for i in items if i.split == split]
        images = np.stack([np.array(Image.open(root / i.image)) for i in pairs])
        return images, np.stack([np.array(Image.open(root / i.label)) for i in pairs])

    return read("train"), read("val")


def test_every_class_occurs_in_both_splits(scenes):
    for _, labels in scenes:
        assert set(range(19)) <= set(np.unique(labels).tolist())


def colour_features(images):
    """Colour to 5 bits a channel: a look-up table over it is the best colour threshold there is."""
    quantised = images.astype(np.int64) >> 3
    return (quantised[..., 0] << 10) | (quantised[..., 1] << 5) | quantised[..., 2]


def score(guess, truth):
    """Return the mIoU of guessed train ids."""
    scored = truth != 255
    confusion = np.zeros((19, 19), np.int64)
    np.add.at(confusion, (truth[scored], guess[scored]), 1)
    return mean_iou(confusion)


def test_a_colour_threshold_does_not_solve_it(scenes):
    """The most frequent class of each colour, learnt on train, scored on val."""
    (train_images, train_labels), (val_images, val_labels) = scenes
    votes = np.zeros((1 << 15, 19), np.int64)
    scored = train_labels != 255
    np.add.at(votes, (colour_features(train_images)[scored], train_labels[scored]), 1)
    assert score(votes.argmax(1)[colour_features(val_images)], val_labels) < 0.10


def test_a_map_of_places_does_not_solve_it(scenes):
    """The most frequent class of each pixel position, learnt on train, scored on val."""
    (_, train_labels), (_, val_labels) = scenes
    counts = np.stack([(train_labels == k).sum(0) for k in range(19)])
    assert score(np.broadcast_to(counts.argmax(0), val_labels.shape), val_labels) < 0.20
