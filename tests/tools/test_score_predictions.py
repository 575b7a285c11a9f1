"""`sgcp validate --predictions`: the encoding of predictions is known, or asked for."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Project
from PIL import Image

from sgcp.datasets.classes import SemanticClass, camvid_classes, cityscapes_classes
from sgcp.datasets.index import Dataset, Item, digest_pixels, write_dataset
from sgcp.datasets.label_files import Meaning, ids_of, train_ids_of, write_labels
from sgcp.media.images import write_png

SIZE = (48, 64)
STEMS = ("a_000000_000019", "a_000001_000019", "a_000002_000019")
# Label ids in no order, one of them the index of another class; and indices exchanged.
CUSTOM = tuple(
    SemanticClass(train_id, label_id, f"class {train_id}", (40 * train_id + 20, 7, 9))
    for train_id, label_id in enumerate((23, 4, 0, 2, 11))
)
SWAPPED = tuple(
    SemanticClass(index, label_id, f"class {index}", (index, 0, 200))
    for index, label_id in enumerate((3, 0, 1, 2))
)
DATASETS = {
    "cityscapes": (cityscapes_classes(), "cityscapes-19"),
    "camvid": (camvid_classes(), "grouped"),
    "custom": (CUSTOM, "custom-1"),
    "swapped": (SWAPPED, "custom-2"),
}
CASES = ["cityscapes", "custom", "swapped"]
IDS, TRAIN_IDS, COLORS = (("--encoding", name) for name in ("ids", "train-ids", "colors"))


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
        self.project = project
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

    def train_ids(self, void: int = 0) -> list[np.ndarray]:
        """Perfect predictions as train ids; ``void`` where the truth is ignored."""
        return [np.where(truth == 255, void, truth).astype(np.uint8) for truth in self.truths]

    def ids(self) -> list[np.ndarray]:
        """Perfect predictions as label ids."""
        return [self.label_ids[train_ids] for train_ids in self.train_ids()]

    def noisy(self, right: float) -> list[np.ndarray]:
        """Predictions of a network that is right in a share of the pixels, as train ids."""
        rng, count = np.random.default_rng(0), len(self.classes)
        arrays = self.train_ids()
        for array in arrays:
            wrong = rng.random(SIZE) >= right
            array[wrong] = rng.integers(0, count, wrong.sum())
        return arrays

    def write(
        self,
        arrays: Sequence[np.ndarray],
        palette: np.ndarray | None = None,
        meaning: Meaning | None = None,
        stems: Sequence[str] = STEMS,
    ) -> None:
        """Write a prediction for each scene into ``predictions``, perhaps as files of ours."""
        folder = self.project.root / "predictions"
        folder.mkdir(exist_ok=True)
        for stem, array in zip(stems, arrays, strict=True):
            path, image = folder / f"{stem}.png", Image.fromarray(array)
            if palette is not None:
                image.putpalette(palette.ravel().tolist())
            if meaning:
                write_labels(path, array, meaning)
            else:
                image.save(path)

    def score(self, *options: str) -> float:
        """Score them; return the mIoU."""
        split = ["--split", "val", "--name", "net"]
        self.project.ok("validate", self.name, "--predictions", "predictions", *split, *options)
        files = [*(self.project.root / "metrics" / self.name).rglob("predictions/**/validate.json")]
        content = json.loads(files[0].read_text())
        assert content["encoding"] == ([*options, "ids"])[1 if options else 0]
        return content["miou"]

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


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("void", [0, 255])
def test_train_ids_are_refused_as_label_ids_and_scored_as_train_ids(bench, case, void):
    bench = bench(case)
    bench.write(bench.train_ids(void))
    text = bench.refuses()
    assert "look like train ids: mIoU would be 100.0 %" in text
    assert "`--encoding train-ids`" in text
    assert bench.score(*TRAIN_IDS) == 1


@pytest.mark.parametrize("case", DATASETS)
def test_label_ids_are_scored(bench, case):
    bench = bench(case)
    bench.write(bench.ids())
    assert bench.score() == bench.score(*IDS) == 1
    bench.write([bench.label_ids[train_ids] for train_ids in bench.noisy(0.1)])
    assert bench.score() < 0.3


def test_one_class_on_every_pixel_in_train_ids_is_refused(bench):
    bench = bench("cityscapes")
    common = int(np.bincount(bench.truths[0].ravel(), minlength=19)[:7].argmax())  # no label id
    bench.write([np.full(SIZE, common, np.uint8)] * 3)
    assert "look like train ids" in bench.refuses()


def test_void_written_as_the_next_train_id_is_named(bench):
    bench = bench("cityscapes")
    bench.write(bench.train_ids(void=19))
    assert "look like train ids" in bench.refuses()
    assert "values [19] are no train ids (0 to 18, 255 for no class)" in bench.refuses(*TRAIN_IDS)


def test_most_files_decide_which_other_encoding_is_named(bench):
    bench = bench("cityscapes")
    first, *others = bench.train_ids()
    bench.write([(first + 1) % 19], np.roll(bench.colors, 1, axis=0), stems=STEMS[:1])
    bench.write(others, stems=STEMS[1:])
    assert f"{STEMS[1]}.png and 1 more: values look like train ids" in bench.refuses()


def test_blank_file_among_label_ids_is_scored(bench):
    """Of id 0, unlabeled, and the train id of road."""
    bench = bench("cityscapes")
    bench.write([np.zeros(SIZE, np.uint8), *bench.ids()[1:]])
    assert 0.5 < bench.score() < 1


@pytest.mark.parametrize("case", CASES)
def test_label_ids_given_as_train_ids_are_refused_where_they_cannot_be(bench, case):
    bench = bench(case)
    bench.write(bench.ids())
    if case == "swapped":  # the encoding that the user names is scored, without guessing
        assert bench.score(*TRAIN_IDS) < 0.1
        return
    text = bench.refuses(*TRAIN_IDS)
    assert "are no train ids (0 to" in text
    assert "look like label ids: mIoU would be 100.0 %" in text
    assert "Use `--encoding ids`" in text


@pytest.mark.parametrize("case", DATASETS)
def test_void_of_train_ids_is_a_miss(bench, case):
    bench = bench(case)
    arrays = bench.train_ids(void=255)
    for array in arrays:
        array[:, ::2] = 255
    bench.write(arrays)
    assert bench.score(*TRAIN_IDS) == 0.5


@pytest.mark.parametrize(
    ("case", "values", "named", "advice"),
    [
        ("camvid", [255] * 3, "[255] are no label ids (0 to 10)", "`--encoding train-ids`"),
        ("camvid", [11] * 3, "[11] are no label ids (0 to 10)", "Write the label id of a class"),
        ("cityscapes", [0, 200, 201], f"{STEMS[1]}.png and 1 more: values [200, 201] are no label "
         "ids (0 to 33)", "Write the label id of a class"),
    ],
)  # fmt: skip
def test_impossible_label_ids_are_named_and_explained(bench, case, values, named, advice):
    bench = bench(case)
    arrays = bench.ids()
    for value, array, truth in zip(values, arrays, bench.truths, strict=True):
        array[truth == 255] = value
    bench.write(arrays)
    text = bench.refuses()
    assert named in text
    assert advice in text


@pytest.mark.parametrize(
    ("case", "mode"),
    [("cityscapes", "RGB"), ("camvid", "RGB"), ("custom", "RGBA"), ("swapped", "RGB")],
)
def test_colours_are_refused_as_ids_and_scored_as_colours(bench, case, mode):
    bench = bench(case)
    painted = [bench.colors[train_ids] for train_ids in bench.train_ids()]
    bench.write([np.array(Image.fromarray(rgb).convert(mode)) for rgb in painted])
    for options in ([], IDS, TRAIN_IDS):
        assert "add `--encoding colors`" in bench.refuses(*options)
    assert bench.score(*COLORS) == 1


def test_colours_of_no_class_are_named_with_their_pixels(bench):
    bench = bench("custom")
    images = [bench.colors[train_ids] for train_ids in bench.train_ids()]
    images[1][0, :3] = (1, 2, 3)
    bench.write(images)
    text = bench.refuses(*COLORS)
    assert f"{STEMS[1]}.png" in text
    assert "#010203 (3 pixels)" in text


def test_black_and_unscored_colours_are_misses(bench):
    bench = bench("cityscapes")
    images = [bench.colors[train_ids] for train_ids in bench.train_ids()]
    for rgb in images:
        rgb[:, ::4], rgb[:, 1::4] = 0, (111, 74, 0)  # void, dynamic
    bench.write(images)
    assert bench.score(*COLORS) == 0.5


@pytest.mark.parametrize("case", CASES)
def test_palette_of_class_colours_with_indices_of_its_own_is_refused_and_scored(bench, case):
    bench = bench(case)
    order = np.random.default_rng(3).permutation(len(bench.classes)).astype(np.uint8)
    palette = np.empty_like(bench.colors)
    palette[order] = bench.colors
    bench.write([order[train_ids] for train_ids in bench.train_ids()], palette)
    assert "look like class colours: mIoU would be 100.0 %" in bench.refuses()
    assert bench.score(*COLORS) == 1


def test_palette_is_ignored_where_its_indices_are_label_ids_and_train_ids_are_refused(bench):
    bench = bench("cityscapes")
    palette = np.zeros((256, 3), np.uint8)
    palette[bench.label_ids] = bench.colors
    bench.write(bench.train_ids(), bench.colors)
    assert "look like train ids" in bench.refuses()
    assert bench.score(*TRAIN_IDS) == 1
    bench.write(bench.ids(), palette)
    assert bench.score() == bench.score(*COLORS) == 1


@pytest.mark.parametrize("transparent", [True, False])
def test_palette_without_a_colour_for_every_pixel_is_ignored(bench, transparent):
    """All files have one with alpha, or one file alone has one."""
    bench = bench("custom")
    palette = np.zeros((256, 3), np.uint8)
    palette[bench.label_ids] = bench.colors
    bench.write(bench.ids())
    stems = STEMS if transparent else STEMS[:1]
    bench.write(bench.ids()[: len(stems)], palette, stems=stems)
    for stem in stems * transparent:
        path = bench.project.root / f"predictions/{stem}.png"
        Image.open(path).save(path, transparency=0)
    assert bench.score() == 1


def test_values_are_no_colours_and_sixteen_bits_are_refused_in_every_encoding(bench):
    bench = bench("cityscapes")
    bench.write(bench.train_ids())
    assert "no class colours" in bench.refuses(*COLORS)
    bench.write([train_ids.astype(np.uint16) for train_ids in bench.train_ids()])
    for options in ([], TRAIN_IDS, COLORS):
        assert "8 bits a channel" in bench.refuses(*options)


@pytest.mark.parametrize("case", CASES)
def test_train_ids_of_ours_are_refused_as_label_ids_however_weak(bench, case):
    bench = bench(case)
    bench.write(bench.noisy(0), meaning=train_ids_of(bench.classes))
    assert "Use `--encoding train-ids`" in bench.refuses()
    bench.score(*TRAIN_IDS)


@pytest.mark.parametrize("case", CASES)
def test_label_ids_of_ours_are_refused_in_other_encodings(bench, case):
    bench = bench(case)
    bench.write(bench.ids(), meaning=ids_of(bench.classes, bench.name))
    assert all("Use `--encoding ids`" in bench.refuses(*way) for way in (TRAIN_IDS, COLORS))
    assert bench.score() == 1


@pytest.mark.parametrize("case", DATASETS)
def test_classes_of_ours_in_another_order_are_matched_by_name(bench, case):
    bench = bench(case)
    order = np.random.default_rng(1).permutation(len(bench.classes))
    classes = [
        SemanticClass(n, 0, bench.classes[k].name, bench.classes[k].color)
        for n, k in enumerate(order)
    ]
    places = np.argsort(order).astype(np.uint8)
    arrays = [places[train_ids] for train_ids in bench.train_ids()]
    bench.write(arrays, meaning=train_ids_of(classes))
    assert bench.score(*TRAIN_IDS) == 1


@pytest.mark.parametrize("describe", [ids_of, train_ids_of])
def test_ours_are_of_both_encodings_where_train_ids_are_label_ids(bench, describe):
    bench = bench("camvid")
    bench.write(bench.train_ids(), meaning=describe(bench.classes, bench.name))
    assert "read as class colours" in bench.refuses(*COLORS)
    assert bench.score() == bench.score(*TRAIN_IDS) == 1


def test_other_classes_and_values_of_ours_are_refused(bench):
    bench = bench("custom")
    arrays = bench.train_ids()
    arrays[1][0, :2] = 200
    bench.write(arrays, meaning=train_ids_of(bench.classes))
    assert f"{STEMS[1]}.png: values [200]" in bench.refuses(*TRAIN_IDS)
    bench.write(bench.train_ids(), meaning=train_ids_of(camvid_classes()))
    assert "Use `--encoding train-ids`" in bench.refuses()
    text = bench.refuses(*TRAIN_IDS)
    assert "predicts other classes than this dataset's" in text
    assert "of 11 classes where the dataset has 5; not in both:" in text


def test_files_of_others_and_of_ours_may_stand_in_one_folder(bench):
    bench = bench("custom")
    bench.write(bench.ids())
    bench.write(bench.ids()[1:2], meaning=ids_of(bench.classes, "custom"), stems=STEMS[1:2])
    assert bench.score() == 1


@pytest.mark.parametrize("ours", [False, True])
def test_colours_among_values_are_counted_and_no_option_is_offered(bench, ours):
    bench = bench("custom")
    bench.write(bench.ids(), meaning=ids_of(bench.classes, "custom") if ours else None)
    bench.write([bench.colors[bench.train_ids()[1]]], stems=STEMS[1:2])
    for options in ([], IDS, COLORS):
        text = bench.refuses(*options)
        assert f"1 of 3 are colour images (such as predictions/{STEMS[1]}.png)" in text
        values = "label ids" if ours else "label ids or train ids"
        assert f"2 of 3 contain {values} (such as predictions/{STEMS[0]}.png)" in text
        assert "--encoding" not in text


def test_label_ids_and_train_ids_of_ours_in_one_folder_are_counted(bench):
    bench = bench("custom")
    bench.write(bench.ids(), meaning=ids_of(bench.classes, "custom"))
    bench.write(bench.train_ids()[2:], meaning=train_ids_of(bench.classes), stems=STEMS[2:])
    for options in (IDS, TRAIN_IDS):
        text = bench.refuses(*options)
        assert f"1 of 3 contain train ids (such as predictions/{STEMS[2]}.png)" in text


def test_options_that_make_no_sense_are_refused(bench):
    bench = bench("custom")
    bench.write(bench.train_ids())
    options = ("--predictions", "predictions", "--encoding", "indices")
    assert bench.project.run("validate", "custom", *options).exit_code == 2
    assert "--encoding: " in bench.project.fails("validate", "custom", *IDS)


def test_unsure_pixels_of_segment_count_as_missed(trained):
    images = trained.root / "data/raw/sample/leftImg8bit/val"
    segment = ("segment", images, "--model", trained.root / "data/models/sample", "--no-overlay")
    scores = []
    for name, more in (("all", ()), ("sure", ("--threshold", "0.9"))):
        trained.ok(*segment, "--out", name, *more)
        trained.ok("validate", "sample", "--predictions", name, *TRAIN_IDS, "--name", name)
        (file,) = (trained.root / "metrics/sample").rglob(f"*{name}*/validate.json")
        scores.append(json.loads(file.read_text())["pixel_accuracy"])
    assert scores[1] < scores[0]
