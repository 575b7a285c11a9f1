import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judge import assert_equal, judge, train_ids_of

from sgcp.core.terminal import percent
from sgcp.datasets.classes import IGNORE, SemanticClass, camvid_classes, cityscapes_classes
from sgcp.datasets.ground_truth import (
    GroundTruth,
    ground_truth_of_instance_ids,
    ground_truth_of_labels,
)
from sgcp.datasets.index import Dataset
from sgcp.metrics.confusion import Counts, count_image, count_pairs, no_counts
from sgcp.metrics.iou import ImageScore, Tally, mean_iou, score_counts
from sgcp.metrics.protocol import MEAN_OBJECT_SIZE, Protocol, cityscapes_protocol, protocol_of
from sgcp.metrics.results import (
    confusion_table,
    per_class_table,
    render_drives,
    render_scores,
)

WITH_OBJECTS = (24, 25, 26, 27, 28, 29, 30, 31, 32, 33)  # caravan and trailer are never scored
PLAIN = Protocol(camvid_classes())


def cityscapes() -> Protocol:
    return cityscapes_protocol(cityscapes_classes())


def ground_truth_of(instance_ids):
    return ground_truth_of_instance_ids(instance_ids, train_ids_of(instance_ids))


def score(pairs):
    protocol = cityscapes()
    counts = no_counts(protocol)
    for instance_ids, prediction in pairs:
        counts += count_image(ground_truth_of(instance_ids), prediction, protocol)
    return score_counts(counts, protocol)


def scene(seed: int, ids: list[int], objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks of some label ids, of which those with objects may be a group or one of several."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.choice(ids, (4, 5)), np.ones((3, 4), int))
    number = np.kron(rng.integers(-1, objects + 1, (6, 5)), np.ones((2, 4), int))
    single = np.isin(label, WITH_OBJECTS) & (number >= 0)  # -1: of a group, such as cargroup
    instance_ids = np.where(single, label * 1000 + number, label)
    wrong = rng.random(label.shape) < rng.choice([0, 0.2, 1])
    prediction = np.where(wrong, rng.integers(0, 34, label.shape), label).astype(np.uint8)
    return instance_ids, prediction


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.lists(st.integers(0, 33), min_size=1, max_size=8),
            st.integers(0, 300),
        ),
        min_size=1,
        max_size=3,
    )
)
@example([(0, [0, 1, 2, 3], 1)])  # nothing but ignored classes
@example([(1, [29, 30], 2), (2, [26], 0)])  # unevaluated vehicles, then a group of cars alone
@example([(4, [29, 31, 33], 2)])  # an object that is not scored before one that is
@example([(3, [24, 25, 26, 27, 28, 31, 32, 33], 300)])  # more objects than a byte can number
def test_every_number_equals_the_official_evaluator(scenes):
    pairs = [scene(*arguments) for arguments in scenes]
    with tempfile.TemporaryDirectory() as folder:
        assert_equal(score(pairs), cityscapes(), judge(pairs, Path(folder)))


def test_vehicle_objects_taken_for_an_unevaluated_vehicle_are_right_as_vehicles(tmp_path):
    instance_ids = np.full((4, 6), 26001)
    prediction = np.full((4, 6), 29, np.uint8)  # caravan: no class, but of the category
    scores = score([(instance_ids, prediction)])
    assert scores.iou[13] == 0
    assert scores.category_iiou["vehicle"] == 1
    assert scores.category_iou["vehicle"] == 0
    assert_equal(scores, cityscapes(), judge([(instance_ids, prediction)], tmp_path))


def test_object_sizes_are_those_of_the_official_evaluator():
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official  # noqa: N813

    scored = {item.name for item in cityscapes_classes()}
    theirs = {k: v for k, v in official.args.avgClassSize.items() if k in scored}
    assert theirs == MEAN_OBJECT_SIZE


def test_segments_tell_class_and_object_apart():
    truth = ground_truth_of(np.array([[7, 26000, 26001, 26, 29001, 0, 4]]))
    ignored = [IGNORE, IGNORE, IGNORE]
    assert truth.train_ids[truth.segments].tolist() == [[0, 13, 13, 13, *ignored]]
    assert truth.objects[truth.segments].tolist() == [[IGNORE, 13, 13, IGNORE, *ignored]]
    assert len(set(truth.segments.ravel().tolist())) == 7


def crowd(seed: int, ids: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blocks of some classes with more than 1000 objects each, some void and some groups.

    Instance ids are those of cityscapesScripts: they run on into the next label's thousand.
    """
    rng = np.random.default_rng(seed)
    label = np.kron(rng.choice(ids, (4, 5)), np.ones((3, 4), int))
    number = np.kron(rng.choice([-1, 0, 1, 2, 999, 1000, 1001, 1002], (6, 5)), np.ones((2, 4), int))
    single = np.isin(label, WITH_OBJECTS) & (number >= 0)
    # The official evaluator knows no label 34, so bicycles have no thousandth object.
    number = np.where(label == 33, number % 1000, number)
    instance_ids = np.where(single, label * 1000 + number, label)
    wrong = rng.random(label.shape) < rng.choice([0, 0.2, 1])
    prediction = np.where(wrong, rng.choice(ids, label.shape), label).astype(np.uint8)
    return instance_ids, prediction, label.astype(np.uint8)


def count_crowds(scenes) -> Counts:
    table = np.full(256, IGNORE, np.uint8)
    for item in cityscapes_classes():
        table[item.label_id] = item.train_id
    counts = no_counts(cityscapes())
    for instance_ids, prediction, label in scenes:
        truth = ground_truth_of_instance_ids(instance_ids, table[label])
        counts += count_image(truth, prediction, cityscapes())
    return counts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.lists(st.sampled_from([0, 4, 7, *WITH_OBJECTS]), min_size=1, max_size=8),
        ),
        min_size=1,
        max_size=3,
    )
)
@example([(0, [26, 27])])  # car 1001 and truck 1 have one id
@example([(1, [28, 29]), (2, [24, 25, 0])])
def test_objects_that_share_an_instance_id_are_one_object_as_for_the_official_evaluator(scenes):
    scenes = [crowd(*arguments) for arguments in scenes]
    with tempfile.TemporaryDirectory() as folder:
        pairs = [scene[:2] for scene in scenes]
        expected = judge(pairs, Path(folder), [label for *_, label in scenes])
    assert_equal(score_counts(count_crowds(scenes), cityscapes()), cityscapes(), expected)


def test_class_of_the_thousandth_object_is_that_of_the_label(tmp_path):
    """Its id reads as one of the next class: truck 0 in place of car 1000, for the judge too."""
    instance_ids = np.array([[26999, 27000, 27001, 27]])
    label_ids = np.array([[26, 26, 26, 27]], np.uint8)
    expected = judge([(instance_ids, label_ids)], tmp_path, [label_ids])
    counts = count_crowds([(instance_ids, label_ids, label_ids)])
    assert_equal(score_counts(counts, cityscapes()), cityscapes(), expected)


@pytest.mark.parametrize(
    ("foreign", "hint"), [(34, ""), (254, ""), (255, "; 255 stands in train-id maps")]
)
def test_unknown_ids_are_refused_even_where_nothing_is_scored(foreign, hint):
    truth = ground_truth_of_labels(np.full((2, 3), IGNORE, np.uint8))
    text = rf"^ids \[{foreign}\] are no label ids \(0 to 33\){hint}$"
    with pytest.raises(ValueError, match=text):
        count_image(truth, np.full((2, 3), foreign, np.uint8), cityscapes())


@pytest.mark.parametrize(
    ("ids", "void", "text"),
    [((0, 1), (), "0, 1"), ((0, 1), (2,), "0 to 2"), ((3, 4, 6), (), "3, 4, 6"),
     ((3, 4), (5, 9), "3, 4, 5, 9"),
     (range(2, 40, 2), (), "2, 4, 6, 8, 10, 12, 14, 16 and 11 more")],
)  # fmt: skip
def test_ids_that_a_prediction_may_have_are_named(ids, void, text):
    classes = tuple(SemanticClass(k, i, f"c{i}", (0, 0, 0)) for k, i in enumerate(ids))
    assert Protocol(classes, frozenset(void)).describe_ids() == text


def test_ignored_ids_of_a_dataset_may_be_predicted_and_miss():
    dataset = Dataset("custom", "folder", "custom-1", camvid_classes(), (), {}, frozenset({40}))
    assert 40 in protocol_of(dataset).label_ids


def test_a_label_matches_the_objects_of_its_category_alone():
    table = cityscapes().category_of_label()
    names = list(cityscapes().categories)
    assert {names[table[i]] for i in (24, 25)} == {"human"}
    assert {names[table[i]] for i in range(26, 34)} == {"vehicle"}
    assert (table[:24] == -1).all()
    assert (table[34:] == -1).all()


def test_train_id_without_a_class_is_refused():
    label = np.array([[0, 11, 255]], np.uint8)
    with pytest.raises(ValueError, match="the ground truth has train id 11, which is no class"):
        count_image(ground_truth_of_labels(label), np.zeros((1, 3), np.uint8), PLAIN)
    label[0, 1] = 10
    assert (
        count_image(ground_truth_of_labels(label), np.zeros((1, 3), np.uint8), PLAIN).pixels.sum()
        == 2
    )


def test_other_sizes_are_refused():
    truth = ground_truth_of_labels(np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"size \(3, 2\), expected \(2, 3\)"):
        count_image(truth, np.zeros((3, 2), np.uint8), PLAIN)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([3, 256, 700]))
def test_runs_and_pixels_are_counted_alike(seed, width, size):
    """Long runs and noise take different ways to one result."""
    rng = np.random.default_rng(seed)
    segments = np.repeat(rng.integers(0, size, (3, 8)), width, axis=1).astype(np.uint16)
    prediction = np.repeat(rng.integers(0, 256, (3, 8)), width, axis=1).astype(np.uint8)
    expected = np.zeros((size, 256), int)
    np.add.at(expected, (segments.astype(int), prediction.astype(int)), 1)
    assert (count_pairs(segments, prediction, size) == expected).all()


@pytest.mark.parametrize("size", [255, 256, 257])
def test_few_pixels_amid_many_of_the_first_kind_are_counted(size):
    segments = np.zeros((8, 64), np.uint16)
    segments[3, 10:12] = size - 1
    prediction = np.zeros((8, 64), np.uint8)
    prediction[3, 11] = 255
    counts = count_pairs(segments, prediction, size)
    assert counts.dtype == np.int64
    assert counts[0, 0] == 8 * 64 - 2
    assert counts[size - 1, 0] == counts[size - 1, 255] == 1
    assert counts.sum() == 8 * 64


@pytest.mark.parametrize("protocol", ["strict", "cityscapes-19"])
def test_protocol_chooses_the_rules(protocol):
    classes = cityscapes_classes() if protocol == "cityscapes-19" else camvid_classes()
    rules = protocol_of(Dataset("x", "e", protocol, classes, ()))
    assert rules.classes == classes
    assert rules.label_ids == [*range(34 if protocol == "cityscapes-19" else 11)]
    assert bool(rules.categories) == bool(rules.object_size) == (protocol == "cityscapes-19")


def camvid_counts(matrix: list[list[int]]) -> Counts:
    counts = no_counts(PLAIN)
    counts.pixels[: len(matrix), : len(matrix)] = matrix
    return counts


def test_scores_by_hand():
    scores = score_counts(camvid_counts([[3, 1], [2, 4]]), PLAIN)
    assert scores.iou[:2] == pytest.approx([3 / 6, 4 / 7])
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores.recall[:2] == pytest.approx([3 / 4, 4 / 6])
    assert scores.precision[:2] == pytest.approx([3 / 5, 4 / 5])
    assert scores.pixel_accuracy == pytest.approx(0.7)
    assert np.isnan(scores.miiou)
    assert scores.category_iou == {}


def test_class_that_occurs_nowhere_is_left_out_and_one_only_predicted_scores_zero():
    scores = score_counts(camvid_counts([[4, 1, 0], [0, 0, 0], [0, 0, 0]]), PLAIN)
    assert scores.iou[1] == 0
    assert np.isnan(scores.iou[2])
    assert scores.miou == pytest.approx((4 / 5 + 0) / 2)
    assert mean_iou(np.array([[4, 1, 0], [0, 0, 0], [0, 0, 0]])) == scores.miou


def test_answer_outside_the_classes_is_a_miss():
    label = np.zeros((1, 4), np.uint8)  # road
    counts = count_image(
        ground_truth_of_labels(label), np.array([[7, 7, 7, 4]], np.uint8), cityscapes()
    )
    scores = score_counts(counts, cityscapes())
    assert scores.iou[0] == scores.recall[0] == scores.pixel_accuracy == 0.75


def test_train_ids_are_counted_as_the_label_ids_of_their_classes():
    protocol, rng = cityscapes(), np.random.default_rng(0)
    label = rng.choice([*range(19), IGNORE], (9, 9)).astype(np.uint8)
    prediction = rng.integers(0, 19, label.shape).astype(np.uint8)
    ids = np.array([item.label_id for item in protocol.classes], np.uint8)[prediction]
    truth, table = ground_truth_of_labels(label), protocol.label_id_of_train_id
    direct, regrouped = (
        count_image(truth, ids, protocol), count_image(truth, prediction, protocol, table)
    )  # fmt: skip
    assert (direct.pixels == regrouped.pixels).all()
    assert (direct.objects == regrouped.objects).all()
    assert table[[0, 18, 19, 255]].tolist() == [7, 33, 0, 0]


def test_a_tally_sums_its_images_and_scores_each_alone():
    label = np.array([[0, 0, 1, 255]], np.uint8)
    tally = Tally(PLAIN)
    for name, prediction in (("right", [[0, 0, 1, 1]]), ("wrong", [[0, 1, 1, 1]])):
        prediction = np.array(prediction, np.uint8)
        tally.add(name, count_image(ground_truth_of_labels(label), prediction, PLAIN))
    assert tally.images == [
        ImageScore("right", 1.0, 1.0, 3), ImageScore("wrong", 0.5, pytest.approx(2 / 3), 3),
    ]  # fmt: skip
    assert tally.counts.pixels.sum() == 6
    assert score_counts(tally.counts, PLAIN).miou == pytest.approx((3 / 4 + 2 / 3) / 2)


def test_confusion_shares_of_a_true_class_sum_to_one():
    confusion = np.random.default_rng(0).integers(0, 9, (11, 11))
    confusion[3] = 0
    names = [item.name for item in camvid_classes()]
    table = confusion_table(confusion, confusion.sum(axis=1), names)
    sums = table.groupby("actual", sort=False)["share"].sum()
    assert sums["Road"] == 0
    assert np.allclose(sums.drop("Road"), 1)


def test_table_names_each_class_with_its_category():
    counts = count_image(
        GroundTruth(
            np.array([[0, 1]], np.uint8),
            np.array([13, 8], np.uint8),
            np.array([13, 255], np.uint8),
            np.array([0, 1]),
        ),
        np.array([[26, 21]], np.uint8),
        cityscapes(),
    )
    scores = score_counts(counts, cityscapes())
    table = per_class_table(scores, counts, cityscapes()).set_index("class")
    assert table.loc["car", ["iou", "iiou", "category", "pixel_share"]].tolist() == [
        1, 1, "vehicle", 0.5,
    ]  # fmt: skip
    assert table.loc["vegetation", "category"] == "nature"
    shown = render_scores("title", table.reset_index(), scores)
    assert shown.row_count == 19 + 2


def test_percent_of_nothing_is_a_dash():
    assert (percent(float("nan")), percent(0.5)) == ("-", "50.00")


def test_drives_are_listed_worst_first_and_those_without_labels_last():
    right = {"a": 3, "b": 0, "c": 1, "d": 0}
    pixels = {"a": 4, "b": 0, "c": 4, "d": 0}
    counts = np.array([[[right[k]], [pixels[k]], [right[k]]] for k in right])
    items = [SimpleNamespace(drive=drive) for drive in right]
    view = render_drives(SimpleNamespace(by_class=counts), items)
    assert [*view.columns[0].cells] == ["c", "a", "b", "d"]
