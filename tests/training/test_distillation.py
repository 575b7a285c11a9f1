"""Learning from another model's scores: ``train.teacher``."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from lightning_fabric import Fabric
from networks import random_card, save_random
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import IGNORE, camvid_classes
from sgcp.datasets.index import Item
from sgcp.datasets.loader import SegmentationDataset
from sgcp.models.artifact import load_model, save_model
from sgcp.models.network import Normalize, SGCPNet
from sgcp.settings.load import load_params
from sgcp.training.distillation import Teacher, read_teacher
from sgcp.training.loop import train_one_step
from sgcp.training.objective import Objective, divergence
from sgcp.training.run import start

MODEL = "data/models/sample"


@pytest.fixture
def settings():
    """A plain recipe that names a teacher."""
    recipe = load_params(ROOT / "params.yaml").sample.train
    changes = {"teacher": "teacher", "distill": 0.5, "distill_temperature": 2.0, "crop": (64, 64),
               "batch_size": 2}  # fmt: skip
    return recipe.model_copy(update=changes)


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def test_divergence_is_the_softened_one_of_hinton_over_all_pixels():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 2, 5, 3, 4, dtype=torch.float64)
    p, q = ((scores / 3).softmax(1) for scores in (teacher, student))
    expected = 9 * (p * (p / q).log()).sum() / (2 * 3 * 4)
    torch.testing.assert_close(divergence(student, teacher, 3.0), expected)
    assert divergence(teacher, teacher, 3.0).abs() < 1e-12
    # A constant added to all classes of a pixel says nothing.
    torch.testing.assert_close(divergence(student + 5, teacher - 7, 3.0), expected)


def test_scores_of_a_finer_teacher_are_brought_to_the_students_stride():
    torch.manual_seed(0)
    student, coarse = torch.randn(2, 1, 5, 4, 4)
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(divergence(student, fine, 1.0), divergence(student, coarse, 1.0))


def test_its_gradient_is_that_of_the_softened_difference():
    """T**2 keeps it of one size: T (q - p), divided by the pixels."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 5, 3, 4, dtype=torch.float64)
    student.requires_grad_()
    divergence(student, teacher, 4.0).backward()
    difference = (student.detach() / 4).softmax(1) - (teacher / 4).softmax(1)
    torch.testing.assert_close(student.grad, 4 * difference / 12)


def test_pixels_without_scores_do_not_count_and_spoil_no_gradient():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 5, 3, 4)
    student.requires_grad_()
    teacher[..., 2:] = torch.nan
    loss = divergence(student, teacher, 2.0)
    torch.testing.assert_close(loss, divergence(student[..., :2], teacher[..., :2], 2.0))
    loss.backward()
    assert (student.grad[..., 2:] == 0).all()
    assert (student.grad[..., :2] != 0).all()
    assert divergence(student, torch.full_like(teacher, torch.nan), 2.0) == 0


def test_pixels_weigh_as_the_classes_that_the_teacher_sees_in_them():
    student, teacher = torch.randn(1, 2, 1, 2), torch.tensor([[[[50.0, 0]], [[0, 50.0]]]])
    weights = torch.tensor([3.0, 1.0])
    alone = [divergence(student[..., [k]], teacher[..., [k]], 1.0) for k in range(2)]
    torch.testing.assert_close(
        divergence(student, teacher, 1.0, weights), (3 * alone[0] + alone[1]) / 4
    )


def test_unlabelled_pixels_teach_too_and_the_scores_have_their_weight(settings):
    torch.manual_seed(0)
    label = torch.full((2, 64, 64), IGNORE, dtype=torch.uint8)
    logits, teacher, inner = torch.randn(3, 2, 11, 8, 8)
    settings = settings.model_copy(update={"auxiliary": 0.4})
    loss = Objective(settings, None)((logits, [inner, logits]), label, teacher)
    alone, beside = (divergence(scores, teacher, 2.0) for scores in (logits, inner))
    torch.testing.assert_close(loss, 0.5 * (alone + 0.4 * (beside + alone) / 2))
    assert loss > 0
    weights = torch.rand(11)
    weighted = 0.5 * divergence(logits, teacher, 2.0, weights)
    torch.testing.assert_close(Objective(settings, weights)(logits, label, teacher), weighted)


@pytest.fixture
def images(tmp_path):
    """Two images of 40x64 beside label maps."""
    rng = np.random.default_rng(0)
    items = []
    for index in range(2):
        Image.fromarray(rng.integers(0, 256, (40, 64, 3), np.uint8)).save(
            tmp_path / f"i{index}.png"
        )
        Image.fromarray(np.zeros((40, 64), np.uint8)).save(tmp_path / f"l{index}.png")
        items.append(Item("train", Path(f"i{index}.png"), "s", 40, 64, "d", Path(f"l{index}.png")))
    return SegmentationDataset(items, tmp_path, tmp_path, 11)


def scores_of(teacher, images, fabric, folder, indices=(0, 1)):
    order = teacher.class_order(camvid_classes())
    teacher.score_images(images, order, folder, fabric, indices)
    return [np.load(path) for path in sorted(folder.glob("*.npy"))]


def test_scores_are_those_of_the_teachers_own_input_and_of_its_mirror_image(
    images, fabric, tmp_path
):
    path = save_random(tmp_path, input_side=80)
    found = scores_of(read_teacher(path), images, fabric, tmp_path / "scores")
    network, card = load_model(path)
    for index in range(2):
        x = F.interpolate(images[index][0][None], (80, 128), mode="bilinear", antialias=True)
        x = Normalize(card.mean, card.std)(x)
        with torch.no_grad():
            wanted = (network(x) + network(x.flip(-1)).flip(-1)) / 2
        assert found[index].dtype == np.float16
        torch.testing.assert_close(torch.from_numpy(found[index]).float(), wanted[0], atol=0.02,
                                   rtol=1e-3)  # fmt: skip


def test_a_teacher_sees_the_images_as_they_are_not_as_they_are_varied(images, fabric, tmp_path):
    teacher = read_teacher(save_random(tmp_path))
    plain = scores_of(teacher, images, fabric, tmp_path / "plain")
    varied = replace(images, transform=lambda *_: pytest.fail("varied"))
    np.testing.assert_array_equal(scores_of(teacher, varied, fabric, tmp_path / "other"), plain)


def test_only_missing_scores_are_made(images, fabric, tmp_path):
    teacher, folder = read_teacher(save_random(tmp_path)), tmp_path / "scores"
    assert len(scores_of(teacher, images, fabric, folder, (1,))) == 1
    np.save(folder / "1.npy", np.zeros(3))
    first, second = scores_of(teacher, images, fabric, folder)
    assert first.shape[0] == 11
    assert second.tolist() == [0, 0, 0]


def test_a_teacher_with_classes_in_another_order_is_matched_by_name(images, fabric, tmp_path):
    path = save_random(tmp_path)
    network, card = load_model(path)
    straight = scores_of(read_teacher(path), images, fabric, tmp_path / "straight")
    turned = [row | {"train_id": k} for k, row in enumerate(reversed(card.classes))]
    with torch.no_grad():
        network.classifier.weight.copy_(network.classifier.weight.flip(0))
        network.classifier.bias.copy_(network.classifier.bias.flip(0))
    other = Teacher(network, replace(card, classes=turned), path, "")
    found = scores_of(other, images, fabric, tmp_path / "turned")
    np.testing.assert_allclose(found, straight, atol=0.02, rtol=1e-3)


def test_a_teacher_of_other_classes_is_refused_in_one_message(tmp_path):
    teacher = read_teacher(save_random(tmp_path))
    with pytest.raises(SgcpError, match=r"train\.teacher: .* has 11 classes, .* Bicyclist"):
        teacher.class_order(camvid_classes()[:-1])


def test_a_student_comes_closer_to_its_teacher_without_labels(settings, fabric):
    torch.manual_seed(1)
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    label = torch.full((2, 64, 64), IGNORE, dtype=torch.uint8)
    scores = torch.randn(2, 11, 8, 8).half() * 3
    run = start(fabric, SGCPNet(11), Normalize(), settings, 30, False)
    run.wrapped.train()
    losses = [float(train_one_step(run, image, label, scores)) for _ in range(30)]
    assert losses[-1] < 0.7 * losses[0]


def description(project):
    return json.loads((project.root / MODEL / "model.json").read_text())


@pytest.fixture
def student(trained):
    """A project whose trained model is moved away to be a teacher."""
    path = (trained.root / MODEL).rename(trained.root / "teacher")
    trained.set(sample__train__teacher="teacher", sample__train__distill=1.0,
                sample__train__epochs=1)  # fmt: skip
    assert path.is_dir()
    return trained


def test_the_card_and_the_page_say_that_a_student_is_not_from_scratch(student):
    output = student.ok("train", "sample")
    assert "learning from teacher too: sgcpnet, 607,826 parameters" in output
    card = description(student)
    provenance = card["provenance"]
    assert len(provenance["teacher_sha256"]) == 64
    assert provenance["teacher"] == {"network": "sgcpnet", "dataset": "sample",
                                     "recipe": "quick", "epoch": 16}  # fmt: skip
    assert card["trained_on"].keys() == description_of(student, "teacher")["trained_on"].keys()
    content = json.loads(student_scores(student).read_text())
    assert content["model"]["lineage"] == "not from scratch: learned from a teacher"
    student.ok("report", "sample")
    page = (student.root / "data/reports/sample/report.html").read_text()
    assert "not from scratch: learned from a teacher" in page
    weights = load_file(student.root / MODEL / "model.safetensors")
    assert weights.keys() == load_file(student.root / "teacher/model.safetensors").keys()


def description_of(project, name):
    return json.loads((project.root / name / "model.json").read_text())


def student_scores(project):
    project.ok("validate", "sample")
    return project.root / "metrics/sample/validate.json"


@pytest.mark.parametrize(
    ("settings", "lineage"),
    [
        ({}, "from scratch"),
        ({"teacher": "t"}, "not from scratch: learned from a teacher"),
        ({"encoder_weights": "e", "teacher": "t"},
         "not from scratch: with a pretrained encoder, learned from a teacher"),
        (None, ""),
    ],
)  # fmt: skip
def test_lineage_is_what_the_settings_name(settings, lineage):
    assert random_card(provenance={"settings": settings}).lineage == lineage
    if settings == {}:  # code of one's own may load weights
        assert random_card(provenance={"settings": {}}, network="a:b").lineage == ""


def test_images_that_the_teacher_saw_are_never_scored(student):
    """Neither while the student trains nor afterwards: it has learnt what is on them."""
    student.set(sample__train__split="val", sample__train__validate_split="train")
    text = student.fails("train", "sample")
    assert "were trained on" in text
    assert "train.init or train.teacher was trained on them" in text
    student.set(sample__train__validate_split=None, sample__train__keep="last")
    student.ok("train", "sample")
    assert "were trained on" in student.fails("validate", "sample", "--split", "train")


def test_another_teacher_starts_training_anew(student):
    student.set(machine__checkpoint_seconds=0, sample__train__epochs=2)
    student.stopped_after(1, "sample")
    assert "resuming" in student.stopped_after(0, "sample").output
    network, card = load_model(student.root / "teacher")
    with torch.no_grad():
        network.classifier.bias.add_(1)
    save_model(network, network.state_dict(), card, student.root / "teacher/model.safetensors")
    assert "resuming" not in student.stopped_after(0, "sample").output


@pytest.mark.parametrize("changed", ["precision", "code"])
def test_scores_are_of_this_precision_and_of_this_code_of_the_teacher(
    student, changed, monkeypatch
):
    student.stopped_after(1, "sample")
    (made,) = (student.root / "data/resume/sample").glob("teacher-*")
    assert "learning from" not in student.stopped_after(1, "sample").output
    if changed == "precision":
        student.set(sample__train__precision="bf16-mixed")
    else:
        monkeypatch.setattr("sgcp.stages.train.source_digest", lambda function: "other")
    assert "learning from" in student.stopped_after(0, "sample").output
    assert not made.exists()


def test_an_interrupted_student_ends_as_an_uninterrupted_one(student):
    student.set(machine__checkpoint_seconds=0, machine__accelerator="cpu")
    student.ok("train", "sample")
    whole = (student.root / MODEL / "model.safetensors").read_bytes()
    student.stopped_after(1, "sample")
    assert "resuming" in student.ok("train", "sample")
    assert (student.root / MODEL / "model.safetensors").read_bytes() == whole


def test_a_missing_teacher_and_the_own_output_are_refused(trained):
    trained.set(sample__train__teacher="nowhere", sample__train__distill=1.0)
    assert "nowhere: no such file" in trained.fails("train", "sample")
    trained.set(sample__train__teacher=MODEL)
    assert "train.teacher" in (text := trained.fails("train", "sample"))
    assert "Move the model elsewhere" in text
