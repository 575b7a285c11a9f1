"""`sgcp validate --predictions`: what the values of predictions mean is known, or asked for."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from PIL import Image

from sgcp.datasets.classes import SemanticClass, camvid_classes, cityscapes_classes
from sgcp.datasets.index import Dataset, Item, digest_pixels, write_dataset
from sgcp.datasets.label_files import ids_of, train_ids_of, write_labels
from sgcp.media.images import write_png

SIZE = (48, 64)
STEMS = ("a_000000_000019", "a_000001_000019", "a_000002_000019")
# In no order, one of them also the index of another class.
OWN = tuple(
    SemanticClass(train_id, label_id, name, (40 * train_id + 20, 7, 9))
    for train_id, (name, label_id) in enumerate(
        {"sky": 23, "road": 4, "tree": 0, "car": 2, "person": 11}.items()
    )
)
# The indices themselves, exchanged.
SWAPPED = tuple(
    SemanticClass(index, label_id, f"class {index}", (index, 0, 200))
    for index, label_id in enumerate((3, 0, 1, 2))
)
DATASETS = {
    "cityscapes": (cityscapes_classes(), "cityscapes-19"),
    "camvid": (camvid_classes(), "grouped"),
    "custom": (OWN, "custom-1"),
    "swapped": (SWAPPED, "own-2"),
}
CASES = ["cityscapes", "custom", "swapped"]


def truths(count: int) -> list[np.ndarray]:
    """Scenes of large regions, some void, every class somewhere."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(count, 0.5)) + 0.02
    found = []
    for index in range(len(STEMS)):
        blocks = rng.choice(count, (6, 8), p=shares / shares.sum())
        blocks.flat[: count - index] = np.arange(count)[: count - index]
        scene = np.kron(blocks, np.ones((8, 8), int)).astype(np.uint8)
        scene[:2] = 255
        found.append(scene)
    return found


class Bench:
    """A prepared dataset of three scenes and folders of predictions for them."""

    def __init__(self, project: Project, case: str) -> None:
        self.project, self.case = project, case
        self.name = "custom" if case == "swapped" else case
        self.classes, protocol = DATASETS[case]
        self.truths = truths(len(self.classes))
        self.label_ids = np.array([item.label_id for item in self.classes], np.uint8)
        self.colors = np.array([item.color for item in self.classes], np.uint8)
        folder = project.root / "data/prepared" / self.name
        items = []
        for stem, truth in zip(STEMS, self.truths, strict=True):
            write_png(folder / f"labels/{stem}.png", truth)
            image = Path(f"leftImg8bit/val/a/{stem}_leftImg8bit.png")
            label, digest = Path(f"labels/{stem}.png"), digest_pixels(truth)
            items.append(Item("val", image, "a", *SIZE, stem, label, label_digest=digest))
        write_dataset(folder, Dataset(self.name, "fine", protocol, self.classes, tuple(items)))

    def answers(self, void: int = 0) -> list[np.ndarray]:
        """Perfect predictions as train ids; ``void`` where the truth is ignored."""
        return [np.where(truth == 255, void, truth).astype(np.uint8) for truth in self.truths]

    def write(self, arrays: Sequence[np.ndarray], save: Callable | None = None) -> None:
        """Write a prediction for each scene into ``predictions``."""
        folder = self.project.root / "predictions"
        folder.mkdir(exist_ok=True)
        for stem, array in zip(STEMS, arrays, strict=True):
            (save or (lambda path, array: Image.fromarray(array).save(path)))(
                folder / f"{stem}.png", array
            )

    def score(self, *options: str) -> dict:
        """Score them; return the metrics."""
        split = ["--split", "val", "--name", "net"]
        self.project.ok("validate", self.name, "--predictions", "predictions", *split, *options)
        files = [*(self.project.root / "metrics" / self.name).rglob("predictions/**/validate.json")]
        return json.loads(files[0].read_text())

    def refuses(self, *options: str) -> str:
        """Return why they are not scored; nothing is written then."""
        text = self.project.fails(
            "validate", self.name, "--predictions", "predictions", "--split", "val", *options
        )
        assert not [*(self.project.root / "metrics").rglob("validate.json")]
        return text


@pytest.fixture
def bench(project: Project) -> Callable[[str], Bench]:
    return lambda case: Bench(project, case)


def noisy(bench: Bench, right: float, seed: int = 0) -> list[np.ndarray]:
    """Predictions of a network that is right in a share of the pixels, as train ids."""
    rng = np.random.default_rng(seed)
    return [
        np.where(
            rng.random(SIZE) < right, answer, rng.integers(0, len(bench.classes), SIZE)
        ).astype(np.uint8)
        for answer in bench.answers()
    ]


# Files of others: another encoding is refused and offered, and scores when it is asked for.


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("void", [0, 255])
def test_train_ids_are_refused_as_label_ids_and_scored_as_what_they_are(bench, case, void):
    bench = bench(case)
    bench.write(bench.answers(void))
    text = bench.refuses()
    assert "look like train ids: mIoU would be 100.0 % read as train ids" in text
    assert "`--encoding train-ids`" in text
    metrics = bench.score("--encoding", "train-ids")
    assert (metrics["miou"], metrics["encoding"]) == (1, "train-ids")


@pytest.mark.parametrize("case", DATASETS)
def test_label_ids_are_scored_without_a_word_about_encodings(bench, case):
    bench = bench(case)
    bench.write([bench.label_ids[answer] for answer in bench.answers()])
    assert bench.score() == bench.score("--encoding", "ids")
    assert (bench.score()["miou"], bench.score()["encoding"]) == (1, "ids")


@pytest.mark.parametrize("case", ["cityscapes", "custom"])
def test_train_ids_of_a_weak_network_are_refused(bench, case):
    bench = bench(case)
    bench.write(noisy(bench, 0.2))
    assert "look like train ids" in bench.refuses()


def test_void_written_as_the_next_train_id_is_named(bench):
    bench = bench("cityscapes")
    bench.write(bench.answers(void=19))
    assert "look like train ids" in bench.refuses()
    text = bench.refuses("--encoding", "train-ids")
    assert "values [19] are no train ids (0 to 18, 255 for no class)" in text


def test_one_file_in_train_ids_among_label_ids_is_named(bench):
    bench = bench("cityscapes")
    first, *others = bench.answers()
    bench.write([first, *(bench.label_ids[answer] for answer in others)])
    text = bench.refuses()
    assert f"{STEMS[0]}.png: values look like train ids" in text
    assert "2 other files of the folder do not" in text


def test_most_files_decide_which_other_encoding_is_named(bench):
    bench = bench("cityscapes")
    palette = np.roll(bench.colors, 1, axis=0)
    paint = save_palette(palette)

    def save(path: Path, array: np.ndarray) -> None:
        if path.stem == STEMS[0]:
            paint(path, (array + 1) % 19)
        else:
            Image.fromarray(array).save(path)

    bench.write(bench.answers(), save)
    assert f"{STEMS[1]}.png and 1 more: values look like train ids" in bench.refuses()


def test_blank_file_among_label_ids_is_scored(bench):
    bench = bench("cityscapes")
    arrays = [bench.label_ids[answer] for answer in bench.answers()]
    arrays[0][:] = 0  # unlabeled, and the train id of road
    bench.write(arrays)
    assert 0.5 < bench.score()["miou"] < 1


def test_one_class_on_every_pixel_in_train_ids_is_refused(bench):
    bench = bench("cityscapes")
    common = int(np.bincount(bench.truths[0].ravel(), minlength=19)[:7].argmax())  # no label id
    bench.write([np.full(SIZE, common, np.uint8)] * 3)
    assert "look like train ids" in bench.refuses()


@pytest.mark.parametrize("case", DATASETS)
def test_label_ids_of_a_weak_network_are_scored(bench, case):
    bench = bench(case)
    bench.write([bench.label_ids[answer] for answer in noisy(bench, 0.1)])
    assert bench.score()["miou"] < 0.3


def test_void_in_label_ids_is_a_miss_and_no_train_id(bench):
    """A network that leaves three quarters of its pixels unlabeled, id 0, the train id of road."""
    bench = bench("cityscapes")
    rng = np.random.default_rng(0)
    answers = [bench.label_ids[answer] for answer in bench.answers()]
    bench.write(
        [np.where(rng.random(SIZE) < 0.75, 0, answer).astype(np.uint8) for answer in answers]
    )
    assert bench.score()["miou"] == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("case", CASES)
def test_label_ids_given_as_train_ids_are_refused_where_they_cannot_be(bench, case):
    bench = bench(case)
    bench.write([bench.label_ids[answer] for answer in bench.answers()])
    if case == "swapped":  # what is asked for is scored, without guessing
        assert bench.score("--encoding", "train-ids")["miou"] < 0.1
        return
    text = bench.refuses("--encoding", "train-ids")
    assert "are no train ids (0 to" in text
    assert "look like label ids: mIoU would be 100.0 % read as label ids" in text
    assert "Use `--encoding ids`" in text


@pytest.mark.parametrize("case", DATASETS)
def test_void_of_train_ids_is_a_miss(bench, case):
    bench = bench(case)
    answers = bench.answers(void=255)
    for answer in answers:
        answer[:, ::2] = 255
    bench.write(answers)
    assert bench.score("--encoding", "train-ids")["miou"] == 0.5


def test_numbers_do_not_change_where_train_ids_are_label_ids(bench):
    bench = bench("camvid")
    bench.write(noisy(bench, 0.5))
    metrics = bench.score()
    assert metrics | {"encoding": "train-ids"} == bench.score("--encoding", "train-ids")


def test_void_of_train_ids_is_explained_where_they_are_label_ids(bench):
    bench = bench("camvid")
    bench.write(bench.answers(void=255))
    text = bench.refuses()
    assert "values [255] are no label ids (0 to 10)" in text
    assert "`--encoding train-ids`" in text


def test_impossible_values_are_not_said_to_be_train_ids_that_train_ids_lack_too(bench):
    bench = bench("camvid")
    bench.write(bench.answers(void=11))
    text = bench.refuses()
    assert "values [11] are no label ids (0 to 10). Write the label id of a class" in text


def test_impossible_label_ids_that_nothing_explains_are_named(bench):
    bench = bench("cityscapes")
    arrays = [bench.label_ids[answer] for answer in bench.answers()]
    for value, array in enumerate(arrays[1:], 200):
        array[:4] = value
    bench.write(arrays)
    text = bench.refuses()
    assert f"{STEMS[1]}.png and 1 more: values [200, 201] are no label ids (0 to 33)" in text
    assert "Write the label id of a class" in text


# Colours.


def painted(bench: Bench) -> list[np.ndarray]:
    return [bench.colors[answer] for answer in bench.answers()]


@pytest.mark.parametrize("case", DATASETS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_refused_as_ids_and_scored_as_what_they_are(bench, case, mode):
    bench = bench(case)
    bench.write(painted(bench), lambda path, rgb: Image.fromarray(rgb).convert(mode).save(path))
    for options in ([], ["--encoding", "ids"], ["--encoding", "train-ids"]):
        text = bench.refuses(*options)
        assert "All of its colours are class colours: add `--encoding colors`" in text
    metrics = bench.score("--encoding", "colors")
    assert (metrics["miou"], metrics["encoding"]) == (1, "colors")


def test_colours_of_no_class_are_named_with_their_pixels(bench):
    bench = bench("custom")
    images = painted(bench)
    images[1][0, :3] = (1, 2, 3)
    bench.write(images)
    for options in ([], ["--encoding", "colors"]):
        text = bench.refuses(*options)
        assert f"{STEMS[1]}.png" in text or not options
    assert "colours of no class: #010203 (3 pixels)" in text


def test_black_and_unscored_colours_are_misses(bench):
    bench = bench("cityscapes")
    images = painted(bench)
    for rgb in images:
        rgb[:, ::4], rgb[:, 1::4] = 0, (111, 74, 0)  # void, dynamic
    bench.write(images)
    assert bench.score("--encoding", "colors")["miou"] == 0.5


def save_palette(palette: np.ndarray) -> Callable:
    def save(path: Path, array: np.ndarray) -> None:
        image = Image.fromarray(array)
        image.putpalette(palette.ravel().tolist())
        image.save(path)

    return save


@pytest.mark.parametrize("case", CASES)
def test_palette_of_class_colours_with_indices_of_its_own_is_refused_and_scored(bench, case):
    bench = bench(case)
    order = np.random.default_rng(3).permutation(len(bench.classes))
    palette = np.empty_like(bench.colors)
    palette[order] = bench.colors
    bench.write(
        [order[answer].astype(np.uint8) for answer in bench.answers()], save_palette(palette)
    )
    assert "look like class colours: mIoU would be 100.0 %" in bench.refuses()
    assert bench.score("--encoding", "colors")["miou"] == 1


def test_palette_is_ignored_where_its_indices_are_label_ids(bench):
    bench = bench("cityscapes")
    palette = np.zeros((256, 3), np.uint8)
    palette[bench.label_ids] = bench.colors
    arrays = [bench.label_ids[answer] for answer in bench.answers()]
    bench.write(arrays, save_palette(palette))
    assert bench.score()["miou"] == bench.score("--encoding", "colors")["miou"] == 1


@pytest.mark.parametrize("painted", ["all with alpha", "one"])
def test_palette_that_says_no_colour_for_every_pixel_is_ignored(bench, painted):
    bench = bench("custom")
    palette = np.zeros((256, 3), np.uint8)
    palette[bench.label_ids] = bench.colors
    paint, names = save_palette(palette), STEMS if painted != "one" else STEMS[:1]

    def save(path: Path, array: np.ndarray) -> None:
        Image.fromarray(array).save(path)
        if path.stem in names:
            paint(path, array)
        if painted == "all with alpha":
            with Image.open(path) as image:
                image.load()
            image.save(path, transparency=0)

    bench.write([bench.label_ids[answer] for answer in bench.answers()], save)
    assert bench.score()["miou"] == 1


def test_palette_over_train_ids_is_train_ids(bench):
    bench = bench("cityscapes")
    bench.write(bench.answers(), save_palette(bench.colors))
    assert "look like train ids" in bench.refuses()
    assert bench.score("--encoding", "train-ids")["miou"] == 1


def test_values_are_no_colours(bench):
    bench = bench("cityscapes")
    bench.write(bench.answers())
    assert "one channel of values, no class colours" in bench.refuses("--encoding", "colors")


def test_sixteen_bits_are_refused_in_every_encoding(bench):
    bench = bench("cityscapes")
    bench.write([answer.astype(np.uint16) for answer in bench.answers()])
    for options in ([], ["--encoding", "train-ids"], ["--encoding", "colors"]):
        assert "expected 8 bits a channel" in bench.refuses(*options)


# Files of ours say what they are.


@pytest.mark.parametrize("case", CASES)
def test_train_ids_of_ours_are_refused_as_label_ids_however_weak(bench, case):
    bench = bench(case)
    meaning = train_ids_of(bench.classes, bench.name)
    bench.write(noisy(bench, 0), lambda path, array: write_labels(path, array, meaning))
    text = bench.refuses()
    assert "read as label ids, but the file says that it contains train ids" in text
    assert "Use `--encoding train-ids`" in text
    assert bench.score("--encoding", "train-ids")["encoding"] == "train-ids"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("encoding", ["train-ids", "colors"])
def test_label_ids_of_ours_are_refused_as_anything_else(bench, case, encoding):
    bench = bench(case)
    meaning = ids_of(bench.classes, bench.name)
    arrays = [bench.label_ids[answer] for answer in bench.answers()]
    bench.write(arrays, lambda path, array: write_labels(path, array, meaning))
    text = bench.refuses("--encoding", encoding)
    assert "but the file says that it contains label ids. Use `--encoding ids`" in text
    assert bench.score()["miou"] == 1


@pytest.mark.parametrize("case", DATASETS)
def test_classes_of_ours_in_another_order_are_matched_by_name(bench, case):
    bench = bench(case)
    order = np.random.default_rng(1).permutation(len(bench.classes))
    shuffled = [bench.classes[k] for k in order]
    classes = [SemanticClass(n, 0, item.name, item.color) for n, item in enumerate(shuffled)]
    places = np.argsort(order).astype(np.uint8)
    bench.write(
        [places[answer] for answer in bench.answers()],
        lambda path, array: write_labels(path, array, train_ids_of(classes)),
    )
    assert bench.score("--encoding", "train-ids")["miou"] == 1


@pytest.mark.parametrize("says", [ids_of, train_ids_of])
def test_ours_are_of_both_encodings_where_train_ids_are_label_ids(bench, says):
    bench = bench("camvid")
    meaning = says(bench.classes, "camvid")
    bench.write(bench.answers(), lambda path, array: write_labels(path, array, meaning))
    assert "read as class colours, but the file says" in bench.refuses("--encoding", "colors")
    assert bench.score()["miou"] == bench.score("--encoding", "train-ids")["miou"] == 1


def test_values_beyond_those_that_a_file_of_ours_names_are_refused(bench):
    bench = bench("custom")
    meaning = train_ids_of(bench.classes, "custom")
    arrays = bench.answers()
    arrays[1][0, :2] = 200
    bench.write(arrays, lambda path, array: write_labels(path, array, meaning))
    text = bench.refuses("--encoding", "train-ids")
    assert f"{STEMS[1]}.png: values [200] are not among those that the file says" in text


def test_other_classes_of_ours_are_refused(bench):
    bench = bench("custom")
    meaning = train_ids_of(camvid_classes(), "camvid")
    bench.write(bench.answers(), lambda path, array: write_labels(path, array, meaning))
    for options in ([], ["--encoding", "train-ids"]):
        text = bench.refuses(*options)
    assert "predicts other classes than this dataset's" in text
    assert "train ids of 'camvid', of 11 classes where the dataset has 5; not in both:" in text


def test_what_others_and_we_wrote_may_stand_in_one_folder(bench):
    bench = bench("custom")
    arrays = [bench.label_ids[answer] for answer in bench.answers()]
    bench.write(arrays)
    meaning = ids_of(bench.classes, "custom")
    write_labels(bench.project.root / f"predictions/{STEMS[1]}.png", arrays[1], meaning)
    assert bench.score()["miou"] == 1


@pytest.mark.parametrize("ours", [False, True])
def test_colours_among_values_are_counted_and_no_option_is_offered(bench, ours):
    bench = bench("custom")
    arrays = [bench.label_ids[answer] for answer in bench.answers()]
    meaning = ids_of(bench.classes, "custom")
    bench.write(arrays, (lambda path, array: write_labels(path, array, meaning)) if ours else None)
    painted = bench.project.root / f"predictions/{STEMS[1]}.png"
    Image.fromarray(bench.colors[bench.answers()[1]]).save(painted)
    for options in ([], ["--encoding", "ids"], ["--encoding", "colors"]):
        text = bench.refuses(*options)
        assert f"1 of 3 are colour images (such as predictions/{STEMS[1]}.png)" in text
        values = "label ids" if ours else "label ids or train ids"
        assert f"2 of 3 contain {values} (such as predictions/{STEMS[0]}.png)" in text
        assert text.endswith("Convert all to one encoding\n")


def test_label_ids_and_train_ids_of_ours_in_one_folder_are_counted(bench):
    bench = bench("custom")
    bench.write(
        [bench.label_ids[answer] for answer in bench.answers()],
        lambda path, array: write_labels(path, array, ids_of(bench.classes, "custom")),
    )
    path = bench.project.root / f"predictions/{STEMS[2]}.png"
    write_labels(path, bench.answers()[2], train_ids_of(bench.classes, "custom"))
    for encoding in ("ids", "train-ids"):
        text = bench.refuses("--encoding", encoding)
        assert f"1 of 3 contain train ids (such as predictions/{STEMS[2]}.png)" in text


def test_options_that_make_no_sense_are_refused(bench):
    bench = bench("custom")
    bench.write(bench.answers())
    text = bench.refuses("--encoding", "indices")
    assert "--encoding: 'ids', 'train-ids' or 'colors', got 'indices'" in text
    assert "which is not given" in bench.project.fails("validate", "custom", "--encoding", "ids")
