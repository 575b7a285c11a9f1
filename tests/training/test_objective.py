"""What a step minimises: class weights, extra losses, auxiliary heads; and averaged weights."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file

from sgcp.datasets.classes import IGNORE
from sgcp.models.network import SGCPNet
from sgcp.settings.load import load_params
from sgcp.training import loop
from sgcp.training.kernels.banded_cross_entropy import segmentation_loss
from sgcp.training.objective import (
    Objective,
    Supervised,
    class_weights,
    count_pixels,
    dice,
    labelled,
    lovasz_softmax,
)

NO_PIXELS = torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)


def test_pixels_are_counted_by_class_over_all_maps():
    maps = [np.array([[0, 1], [1, IGNORE]], np.uint8), np.array([[1, 3, 3]], np.uint8)]
    assert count_pixels(((one, 1.0) for one in maps), 4).tolist() == [1, 3, 0, 2]
    assert count_pixels([(maps[0], 3.0)], 4).sum() == 3 * (maps[0] < 4).sum()


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_a_mean_pixel_weighs_one_and_rare_classes_more(balance):
    counts = np.array([900, 90, 10, 0])
    weights = class_weights(counts, balance)
    assert float(weights.double() @ torch.from_numpy(counts / 1000)) == pytest.approx(1)
    assert float(weights[2] / weights[0]) == pytest.approx(90**balance)
    assert weights[3] == 0
    assert class_weights(np.zeros(3, np.int64), balance).tolist() == [0, 0, 0]


def test_balanced_classes_count_alike_however_many_pixels_they_have():
    """The loss is the mean over classes of each class's own mean."""
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 8, 8)
    label = torch.zeros(1, 8, 8, dtype=torch.uint8)
    label[0, 0, :4], label[0, 1, :2], label[0, 2] = 1, 2, IGNORE
    counts = count_pixels([(label[0].numpy(), 1.0)], 3)
    alone = [segmentation_loss(logits, label.where(label == k, IGNORE), 0.0) for k in range(3)]
    balanced = segmentation_loss(logits, label, 0.0, class_weights(counts, 1.0))
    torch.testing.assert_close(balanced, torch.stack(alone).mean())


def test_losses_of_hard_predictions_are_one_minus_iou_and_one_minus_dice():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 3, (2, 200))
    given = torch.eye(3)[torch.from_numpy(found)], torch.from_numpy(truth)
    pairs = [(truth == k, found == k) for k in range(3)]
    iou = np.mean([(t & f).sum() / (t | f).sum() for t, f in pairs])
    score = np.mean([2 * (t & f).sum() / (t.sum() + f.sum()) for t, f in pairs])
    assert lovasz_softmax(*given).item() == pytest.approx(1 - iou)
    assert dice(*given).item() == pytest.approx(1 - score)
    assert lovasz_softmax(*NO_PIXELS).item() == dice(*NO_PIXELS).item() == 0


def test_lovasz_counts_only_classes_that_occur():
    probabilities = torch.tensor([[0.7, 0.1, 0.2], [0.6, 0.3, 0.1]])
    alone = lovasz_softmax(probabilities, torch.tensor([0, 0]))
    # One class, all pixels its own: the mean error of the two.
    assert alone.item() == pytest.approx((0.3 + 0.4) / 2)


def test_lovasz_has_the_gradient_that_small_steps_show():
    torch.manual_seed(0)
    scores = torch.randn(30, 4, dtype=torch.float64, requires_grad=True)
    truth = torch.randint(0, 4, (30,))
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(1), truth), scores)


def test_extra_losses_leave_ignored_pixels_out():
    torch.manual_seed(1)
    logits = torch.randn(2, 4, 6, 6)
    label = torch.randint(0, 4, (2, 6, 6), dtype=torch.uint8)
    label[:, 3:] = IGNORE
    expected = lovasz_softmax(*labelled(logits[:, :, :3].contiguous(), label[:, :3]))
    assert lovasz_softmax(*labelled(logits, label)).item() == pytest.approx(expected.item())


@pytest.fixture
def settings():
    plain = {"extra_loss": None, "auxiliary": 0.0, "label_smoothing": 0.0}
    return load_params(ROOT / "params.yaml").sample.train.model_copy(update=plain)


def test_each_part_of_the_loss_has_its_weight(settings):
    torch.manual_seed(2)
    logits, inner = torch.randn(2, 5, 8, 8), [torch.randn(2, 5, n, n) for n in (4, 2, 8)]
    label = torch.randint(0, 5, (2, 64, 64), dtype=torch.uint8)
    main = segmentation_loss(logits, label, 0.0)
    assert torch.equal(Objective(settings, None)(logits, label), main)

    smooth, weights = settings.model_copy(update={"label_smoothing": 0.1}), torch.rand(5)
    expected = segmentation_loss(logits, label, 0.1, weights)
    torch.testing.assert_close(Objective(smooth, weights)(logits, label), expected)

    with_lovasz = settings.model_copy(update={"extra_loss": "lovasz", "extra_loss_weight": 0.5})
    expected = main + 0.5 * lovasz_softmax(*labelled(logits, label[:, 4::8, 4::8]))
    torch.testing.assert_close(Objective(with_lovasz, None)(logits, label), expected)

    with_heads = settings.model_copy(update={"auxiliary": 0.4})
    beside = sum(segmentation_loss(scores, label[:, 2::4, 2::4], 0.0) for scores in inner) / 3
    expected = main + 0.4 * beside
    torch.testing.assert_close(Objective(with_heads, None)((logits, inner), label), expected)


def test_batch_without_a_labelled_pixel_has_no_gradient_and_no_nan(settings):
    """Every term of the loss; a process with such a batch takes the same step as the others."""
    terms = {"extra_loss": "lovasz", "extra_loss_weight": 1.0, "auxiliary": 0.4}
    settings = settings.model_copy(update=terms | {"label_smoothing": 0.1})
    for weights in (None, torch.ones(5)):
        leaves = [torch.randn(2, 5, side, side, requires_grad=True) for side in (8, 2, 4)]
        label = torch.full((2, 64, 64), IGNORE, dtype=torch.uint8)
        loss = Objective(settings, weights)((leaves[0], leaves[1:]), label)
        loss.backward()
        assert loss.item() == 0
        assert all(torch.equal(leaf.grad, torch.zeros_like(leaf)) for leaf in leaves)


def test_heads_see_inner_features_and_change_nothing_of_the_network():
    network = SGCPNet(7).eval()
    image = torch.randn(2, 3, 64, 96)
    logits, inner = Supervised(network).eval()(image)
    assert torch.equal(logits, network(image))
    assert [tuple(scores.shape) for scores in inner] == [(2, 7, 4, 6), (2, 7, 2, 3), (2, 7, 8, 12)]


def test_heads_learn_but_the_running_mean_of_the_network_alone_is_kept(prepared, monkeypatch):
    prepared.set(
        sample__train__auxiliary=0.4,
        sample__train__extra_loss="lovasz",
        sample__train__extra_loss_weight=0.5,
        sample__train__mix=1.0,
        sample__train__average=0.5,
    )
    step, heads, seen = loop.train_one_step, [], []

    def copy(module) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in module.state_dict().items()}

    def record(run, *batch):
        heads.append(copy(run.heads))
        loss = step(run, *batch)
        seen.append(copy(run.network))
        return loss

    monkeypatch.setattr(loop, "train_one_step", record)
    prepared.ok("train", "sample")
    assert all((heads[0][name] != value).any() for name, value in heads[-1].items())
    kept = load_file(prepared.root / "data/models/sample/last.safetensors")
    assert kept.keys() == SGCPNet(19).state_dict().keys()
    for name, mean in seen[0].items():
        if mean.is_floating_point():
            for state in seen[1:]:
                mean = torch.lerp(mean, state[name], 0.5)
            torch.testing.assert_close(kept[name], mean, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(kept[name], seen[-1][name]) for name in kept)
