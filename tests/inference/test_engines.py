"""Every engine gives what the network gives in eager PyTorch."""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import run_python
from networks import eager_scores, random_card, random_image, random_network, save_random

import sgcp
from sgcp.core.errors import SgcpError
from sgcp.inference.engines import cache, choice
from sgcp.inference.engines.choice import open_engine
from sgcp.inference.graph import InferenceGraph, to_onnx
from sgcp.inference.predict import Predictor
from sgcp.models.network import Normalize

ENGINES = ("openvino", "onnxruntime", "torch")
ENCODERS = ("sgcp", "mobilenet_v3_small")
SIZES = ((1, 1), (33, 47), (64, 128))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A file for each encoder."""
    return {name: save_random(tmp_path_factory.mktemp(name), name) for name in ENCODERS}


def engine(path, name="auto", precision="fp32", callers=1):
    if name in ("openvino", "onnxruntime"):
        pytest.importorskip(name)
    return open_engine(path, "cpu", name, precision, callers, threads=1)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", ENGINES)
def test_scores_are_those_of_eager_torch(models, name, encoder):
    network, card = random_network(encoder), random_card(encoder)
    runner = engine(models[encoder], name)
    for size in SIZES:
        image = random_image(*size)
        wanted = eager_scores(network, card, image)
        found = runner.scores(image)
        assert found.shape == wanted.shape == (11, -(-size[0] // 8), -(-size[1] // 8))
        assert found.dtype == np.float32
        assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max(), size


@pytest.mark.parametrize("name", ENGINES)
def test_labels_are_those_of_training(models, name):
    predictor = Predictor(random_network(), Normalize(random_card().mean, random_card().std))
    image = random_image(121, 95)
    wanted = predictor(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
    assert len(np.unique(wanted)) > 2, "an image of one label tests nothing"
    found = engine(models["sgcp"], name).label(image, (121, 95))
    assert (found == wanted).mean() > 0.9995


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_bf16_is_off_by_its_rounding_alone(models, name):
    """Eight bits of precision a step: far from fp32's rounding, near in scores."""
    if name == "openvino":
        import openvino

        if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("this processor does not multiply in bf16")
    image = random_image(121, 95)
    wanted = eager_scores(random_network(), random_card(), image)
    found = engine(models["sgcp"], name, "bf16").scores(image)
    off = np.abs(found - wanted).max() / np.abs(wanted).max()
    assert 1e-5 < off < 0.15


@pytest.fixture
def few_sizes(monkeypatch):
    """Keep graphs for two small sizes, since compiling takes a quarter of a second."""
    from sgcp.inference.engines import base, openvino_engine

    monkeypatch.setattr(base, "WEIGHT_PIXELS", 0)
    monkeypatch.setattr(openvino_engine, "GRAPH_PIXELS", 32 * 40 + 32 * 48)


@pytest.mark.parametrize("name", ENGINES)
def test_threads_sharing_an_engine_change_nothing(models, name, few_sizes):
    """Several sizes at once, more of them than are kept compiled."""
    images = [random_image(32 + 8 * (i // 2 % 3), 40, seed=i) for i in range(12)]
    alone = engine(models["sgcp"], name)
    wanted = [alone.label(image, image.shape[:2]) for image in images]
    model = sgcp.Segmenter(engine(models["sgcp"], name, callers=3), random_card())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(model.segment, images))
    assert all((a == b).mean() > 0.999 for a, b in zip(found, wanted, strict=True))


def test_sizes_beyond_the_memory_for_graphs_share_one_until_others_are_out_of_use(
    models, few_sizes, monkeypatch
):
    from sgcp.inference.engines import openvino_engine

    monkeypatch.setattr(openvino_engine, "PATIENCE", 4)
    runner = engine(models["sgcp"], "openvino")
    with ThreadPoolExecutor(1) as pool:  # its thread lives, and holds nothing
        image = random_image(32, 40)
        scores = pool.submit(runner.scores, image).result()
        first = weakref.ref(runner.graphs[32, 40, 3])
        for width in (48, 56, 64):
            runner.scores(random_image(32, width))
        assert list(runner.graphs) == [(32, 40, 3), (32, 48, 3), (-1, -1, 3)]
        assert np.array_equal(runner.scores(image), scores)
        for width in (48, 56, 56, 56, 56, 56):
            runner.scores(random_image(32, width))
        assert list(runner.graphs) == [(-1, -1, 3), (32, 56, 3)]
        assert first() is None


def test_one_large_size_has_a_graph_of_its_own(models, few_sizes):
    runner = engine(models["sgcp"], "openvino")
    runner.scores(random_image(64, 96))
    runner.scores(random_image(32, 40))
    assert list(runner.graphs) == [(64, 96, 3), (-1, -1, 3)]


@pytest.mark.parametrize("name", ENGINES)
def test_arrays_of_any_layout_are_read_right_and_scores_outlive_the_next_call(models, name):
    runner = engine(models["sgcp"], name)
    image = random_image(40, 60)
    scores = runner.scores(image)
    wanted = scores.copy()
    runner.scores(random_image(40, 60, seed=2))
    assert np.array_equal(scores, wanted)
    frozen = image.copy()
    frozen.setflags(write=False)
    mirrored = np.ascontiguousarray(image[:, ::-1])[:, ::-1]  # negative strides
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    part = np.pad(image, ((3, 2), (5, 1), (0, 0)))[3:-2, 5:-1]
    for given in (frozen, mirrored, planes, part):
        assert np.array_equal(runner.scores(given), wanted)
    assert np.array_equal(frozen, image)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_another_size_than_the_exported_is_refused(tmp_path, name):
    path = tmp_path / "fixed.onnx"
    path.write_bytes(to_onnx(InferenceGraph(random_network(), random_card()), (40, 48)))
    runner = engine(path, name)
    assert runner.scores(random_image(40, 48)).shape == (11, 5, 6)
    with pytest.raises(SgcpError, match="exported for 40x48, got 48x40; resize the image"):
        runner.scores(random_image(48, 40))


def test_labels_alone_have_no_scores_and_no_other_size(tmp_path):
    path = tmp_path / "labels.onnx"
    path.write_bytes(to_onnx(InferenceGraph(random_network(), random_card(), labels=True)))
    runner = engine(path)
    with pytest.raises(SgcpError, match="exported with --labels: it has no scores"):
        runner.scores(random_image(40, 48))
    with pytest.raises(SgcpError, match="input_size"):
        runner.label(random_image(40, 48), (80, 96))


def without(monkeypatch, *names):
    monkeypatch.setattr(choice, "find_spec", lambda name: name not in names or None)


def test_auto_takes_what_is_installed_the_fastest_first(models, monkeypatch):
    assert engine(models["sgcp"]).name == "openvino"
    without(monkeypatch, "openvino")
    assert engine(models["sgcp"]).name == "onnxruntime"
    without(monkeypatch, "openvino", "onnxruntime")
    assert engine(models["sgcp"]).name == "torch"


def test_what_cannot_be_had_is_refused(models, monkeypatch, tmp_path):
    path = models["sgcp"]
    with pytest.raises(SgcpError, match=r"'tensorrt' does not run .*; take one of openvino"):
        sgcp.load(path, engine="tensorrt")
    with pytest.raises(SgcpError, match="onnxruntime has fp32 on this machine, not 'bf16'"):
        sgcp.load(path, engine="onnxruntime", precision="bf16")
    with pytest.raises(SgcpError, match="torch has bf16 and fp32 on this machine, not 'fp16'"):
        sgcp.load(path, engine="torch", precision="fp16")
    with pytest.raises(SgcpError, match=r"'openvino' does not run .* on cuda; take one of torch"):
        sgcp.load(path, device="cuda", engine="openvino")
    without(monkeypatch, "openvino")
    with pytest.raises(
        SgcpError, match="take one of onnxruntime, torch, or run `pip install openvino`"
    ):
        sgcp.load(path, engine="openvino")
    without(monkeypatch, "openvino", "onnxruntime")
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(SgcpError, match=r"m\.onnx on cpu; run `pip install openvino`"):
        open_engine(tmp_path / "m.onnx", "cpu", "auto", "auto", 1)


def test_bf16_is_refused_where_the_processor_has_none(models, monkeypatch):
    from sgcp.inference.engines import openvino_engine

    class Core(openvino_engine.openvino.Core):
        def get_property(self, *names):
            return ["FP32"] if "CAPABILITIES" in names[1] else super().get_property(*names)

    monkeypatch.setattr(openvino_engine, "shared_core", Core)
    with pytest.raises(SgcpError, match="openvino has fp32 on this machine, not 'bf16'"):
        engine(models["sgcp"], "openvino", "bf16")


SIGNALLED = """
import os, signal
import numpy as np, sgcp
signal.signal(signal.SIGUSR1, lambda *_: None)
models = [sgcp.load(r"{path}", engine="openvino") for _ in range(2)]
for model in models:
    model.segment(np.zeros((40, 48, 3), np.uint8))
del model
models.pop(0)  # in the order in which they came
models.pop(0)
os.kill(os.getpid(), signal.SIGUSR1)
print("alive")
"""


def test_signals_are_survived_when_models_are_gone(models):
    assert run_python(SIGNALLED.format(path=models["sgcp"])) == "alive\n"


LOAD = """
import sys
{before}
import numpy as np, sgcp
model = sgcp.load(r"{path}")
labels = model.segment(np.zeros((40, 48, 3), np.uint8))
print(labels.shape, model.engine.name, "torch" in sys.modules)
"""


def load_elsewhere(path, cache, before=""):
    """Load and use a model in a process of its own; returns what it printed."""
    return run_python(LOAD.format(path=path, before=before), XDG_CACHE_HOME=str(cache)).strip()


@pytest.mark.integration
def test_the_second_load_imports_no_torch(models, tmp_path):
    """And neither load needs what the base install lacks."""
    absent = "sys.modules['onnxruntime'] = sys.modules['nncf'] = sys.modules['onnxscript'] = None"
    first = load_elsewhere(models["sgcp"], tmp_path, absent)
    assert first == "(40, 48) openvino True"
    assert load_elsewhere(models["sgcp"], tmp_path, absent) == "(40, 48) openvino False"


@pytest.fixture
def graphs(tmp_path, monkeypatch):
    """A cache of its own, where each making of a graph leaves another content."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = iter(range(100))
    monkeypatch.setattr(choice, "_export", lambda path: b"graph" * 1000 + bytes([next(made)]))
    return tmp_path / "cache" / "sgcp" / "graphs"


def test_a_damaged_cache_is_made_anew(models, graphs):
    first = choice.onnx_of(models["sgcp"])
    assert choice.onnx_of(models["sgcp"]) == first
    (file,) = graphs.iterdir()
    content = file.read_bytes()
    for index, damaged in enumerate((b"", content[:-1], content[:500] + b"0" + content[501:]), 1):
        file.write_bytes(damaged)
        assert choice.onnx_of(models["sgcp"])[-1] == index
        assert choice.onnx_of(models["sgcp"])[-1] == index


def test_a_cache_that_cannot_be_written_does_no_harm(models, graphs):
    graphs.parent.parent.write_text("no folder")
    assert [choice.onnx_of(models["sgcp"])[-1] for _ in range(2)] == [0, 1]


def test_auto_makes_one_graph_for_all_engines_where_there_is_no_cache(monkeypatch, graphs):
    graphs.parent.parent.write_text("no folder")
    network, made = to_onnx(InferenceGraph(random_network(), random_card())), []
    monkeypatch.setattr(choice, "_export", lambda path: made.append(path) or network)
    path = save_random(graphs.parents[2])
    assert sgcp.load(path).segment(random_image(40, 48)).shape == (40, 48)
    assert made == [path]


def test_a_compiled_graph_from_the_cache_gives_the_same_scores(models, graphs):
    from sgcp.inference.engines import openvino_engine

    graph = to_onnx(InferenceGraph(random_network(), random_card()))
    image = random_image(40, 48)

    def scores(content=graph, precision="fp32"):
        return openvino_engine.OpenVinoEngine(content, precision, threads=1).run(image)

    first = scores()
    compiled = graphs.with_name("compiled")
    (file,) = compiled.iterdir()
    written = file.stat().st_ino
    assert np.array_equal(scores(), first)
    assert file.stat().st_ino == written
    cache.write_cached("compiled", file.name, b"of another version")
    assert np.array_equal(scores(), first)
    other = to_onnx(InferenceGraph(random_network(), random_card(), labels=True))
    assert scores(other).shape == (40, 48)
    assert len(list(compiled.iterdir())) == 2


def test_a_changed_model_is_not_taken_for_the_cached(tmp_path, graphs):
    first = choice.onnx_of(save_random(tmp_path))
    assert choice.onnx_of(save_random(tmp_path, mean=(0.1, 0.2, 0.3))) != first
    assert choice.onnx_of(save_random(tmp_path)) == first


def test_the_cache_keeps_the_newest(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 3)
    monkeypatch.setenv("SGCP_CACHE", str(tmp_path))
    for index in range(5):
        cache.write_cached("graphs", str(index), b"graph")
        os.utime(tmp_path / "graphs" / str(index), (index, index))
    assert {file.name for file in (tmp_path / "graphs").iterdir()} == {"2", "3", "4"}


def test_what_is_read_from_the_cache_stays_longer_than_what_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 2)
    monkeypatch.setenv("SGCP_CACHE", str(tmp_path))
    for name in ("0", "1"):
        cache.write_cached("graphs", name, b"graph")
        os.utime(tmp_path / "graphs" / name, (int(name), int(name)))
    assert cache.read_cached("graphs", "0") == b"graph"
    cache.write_cached("graphs", "2", b"graph")
    assert {file.name for file in (tmp_path / "graphs").iterdir()} == {"0", "2"}


@pytest.mark.parametrize(("threads", "callers"), [(3, 1), (4, 2)])
def test_engines_use_as_many_threads_as_they_are_given(models, threads, callers):
    given = "fp32", callers, threads
    assert open_engine(models["sgcp"], "cpu", "openvino", *given).threads == threads
    pytest.importorskip("onnxruntime")
    runtime = open_engine(models["sgcp"], "cpu", "onnxruntime", *given)
    options = runtime.session.get_session_options()
    assert options.intra_op_num_threads == threads // callers


def test_gpu_gives_what_the_cpu_gives(models):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    model = sgcp.load(models["sgcp"], device="cuda", precision="fp32")
    network, card = random_network(), random_card()
    for size in ((121, 95), (64, 128), (121, 95)):
        image = random_image(*size, seed=size[0])
        wanted = eager_scores(network, card, image)
        assert np.abs(model.engine.scores(image) - wanted).max() < 2e-3 * np.abs(wanted).max()
        plain = engine(models["sgcp"], "torch").label(image, size)
        assert (model.segment(image) == plain).mean() > 0.995
        assert (model.segment(image, (64, 64)) < 11).all()
    half = sgcp.load(models["sgcp"], device="cuda")
    assert half.engine.precision == "fp16"
    assert (half.segment(image) == plain).mean() > 0.95
