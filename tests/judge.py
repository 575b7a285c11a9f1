"""cityscapesScripts' own evaluator as the judge of ours."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sgcp.datasets.classes import cityscapes_classes
from sgcp.metrics.iou import Scores
from sgcp.metrics.protocol import Protocol


def label_ids_of(instance_ids: np.ndarray) -> np.ndarray:
    """The label image that belongs to an instance image."""
    return np.where(instance_ids >= 1000, instance_ids // 1000, instance_ids).astype(np.uint8)


def train_ids_of(instance_ids: np.ndarray) -> np.ndarray:
    """The train-id map that belongs to an instance image."""
    table = np.full(256, 255, np.uint8)
    for item in cityscapes_classes():
        table[item.label_id] = item.train_id
    return table[label_ids_of(instance_ids)]


def judge(
    pairs: list[tuple[np.ndarray, np.ndarray]],
    folder: Path,
    labels: list[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Score (instance ids, predicted label ids) with the official evaluator, from files.

    Args:
        labels: label ids of each pair, where they are not those of the instance ids.
    """
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official  # noqa: N813

    truths, predictions = [], []
    for index, (instance_ids, prediction) in enumerate(pairs):
        truths.append(str(folder / f"{index}_gtFine_labelIds.png"))
        predictions.append(str(folder / f"{index}.png"))
        label_ids = label_ids_of(instance_ids) if labels is None else labels[index]
        Image.fromarray(label_ids).save(truths[-1])
        instances = Image.fromarray(instance_ids.astype(np.int32))  # mode I, as published
        instances.save(truths[-1].replace("labelIds", "instanceIds"))
        Image.fromarray(prediction).save(predictions[-1])
    official.args.quiet, official.args.JSONOutput = True, False
    return official.evaluateImgLists(predictions, truths, official.args)


def assert_equal(scores: Scores, protocol: Protocol, official: dict[str, Any]) -> None:
    """Compare every number with the judge's, to 1e-9; NaN equals NaN."""
    names = [item.name for item in protocol.classes]
    ours = {
        "classScores": dict(zip(names, scores.iou, strict=True)),
        "classInstScores": dict(zip(names, scores.iiou, strict=True)),
        "categoryScores": scores.category_iou,
        "categoryInstScores": scores.category_iiou,
    }
    for kind, values in ours.items():
        for name, value in values.items():
            expected = pytest.approx(official[kind][name], abs=1e-9, nan_ok=True)
            assert value == expected, (kind, name)
    assert len(scores.category_iou) == 7
    means = {
        "averageScoreClasses": scores.miou,
        "averageScoreInstClasses": scores.miiou,
        "averageScoreCategories": scores.category_miou,
        "averageScoreInstCategories": scores.category_miiou,
    }
    for name, value in means.items():
        assert value == pytest.approx(official[name], abs=1e-9, nan_ok=True), name
