"""What a step minimises, and what the auxiliary heads are."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file

from sgcp.datasets.classes import IGNORE
from sgcp.models.network import SGCPNet
from sgcp.settings.load import load_params
from sgcp.training.auxiliary import Supervised
from sgcp.training.kernels.banded_cross_entropy import segmentation_loss
from sgcp.training.objective import Objective, dice, labelled, lovasz_softmax


def jaccard_loss(right, belongs):
    """1 - TP / (TP + FP + FN) of one class, from (N,) masks of what is called it and what is."""
    return 1 - (right & belongs).sum() / (right | belongs).sum()


def test_lovasz_of_hard_predictions_is_one_minus_the_iou():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 3, (2, 200))
    probabilities = torch.eye(3)[torch.from_numpy(found)]
    expected = np.mean([jaccard_loss(found == k, truth == k) for k in range(3)])
    assert lovasz_softmax(probabilities, torch.from_numpy(truth)).item() == pytest.approx(expected)


def test_lovasz_counts_only_classes_that_occur():
    probabilities = torch.tensor([[0.7, 0.1, 0.2], [0.6, 0.3, 0.1]])
    alone = lovasz_softmax(probabilities, torch.tensor([0, 0]))
    # One class, all pixels its own: the mean error of the two.
    assert alone.item() == pytest.approx((0.3 + 0.4) / 2)
    assert lovasz_softmax(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).item() == 0


def test_lovasz_has_the_gradient_that_small_steps_show():
    torch.manual_seed(0)
    scores = torch.randn(30, 4, dtype=torch.float64, requires_grad=True)
    truth = torch.randint(0, 4, (30,))
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(1), truth), scores)


def test_lovasz_leaves_ignored_pixels_out():
    torch.manual_seed(1)
    logits = torch.randn(2, 4, 6, 6)
    label = torch.randint(0, 4, (2, 6, 6), dtype=torch.uint8)
    label[:, 3:] = IGNORE
    expected = lovasz_softmax(*labelled(logits[:, :, :3].contiguous(), label[:, :3]))
    assert lovasz_softmax(*labelled(logits, label)).item() == pytest.approx(expected.item())


def test_dice_of_hard_predictions_is_one_minus_the_dice_score():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 3, (2, 200))
    scores = [2 * ((truth == k) & (found == k)).sum() / ((truth == k).sum() + (found == k).sum())
              for k in range(3)]  # fmt: skip
    loss = dice(torch.eye(3)[torch.from_numpy(found)], torch.from_numpy(truth))
    assert loss.item() == pytest.approx(1 - np.mean(scores))
    assert dice(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)).item() == 0


@pytest.fixture
def settings():
    return load_params(ROOT / "params.yaml").sample.train


def test_each_part_of_the_loss_has_its_weight(settings):
    torch.manual_seed(2)
    logits, inner = torch.randn(2, 5, 8, 8), [torch.randn(2, 5, n, n) for n in (4, 2, 8)]
    label = torch.randint(0, 5, (2, 64, 64), dtype=torch.uint8)
    plain = settings.model_copy(
        update={"extra_loss": None, "auxiliary": 0.0, "label_smoothing": 0.0}
    )
    main = segmentation_loss(logits, label, 0.0)
    assert torch.equal(Objective(plain, None)(logits, label), main)

    with_lovasz = plain.model_copy(update={"extra_loss": "lovasz", "extra_loss_weight": 0.5})
    expected = main + 0.5 * lovasz_softmax(*labelled(logits, label[:, 4::8, 4::8]))
    torch.testing.assert_close(Objective(with_lovasz, None)(logits, label), expected)

    with_heads = plain.model_copy(update={"auxiliary": 0.4})
    beside = sum(segmentation_loss(scores, label[:, 2::4, 2::4], 0.0) for scores in inner) / 3
    expected = main + 0.4 * beside
    torch.testing.assert_close(Objective(with_heads, None)((logits, inner), label), expected)


def test_heads_see_inner_features_and_change_nothing_of_the_network():
    network = SGCPNet(7).eval()
    image = torch.randn(2, 3, 64, 96)
    logits, inner = Supervised(network).eval()(image)
    assert torch.equal(logits, network(image))
    assert [tuple(scores.shape) for scores in inner] == [(2, 7, 4, 6), (2, 7, 2, 3), (2, 7, 8, 12)]


def test_heads_are_trained_but_not_kept(prepared, monkeypatch):
    from sgcp.training import loop

    prepared.set(
        sample__train__auxiliary=0.4,
        sample__train__extra_loss="lovasz",
        sample__train__extra_loss_weight=0.5,
        sample__train__mix=1.0,
    )
    runs, step = [], loop.train_one_step

    def record(run, *batch):
        if not runs:
            runs.append({name: value.clone() for name, value in run.heads.state_dict().items()})
        loss = step(run, *batch)
        runs[1:] = [run.heads.state_dict()]
        return loss

    monkeypatch.setattr(loop, "train_one_step", record)
    prepared.ok("train", "sample")
    assert all((runs[0][name] != value).any() for name, value in runs[1].items())
    kept = load_file(prepared.root / "data/models/sample/model.safetensors")
    assert kept.keys() == SGCPNet(19).state_dict().keys()


def test_batch_without_a_labelled_pixel_has_no_gradient_and_no_nan():
    """Every term of the loss; a process with such a batch takes the same step as the others."""
    settings = load_params(ROOT / "params.yaml").sample.train
    settings = settings.model_copy(
        update={
            "extra_loss": "lovasz",
            "extra_loss_weight": 1.0,
            "auxiliary": 0.4,
            "label_smoothing": 0.1,
        }
    )
    for weights in (None, torch.ones(5)):
        logits = torch.randn(2, 5, 8, 8, requires_grad=True)
        heads = [torch.randn(2, 5, side, side, requires_grad=True) for side in (2, 4)]
        label = torch.full((2, 64, 64), IGNORE, dtype=torch.uint8)
        loss = Objective(settings, weights)((logits, heads), label)
        loss.backward()
        assert loss.item() == 0
        for leaf in (logits, *heads):
            assert torch.equal(leaf.grad, torch.zeros_like(leaf))
