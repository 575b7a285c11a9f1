"""Averaged weights: what is scored and kept is the running mean over the steps."""

import pytest
import torch
from safetensors.torch import load_file

from sgcp.training import loop


@pytest.fixture
def averaged(prepared):
    prepared.set(sample__train__epochs=2, sample__train__average=0.5)
    return prepared


def test_kept_weights_are_the_running_mean(averaged, monkeypatch):
    step, seen = loop.train_one_step, []

    def record(run, *batch):
        loss = step(run, *batch)
        seen.append({name: value.clone() for name, value in run.network.state_dict().items()})
        return loss

    monkeypatch.setattr(loop, "train_one_step", record)
    averaged.ok("train", "sample")
    kept = load_file(averaged.root / "data/models/sample/last.safetensors")
    for name, value in seen[0].items():
        if value.is_floating_point():
            mean = value
            for state in seen[1:]:
                mean = torch.lerp(mean, state[name], 0.5)
            torch.testing.assert_close(kept[name], mean, rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(kept[name], seen[-1][name]) for name in kept)


@pytest.mark.integration
def test_a_resumed_run_has_the_same_mean(averaged):
    """And the same heads, draws and weights of classes: all that a recipe can ask for."""
    averaged.set(sample__train__auxiliary=0.4, sample__train__extra_loss="lovasz",
                 sample__train__extra_loss_weight=0.5, sample__train__mix=0.5,
                 sample__train__class_balance=0.5)  # fmt: skip
    averaged.ok("train", "sample")
    path = averaged.root / "data/models/sample/last.safetensors"
    whole = path.read_bytes()
    averaged.stopped_after(3, "sample")
    assert "resuming" in averaged.ok("train", "sample")
    assert path.read_bytes() == whole
