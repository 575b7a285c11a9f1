"""Compiling is tried out at once; without a working compiler training goes on, or says why not."""

import pytest
import torch
import torch._inductor.config
from conftest import ROOT
from lightning_fabric import Fabric
from torch import nn

from sgcp.core.errors import SgcpError
from sgcp.models.network import Normalize, SGCPNet
from sgcp.settings.load import load_params
from sgcp.training.kernels import compilation
from sgcp.training.kernels.compilation import PAYS_FROM_STEPS, compile_network
from sgcp.training.loop import train_one_step
from sgcp.training.run import start

pytestmark = pytest.mark.integration

SHAPE = (2, 3, 8, 8)


@pytest.fixture
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


@pytest.fixture
def network() -> nn.Module:
    torch._dynamo.reset()
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Hardswish())


@pytest.fixture(params=["hidden", "broken"])
def no_compiler(request, monkeypatch, tmp_path):
    """Hide the compiler, or put one in its place that fails."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    compiler = tmp_path / "g++"
    if request.param == "broken":
        compiler.write_text("#!/bin/sh\nexit 1\n")
        compiler.chmod(0o755)
    with torch._inductor.config.patch({"cpp.cxx": (str(compiler),)}):  # read from CXX on import
        yield


def test_failure_without_a_compiler_is_one_line_and_ends_only_a_run_that_asked_for_it(
    fabric, network, no_compiler, capfd
):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert compile_network(fabric, network, SHAPE, PAYS_FROM_STEPS, "auto") is network
    told = capfd.readouterr()
    assert "training goes on uncompiled" in told.out
    assert told.out.count("\n") == 2  # this line, and that it compiles
    assert not told.err
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in network.parameters())
    with pytest.raises(SgcpError, match=r"machine\.compile: true, but compiling failed") as caught:
        compile_network(fabric, network, SHAPE, 1, True)
    assert len(str(caught.value)) < 400


def test_compiling_that_fails_by_chance_is_tried_again(fabric, network, monkeypatch):
    """A run that was compiled before would otherwise begin anew, uncompiled."""
    tries = []

    def fail_once(*_):
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("Failed to import a kernel")

    monkeypatch.setattr(compilation, "try_out", fail_once)
    assert compile_network(fabric, network, SHAPE, PAYS_FROM_STEPS, "auto") is not network
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("steps", "wanted"), [(PAYS_FROM_STEPS - 1, "auto"), (10**6, False)], ids=["short", "off"]
)
def test_short_runs_are_not_compiled(fabric, network, steps, wanted, monkeypatch):
    monkeypatch.setattr(compilation, "try_out", lambda *_: pytest.fail("compiled"))
    assert compile_network(fabric, network, SHAPE, steps, wanted) is network


def test_compiled_network_is_the_same_network(fabric, network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        compiled = compile_network(fabric, network, SHAPE, 1, True)
    except SgcpError:
        pytest.skip("no C++ compiler here")
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name
    x = torch.randn(SHAPE).contiguous(memory_format=torch.channels_last)
    results = []
    for way in (network, compiled):
        network.load_state_dict(before)
        network.zero_grad()
        scores = way(x)
        scores.square().mean().backward()
        gradients = [parameter.grad.clone() for parameter in network.parameters()]
        results.append([scores.detach(), *gradients, network[1].running_mean.clone()])
    torch.testing.assert_close(results[1], results[0])


def test_a_network_that_cannot_be_recorded_trains_as_it_is(fabric, network, capsys, monkeypatch):
    def fail(called, images):
        called(*images)  # which changes the statistics
        raise RuntimeError("capture failed")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", fail)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert compilation.record(fabric, network, SHAPE) is network
    assert "recording failed (RuntimeError: capture failed)" in capsys.readouterr().out
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("precision", ["32-true", "16-mixed"])
def test_recorded_steps_are_the_steps_of_the_network(precision):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    torch.backends.cudnn.allow_tf32 = False
    fabric = Fabric(accelerator="cuda", devices=1, precision=precision)
    settings = load_params(ROOT / "params.yaml").cityscapes.recipes["strong"]
    settings = settings.model_copy(update={"batch_size": 4, "crop": (128, 128)})
    image = torch.randint(0, 256, (4, 3, 128, 128), dtype=torch.uint8)
    label = torch.randint(0, 19, (4, 128, 128), dtype=torch.uint8)
    losses, averages = [], []
    for way in (False, "auto"):
        torch.manual_seed(1)
        run = start(fabric, SGCPNet(19), Normalize(), settings, 10, way)
        assert run.compiled == (way == "auto")
        run.wrapped.train()
        losses.append([float(train_one_step(run, image, label)) for _ in range(6)])
        averages.append(run.learnt.eval()(run.normalize(image.cuda())).float())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if precision == "32-true" else 1e-2)
    assert losses[0][-1] < losses[0][0]
    assert torch.allclose(*averages, rtol=0.05, atol=0.05)
