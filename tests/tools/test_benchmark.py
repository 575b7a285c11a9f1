import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.core.layout import Layout
from sgcp.core.memory import peak_bytes
from sgcp.datasets.classes import cityscapes_classes, classes_to_json
from sgcp.models.artifact import save_model
from sgcp.models.card import ModelCard
from sgcp.models.network import SGCPNet
from sgcp.speed.candidate import TASKS
from sgcp.speed.int8 import write_int8
from sgcp.speed.runner import Runner
from sgcp.speed.size import size_of
from sgcp.speed.specs import ON_CPU, Job, jobs_on_gpu
from sgcp.tools.benchmark import give_int8

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Write a network that tells classes apart: random weights, random statistics."""
    torch.manual_seed(3)
    network = SGCPNet(19).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    card = ModelCard(classes_to_json(cityscapes_classes()), "cityscapes", "fine", "cityscapes-19")
    save_model(network, network.state_dict(), card, path)
    return path


@pytest.fixture
def street(tmp_path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((128, 96)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def job(model, network="SGCPNet", engine="torch", precision="fp32", size=(96, 128)):
    return Job(network, engine, precision, model, size, threads=1)


def test_every_contender_is_timed_or_named_as_left_out(trained):
    trained.set(
        sample__benchmark__contenders=["reference", "openvino", "int8", "linknet"],
        sample__benchmark__size=[72, 128],  # LinkNet wants multiples of 32
    )
    trained.ok("benchmark", "sample")
    content = json.loads(Layout(trained.root, "sample").speed.read_text())
    named = {(row["network"], row["engine"], row["precision"]) for row in content["rows"]}
    assert {("reference", "torch", "fp32"), ("SGCPNet", "openvino", "fp32")} <= named
    assert ("SGCPNet", "openvino", "int8") in named or "int8" in str(content["left_out"])
    assert any(
        "linknet" in name and "divisible" in why for name, why in content["left_out"].items()
    )
    assert content["batch"] == 1
    assert content["images"] == {"from": "sample", "number": 2}
    assert content["threads"] >= 1
    for row in content["rows"]:
        for task in TASKS:
            assert 0 < row["tasks"][task]["p50_ms"] <= row["tasks"][task]["p95_ms"]
        assert row["peak_mib"]["labels"] <= row["peak_mib"]["files"]
        assert row["tasks"]["network"]["runs"] == 3
        if (row["network"], row["precision"]) == ("SGCPNet", "fp32"):  # others depend on the model
            assert row["other_labels"] < 0.01 * 2 * 72 * 128


def test_no_model_is_one_message(project):
    assert "run `sgcp train sample` first" in project.fails("benchmark", "sample")


def test_options_leave_the_tracked_numbers_alone(trained, street):
    trained.ok("benchmark", "sample", "--images", street.parent, "--out", "mine.json")
    content = json.loads((trained.root / "mine.json").read_text())
    assert content["size"] == [64, 128]
    trained.ok("benchmark", "sample", "--size", "32", "64")
    assert not Layout(trained.root, "sample").speed.exists()


@pytest.mark.parametrize(
    ("option", "named"),
    [(("--size", "0", "64"), "size"), (("--device", "tpu"), "accelerator"),
     (("--images", "nowhere"), "nowhere: no folder of PNG"), (("--device", "cuda"), "no GPU")],
)  # fmt: skip
def test_impossible_options_are_one_message(trained, option, named):
    assert named in trained.fails("benchmark", "sample", *option)


def test_reference_scores_as_the_plain_network_does(model, street):
    reference = job(model, "reference").open()
    image = np.array(Image.open(street))
    ours = job(model).open()
    scores = reference.network(image)()[0].numpy()
    np.testing.assert_allclose(scores, ours.network(image)(), atol=1e-4)
    assert np.mean(reference.label(image) == ours.label(image)) > 0.9  # bicubic, not bilinear


def test_folders_get_the_labels_of_single_images(model, street, tmp_path):
    (tmp_path / "out").mkdir()
    for network in ("reference", "SGCPNet"):
        candidate = job(model, network).open()
        candidate.label_files([street], tmp_path / "out")
        written = np.array(Image.open(tmp_path / "out" / street.name))
        np.testing.assert_array_equal(written, candidate.label(np.array(Image.open(street))))


@pytest.mark.parametrize("peer", ["lraspp", "linknet"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_peers_score_images_at_their_stride(model, street, peer, engine):
    candidate = job(model, peer, engine).open()
    scores = candidate.network(np.array(Image.open(street)))()
    assert scores.shape == ((19, 12, 16) if peer == "lraspp" else (19, 96, 128))
    assert candidate.tasks == ("network",)


def test_the_network_in_8_bits_labels_nearly_alike(model, street, tmp_path):
    pytest.importorskip("nncf")
    file = write_int8(model, [street], tmp_path)
    image = np.array(Image.open(street))
    int8, plain = replace(job(model, "SGCPNet", "openvino", "int8"), model=file).open(), job(model)
    scores, wanted = int8.network(image)(), plain.open().network(image)()
    assert 0 < np.abs(scores - wanted).max() < 0.2 * np.abs(wanted).max()


def test_8_bits_without_nncf_are_left_out_with_the_reason(trained, monkeypatch):
    import sgcp.inference.quantize as quantize

    monkeypatch.setattr(quantize, "find_spec", lambda _: None)
    wanted = [job(trained.root / "data/models/sample/model.safetensors", engine="openvino")]
    wanted += [replace(wanted[0], precision="int8")]
    jobs, left_out = give_int8(wanted, Layout(trained.root, "sample"), trained.root)
    assert jobs == wanted[:1]
    assert "pip install" in left_out["SGCPNet, openvino int8"]


def test_a_killed_contender_is_one_message(model, street):
    runner = Runner(job(model), [street])
    runner.process.kill()
    runner.process.join()
    assert runner.process.exitcode == -signal.SIGKILL
    with pytest.raises(SgcpError, match="its process ended"):
        runner.ask("network")


def test_size_is_that_of_the_published_network(model):
    found = size_of(job(model, size=(1024, 2048)))
    assert found == {"parameters": 607_826, "gflop": 6.55}


def test_peak_memory_counts_what_was_freed():
    before = peak_bytes()
    block = np.ones(before + 2**26, dtype=np.uint8)
    assert peak_bytes() >= len(block)
    del block
    assert peak_bytes() >= before + 2**26


def test_settings_name_every_contender():
    from sgcp.settings import Candidate

    assert set(Candidate.__args__) == set(ON_CPU)


def test_a_gpu_runs_the_networks_in_pytorch(model):
    jobs = jobs_on_gpu(model, (96, 128), ["reference", "torch", "openvino", "lraspp"])
    assert {(j.network, j.engine, j.device) for j in jobs} == {
        ("SGCPNet", "torch", "cuda"),
        ("lraspp", "torch", "cuda"),
    }
