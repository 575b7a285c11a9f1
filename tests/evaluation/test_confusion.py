import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sgcp.datasets.classes import IGNORE
from sgcp.evaluation.confusion import count_confusion, score_confusion
from sgcp.evaluation.tables import confusion_table, percent


def test_counts_truth_in_rows_and_leaves_out_ignored():
    label = torch.tensor([[0, 1], [1, IGNORE]])
    prediction = torch.tensor([[0, 0], [1, 1]])
    assert count_confusion(label, prediction, 2).tolist() == [[1, 0], [1, 1]]


def test_scores_by_hand():
    scores = score_confusion(np.array([[3, 1], [2, 4]]))
    assert scores.iou == pytest.approx([3 / 6, 4 / 7])
    assert scores.miou == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert scores.recall == pytest.approx([3 / 4, 4 / 6])
    assert scores.precision == pytest.approx([3 / 5, 4 / 5])
    assert scores.pixel_accuracy == pytest.approx(0.7)


def test_class_that_occurs_nowhere_is_left_out_and_one_only_predicted_scores_zero():
    scores = score_confusion(np.array([[4, 1, 0], [0, 0, 0], [0, 0, 0]]))
    assert scores.iou[1] == 0
    assert np.isnan(scores.iou[2])
    assert scores.miou == pytest.approx((4 / 5 + 0) / 2)


@given(
    arrays(np.uint8, (6, 7), elements=st.sampled_from([0, 1, 2, 3, IGNORE])),
    arrays(np.uint8, (6, 7), elements=st.integers(0, 3)),
)
def test_matches_counting_pixel_by_pixel(label, prediction):
    confusion = count_confusion(torch.from_numpy(label), torch.from_numpy(prediction), 4)
    expected = np.zeros((4, 4), dtype=int)
    for true, predicted in zip(label.ravel(), prediction.ravel(), strict=True):
        if true != IGNORE:
            expected[true, predicted] += 1
    assert (confusion.numpy() == expected).all()


def test_scores_equal_the_official_evaluator(tmp_path):
    """cityscapesScripts' own evaluator is the judge, on random label images."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official  # noqa: N813
    from PIL import Image

    from sgcp.datasets.classes import cityscapes_classes

    rng = np.random.default_rng(5)
    to_id = np.full(256, 0, dtype=np.uint8)
    for item in cityscapes_classes():
        to_id[item.train_id] = item.label_id
    label = rng.choice([*range(17), IGNORE], (40, 60)).astype(np.uint8)  # two classes absent
    prediction = rng.integers(0, 18, label.shape).astype(np.uint8)  # one only predicted
    Image.fromarray(to_id[label]).save(tmp_path / "truth_labelIds.png")
    Image.fromarray(to_id[prediction]).save(tmp_path / "prediction.png")

    args = official.args
    args.evalInstLevelScore = False
    matrix = official.generateMatrix(args)
    official.evaluatePair(
        str(tmp_path / "prediction.png"),
        str(tmp_path / "truth_labelIds.png"),
        matrix,
        official.generateInstanceStats(args),
        {},
        args,
    )
    scores = score_confusion(
        count_confusion(torch.from_numpy(label), torch.from_numpy(prediction), 19).numpy()
    )
    for item, iou in zip(cityscapes_classes(), scores.iou, strict=True):
        judge = official.getIouScoreForLabel(item.label_id, matrix, args)
        assert iou == pytest.approx(judge, abs=1e-12, nan_ok=True), item.name


def test_confusion_shares_of_a_true_class_sum_to_one():
    from sgcp.datasets.classes import camvid_classes

    confusion = np.random.default_rng(0).integers(0, 9, (11, 11))
    confusion[3] = 0
    table = confusion_table(confusion, camvid_classes())
    sums = table.groupby("actual", sort=False)["share"].sum()
    assert sums["Road"] == 0
    assert np.allclose(sums.drop("Road"), 1)


def test_percent_of_nothing_is_a_dash():
    assert (percent(float("nan")), percent(0.5)) == ("-", "50.00")
