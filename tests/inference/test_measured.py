"""``precision="auto"``: the fastest way is found by measuring, kept, and bounded in its labels."""

import hashlib
import json
import math
import shutil

import numpy as np
import pytest
from networks import random_card, random_image, save_random

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.core.files import file_sha256, to_json
from sgcp.inference.engines import choice, measured
from sgcp.inference.engines.base import Engine
from sgcp.inference.engines.choice import BUNDLED
from sgcp.inference.engines.measured import MeasuredEngine, Trial, Way, fastest
from sgcp.inference.engines.openvino_engine import read_model
from sgcp.inference.graph import InferenceGraph, ir_files, to_onnx
from sgcp.models import build_network

FP32, BF16, INT8 = Way("openvino", "fp32"), Way("openvino", "bf16"), Way("openvino", "int8")


@pytest.mark.parametrize(
    ("fp32", "bf16", "int8", "best"),
    [
        ((10, 0), (5, 0.003), (4, 0.01), INT8),
        ((10, 0), (5, 0.003), (4, 0.021), BF16),  # int8 changes too many labels
        ((10, 0), (15, 0.003), (12, 0.01), FP32),
        ((10, 0), (9.5, 0.003), (9.1, 0.01), FP32),  # not worth other labels
        ((10, 0), (5, math.nan), (4, 1), FP32),
    ],
)
def test_the_fastest_way_wins_if_it_changes_few_labels_and_gains_enough(fp32, bf16, int8, best):
    rows = zip((FP32, BF16, INT8), (fp32, bf16, int8), strict=True)
    assert fastest([Trial(way, *row) for way, row in rows]).way == best


class Fake(Engine):
    """Takes the time that its precision is said to take, by a clock of its own."""

    title = "fake"

    def __init__(self, way, callers, clock):
        self.name, self.precision, self.callers = way.engine, way.precision, callers
        self.clock = clock

    def run(self, image):
        self.clock["now"] += self.clock[self.precision]
        scores = np.zeros((2, -(-image.shape[0] // 8), -(-image.shape[1] // 8)), np.float32)
        scores[1] = 1
        scores[0, : self.clock.get("changed", 0) if self.precision == "int8" else 0] = 2
        return scores


@pytest.fixture
def clock(monkeypatch, tmp_path):
    """Seconds that each precision takes, and the engines opened so far."""
    clock = {"now": 0.0, "fp32": 1.0, "bf16": 2.0, "int8": 0.5, "opened": []}
    monkeypatch.setattr(measured, "perf_counter", lambda: clock["now"])
    monkeypatch.setenv("SGCP_CACHE", str(tmp_path / "cache"))
    return clock


def make(clock, key=("model",)):
    def open_way(way, callers):
        clock["opened"].append((way, callers))
        if clock[way.precision] is None:
            raise SgcpError("cannot run it")
        return Fake(way, callers, clock)

    return MeasuredEngine([FP32, BF16, INT8], open_way, 3, key)


def test_the_first_image_of_a_size_decides_and_the_decision_is_kept(clock):
    image = random_image(64, 96)
    engine = make(clock)
    assert (engine.name, engine.precision) == ("auto", "auto")
    engine.run(image)
    assert engine.precision == "int8"
    assert clock["opened"][-1] == (INT8, 3)
    clock["opened"].clear()
    engine.run(random_image(62, 96))
    assert not clock["opened"]
    clock["int8"] = 5.0
    again = make(clock)  # of another process
    again.run(image)
    assert (again.precision, clock["opened"]) == ("int8", [(FP32, 3), (INT8, 3)])
    other = make(clock, ("another model",))
    other.run(image)
    assert other.precision == "fp32"
    again.run(random_image(128, 192))
    assert again.precision == "fp32, int8"


def test_engine_and_precision_are_named_in_pairs(clock):
    ways = [FP32, Way("onnxruntime", "bf16")]
    engine = MeasuredEngine(ways, lambda way, callers: Fake(way, callers, clock), 1, ("pairs",))
    assert engine.way == "auto auto"
    engine.run(random_image(64, 96))
    assert engine.way == "openvino fp32"
    clock["bf16"] = 0.5
    engine.run(random_image(128, 192))
    assert engine.way == "onnxruntime bf16, openvino fp32"
    assert (engine.name, engine.precision) == ("onnxruntime, openvino", "bf16, fp32")
    clock["fp32"] = 0.1
    engine.run(random_image(256, 384))
    assert engine.way == "onnxruntime bf16, openvino fp32"


def test_another_int8_export_is_measured_anew(twin, monkeypatch):
    monkeypatch.setenv("SGCP_CACHE", str(twin.parent / "cache"))
    keys = []
    for equal in (0.99, 0.985):
        describe(twin, equal_labels=equal)
        keys.append(sgcp.load(twin).engine.key)
    assert keys[0] != keys[1]


def test_an_engine_that_cannot_be_imported_is_left_out(twin, monkeypatch):
    graph, export = choice.onnx_of(twin), choice.int8_export_of(twin)
    ways = {FP32: graph, Way("onnxruntime", "fp32"): graph, INT8: export}
    monkeypatch.setattr(choice, "list_ways", lambda *_: ways)
    real = choice._open_way

    def broken(way, *rest):
        if way.engine == "onnxruntime":
            raise ImportError("libfoo.so")
        return real(way, *rest)

    monkeypatch.setattr(choice, "_open_way", broken)
    model = sgcp.load(twin)
    model.segment(random_image(40, 48))
    assert model.engine.name == "openvino"


def test_int8_is_not_claimed_of_another_export(tmp_path):
    from sgcp.cli import app

    path = save_random(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        app(["export", str(path), str(tmp_path / "plain.onnx")])
    with pytest.raises(SgcpError, match=r"plain\.onnx is no int8 export"):
        sgcp.load(tmp_path / "plain.onnx", precision="int8")


def test_other_labels_than_allowed_are_not_faster(clock):
    clock["changed"] = 1  # row of scores of eight
    engine = make(clock)
    engine.run(random_image(64, 96))
    assert engine.precision == "fp32"


def test_a_way_that_does_not_run_is_left_out_but_plain_fp32(clock):
    clock["int8"], clock["bf16"] = None, 0.5
    engine = make(clock)
    engine.run(random_image(64, 96))
    assert engine.precision == "bf16"
    clock["fp32"] = None
    with pytest.raises(SgcpError, match="cannot run it"):
        make(clock)


def test_a_cache_that_is_damaged_or_no_folder_is_done_without(clock, tmp_path):
    image = random_image(64, 96)
    make(clock).run(image)
    (file,) = (tmp_path / "cache" / "choices").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    clock["int8"] = 5.0
    engine = make(clock)
    engine.run(image)
    assert engine.precision == "fp32"
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")
    engine = make(clock)
    engine.run(image)
    assert engine.precision == "fp32"


def test_a_large_image_is_measured_by_its_middle():
    image = random_image(1024, 2048)
    piece = measured.cut(image)
    assert piece.shape == (512, 1024, 3)
    assert np.array_equal(piece, image[256:768, 512:1536])
    assert measured.cut(image[:3, :5]).shape == (3, 5, 3)


def test_a_fixed_precision_is_not_measured(tmp_path):
    model = sgcp.load(save_random(tmp_path), precision="fp32")
    assert not isinstance(model.engine, MeasuredEngine)
    assert (model.engine.name, model.engine.precision) == ("openvino", "fp32")


def test_auto_labels_as_one_of_the_ways_does():
    """On whatever processor this runs."""
    path, image = "camvid", random_image(120, 160)
    model = sgcp.load(path)
    assert isinstance(model.engine, MeasuredEngine)
    labels = model.segment(image)
    taken = sgcp.load(path, engine=model.engine.name, precision=model.engine.precision)
    assert (labels == taken.segment(image)).mean() > 0.9995


# The int8 export beside a model.


@pytest.fixture
def twin(tmp_path):
    """A copy of the bundled weights and their int8 export, and what its description says."""
    for file in BUNDLED.glob("camvid*"):
        shutil.copy(file, tmp_path)
    return tmp_path / "camvid.safetensors"


def describe(model, **facts):
    path = model.with_name("camvid-int8.json")
    content = json.loads(path.read_text())
    export = content["provenance"]["export"]
    for key, value in facts.items():
        (export if key in export else export["int8"]["scores"])[key] = value
    path.write_text(to_json(content))


def test_bundled_weights_have_an_int8_export_within_the_bounds():
    path = BUNDLED / "camvid.safetensors"
    card = sgcp.load(choice.int8_export_of(path)).card
    assert card.classes == sgcp.load("camvid", precision="fp32").card.classes
    export = card.provenance["export"]
    assert export["weights_sha256"] == file_sha256(path)
    assert export["int8"]["split"] == "train"
    assert INT8 in choice.list_ways(path, "auto")
    assert sum(file.stat().st_size for file in BUNDLED.glob("camvid-int8.*")) < 1.6e6


def test_int8_of_a_model_is_its_export(twin):
    image = random_image(96, 128)
    model = sgcp.load(twin, precision="int8")
    assert model.engine.precision == "int8"
    export = sgcp.load(choice.int8_export_of(twin))
    assert export.engine.precision == "int8"
    assert np.array_equal(model.segment(image), export.segment(image))


def test_an_int8_export_is_looked_at_before_it_runs(twin):
    graph, description = (twin.with_name(f"camvid-int8.{end}") for end in ("xml", "json"))
    other = InferenceGraph(build_network("sgcpnet", 19).eval(), random_card())
    files = ir_files(read_model(to_onnx(other)), graph)
    for path, written in files.items():
        path.write_bytes(written)
    content, parts = json.loads(description.read_text()), b"".join(files.values())
    content["weights_sha256"] = hashlib.sha256(parts).hexdigest()
    description.write_text(to_json(content))
    with pytest.raises(SgcpError, match=r"outputs are scores float32 .*19"):
        sgcp.load(twin, precision="int8")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"weights_sha256": "0"}, "not an export of"),
        ({"labels": True}, "with scores"),
        ({"size": [512, 1024]}, "for images of any size"),
        ({"miou_difference": -0.004}, "0.3 points of mIoU"),
        ({"equal_labels": 0.97}, "2% of the labels"),
        ({"equal_labels": None}, "2% of the labels"),
        ({"int8": {"scores": None}}, "does not say"),
        ({"int8": True}, "does not say"),
    ],
)
def test_an_export_of_other_weights_or_beyond_the_bounds_is_no_twin(twin, facts, message):
    describe(twin, **facts)
    with pytest.raises(SgcpError, match=message):
        sgcp.load(twin, precision="int8")
    assert INT8 not in choice.list_ways(twin, "auto")


def test_a_model_without_an_int8_export_names_the_command(tmp_path):
    path = save_random(tmp_path)
    with pytest.raises(
        SgcpError, match=r"sgcp export .*model\.safetensors .*model-int8\.xml --int8"
    ):
        sgcp.load(path, precision="int8")
    assert INT8 not in choice.list_ways(path, "auto")
