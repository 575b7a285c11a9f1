import json
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from networks import random_card, random_image, save_random
from pages import fences
from PIL import Image

from sgcp.core.errors import SgcpError
from sgcp.core.layout import Layout
from sgcp.core.machine import peak_bytes
from sgcp.datasets.classes import cityscapes_classes, classes_to_json
from sgcp.models import NETWORKS, build_network
from sgcp.models.artifact import save_model
from sgcp.speed.candidates import ON_CPU, TASKS, Spec, list_specs, size_of, write_int8
from sgcp.speed.runner import Runner
from sgcp.tools.benchmark import quantize_for

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_random(tmp_path_factory.mktemp("model"))


@pytest.fixture
def image_file(tmp_path) -> Path:
    Image.fromarray(random_image(96, 128)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def spec(model, network="SGCPNet", engine="torch", precision="fp32", size=(96, 128)):
    return Spec(network, engine, precision, model, size, threads=1)


def test_every_candidate_is_timed_or_named_as_left_out(trained):
    trained.set(
        sample__benchmark__candidates=["reference", "openvino", "int8", "linknet"],
        sample__benchmark__size=[72, 128],  # LinkNet needs multiples of 32
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


def test_options_leave_the_tracked_numbers_alone(trained, image_file):
    trained.ok("benchmark", "sample", "--images", image_file.parent, "--out", "mine.json")
    content = json.loads((trained.root / "mine.json").read_text())
    assert content["size"] == [64, 128]
    trained.ok("benchmark", "sample", "--size", "32", "64")
    assert not Layout(trained.root, "sample").speed.exists()


@pytest.mark.parametrize(
    ("option", "named"),
    [(("--size", "0", "64"), "size"),
     (("--images", "nowhere"), "nowhere: no folder of PNG"), (("--device", "cuda"), "no GPU")],
)  # fmt: skip
def test_impossible_options_are_one_message(trained, option, named):
    assert named in trained.fails("benchmark", "sample", *option)


PIDNET = """
import torch
from torch import nn

class Odd(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv = nn.Conv2d(3, classes, 3, 8, 1)

    def forward(self, image):
        return self.conv(image) * float(image.max() < 9)  # the count of operations has no numbers

def get_pred_model(name, classes):
    return Odd(classes)
"""
ULTRALYTICS = """
import os
from torch import nn

assert os.environ["YOLO_OFFLINE"] == "true" and os.environ["YOLO_CONFIG_DIR"]  # else it asks

class SemanticSegmentationModel(nn.Sequential):
    def __init__(self, cfg, nc, verbose):
        assert (cfg, verbose) == ("yolo26n-sem.yaml", False)
        super().__init__(nn.Conv2d(3, nc, 3, 8, 1))

    def fuse(self, verbose):
        return self
"""


@pytest.fixture
def add_module(tmp_path, monkeypatch):
    """Write modules that candidates import, found before any that is installed."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        file = (tmp_path / name.replace(".", "/")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        for package in list(file.parents)[: name.count(".")]:
            (package / "__init__.py").touch()
        file.write_text(source)
        for module in [m for m in sys.modules if m.partition(".")[0] == name.partition(".")[0]]:
            monkeypatch.delitem(sys.modules, module)

    return write


def test_networks_of_the_user_are_timed_in_the_same_run(trained, add_module):
    (example,) = fences(ROOT / "docs" / "speed.md", "python")
    add_module("my_pidnet", example)
    add_module("models.pidnet", PIDNET)
    add_module("ultralytics.nn.tasks", ULTRALYTICS)
    networks = ("my_pidnet:build", "yolo26n-sem")
    trained.ok("benchmark", "sample", *(word for name in networks for word in ("--with", name)),
               "--out", "speed.json")  # fmt: skip
    rows = json.loads((trained.root / "speed.json").read_text())["rows"]
    for network in networks:
        found = [row for row in rows if row["network"] == network]
        assert {("torch", "fp32"), ("openvino", "fp32")} <= {
            (row["engine"], row["precision"]) for row in found
        }
        assert all(row["tasks"].keys() == {"network"} for row in found)
        assert all(("parameters" in row) == (network == "yolo26n-sem") for row in found)


def test_network_that_is_not_installed_is_one_line_and_the_rest_is_timed(trained, add_module):
    add_module("ultralytics", "raise ImportError('none')")
    output = trained.ok("benchmark", "sample", "--with", "yolo26n-sem")
    assert output.count("pip install -U ultralytics") == 1
    assert "SGCPNet, openvino fp32" in output
    assert "--with: unknown 'yolo9'" in trained.fails("benchmark", "sample", "--with", "yolo9")


def test_reference_scores_as_the_plain_network_does(model, image_file):
    reference, ours = spec(model, "reference").open(), spec(model).open()
    image = np.array(Image.open(image_file))
    scores = reference.network(image)()[0].numpy()
    np.testing.assert_allclose(scores, ours.network(image)(), atol=1e-4)
    assert np.mean(reference.label(image) == ours.label(image)) > 0.9  # bicubic, not bilinear


@pytest.mark.parametrize("network", ["reference", "SGCPNet"])
def test_folders_get_the_labels_of_single_images(model, image_file, tmp_path, network):
    (tmp_path / "out").mkdir()
    candidate = spec(model, network).open()
    candidate.label_files([image_file], tmp_path / "out")
    written = np.array(Image.open(tmp_path / "out" / image_file.name))
    np.testing.assert_array_equal(written, candidate.label(np.array(Image.open(image_file))))


@pytest.mark.parametrize("network", ["lraspp", "linknet"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_baselines_score_images_at_their_stride(model, image_file, network, engine):
    candidate = spec(model, network, engine).open()
    scores = candidate.network(np.array(Image.open(image_file)))()
    assert scores.shape == ((11, 12, 16) if network == "lraspp" else (11, 96, 128))


def test_the_network_in_8_bits_labels_nearly_alike(model, image_file, tmp_path):
    pytest.importorskip("nncf")
    file = write_int8(model, [image_file], tmp_path)
    image = np.array(Image.open(image_file))
    int8 = replace(spec(model, "SGCPNet", "openvino", "int8"), model=file).open()
    scores, expected = int8.network(image)(), spec(model).open().network(image)()
    assert 0 < np.abs(scores - expected).max() < 0.2 * np.abs(expected).max()


def test_8_bits_without_nncf_are_left_out_with_the_reason(trained, monkeypatch):
    monkeypatch.setattr("sgcp.core.extras.find_spec", lambda _: None)
    plain = spec(trained.root / "data/models/sample/model.safetensors", engine="openvino")
    specs = [plain, replace(plain, precision="int8")]
    kept, left_out = quantize_for(specs, Layout(trained.root, "sample"), trained.root)
    assert kept == [plain]
    assert "`pip install 'sgcpnet[int8]'`" in left_out["SGCPNet, openvino int8"]


def test_a_killed_candidate_is_one_message(model, image_file):
    runner = Runner(spec(model), [image_file])
    assert runner.seconds.keys() == TASKS.keys()
    assert runner.ask("memory") > 0
    (process,) = multiprocessing.active_children()
    process.kill()
    with pytest.raises(SgcpError, match="its process ended"):
        runner.ask("network")


def test_size_is_that_of_the_model_that_the_file_holds_now(tmp_path):
    file, sizes = tmp_path / "model.safetensors", []
    for name in ("sgcpnet", "lraspp"):
        network = build_network(name, 19)
        card = replace(random_card(), classes=classes_to_json(cityscapes_classes()), network=name)
        save_model(network, network.state_dict(), card, file)
        sizes.append(size_of(spec(file, size=(1024, 2048))))
    assert sizes[0] == {"parameters": 607_826, "gflop": 6.55}  # as published
    assert sizes[0]["parameters"] * 5 < sizes[1]["parameters"]


def test_peak_memory_counts_what_was_freed():
    before = peak_bytes()
    block = np.ones(before + 2**26, dtype=np.uint8)
    assert peak_bytes() >= len(block)
    del block
    assert peak_bytes() >= before + 2**26


def test_settings_name_every_candidate():
    from sgcp.settings import Candidate

    assert set(Candidate.__args__) == {*ON_CPU, *NETWORKS} - {"sgcpnet"}


def test_a_gpu_runs_the_networks_in_pytorch(model):
    specs = list_specs(model, (96, 128), 1, ["reference", "torch", "openvino", "lraspp"], "cuda")
    assert {(one.network, one.engine) for one in specs if one.device == "cuda"} == {
        ("SGCPNet", "torch"),
        ("lraspp", "torch"),
    }


def test_functions_are_timed_by_turns_after_a_warm_up(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks.timing import time_by_turns

    calls = []
    seconds = time_by_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert seconds.keys() == {"a", "b"}
