"""Runs that end by themselves: without a better validation, or after so many minutes."""

import json
from itertools import count

import pandas as pd
import pytest
import torch
from conftest import Project
from torch.nn import functional as F

from sgcp.datasets.index import read_dataset
from sgcp.media.images import read_image, read_label
from sgcp.models.artifact import load_model
from sgcp.models.network import Normalize
from sgcp.training import loop, outputs


@pytest.fixture
def prepared(prepared: Project) -> Project:
    prepared.set(sample__train__epochs=12, machine__checkpoint_seconds=0,
                 sample__train__validate_every=1)  # fmt: skip
    return prepared


def results(project: Project) -> dict[str, bytes]:
    paths = [*project.root.glob("data/models/sample/*"), *(project.root / "metrics").rglob("*.*")]
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def epochs(project: Project) -> tuple[int, int]:
    """Return the epochs of the last and of the kept weights."""
    names = ("last", "model")
    cards = [json.loads((project.root / f"data/models/sample/{n}.json").read_text()) for n in names]
    last, kept = (card["provenance"]["epoch"] for card in cards)
    return last, kept


def curve(project: Project, name: str) -> pd.DataFrame:
    path = project.root / f"metrics/sample/train/plots/metrics/{name}.tsv"
    return pd.read_csv(path, sep="\t")


@pytest.fixture
def scored(monkeypatch):
    """Give validations these mIoUs, by epoch."""

    def give(*values):
        real = loop.validate

        def validate(run, dataset, progress):
            monkeypatch.setattr(loop, "evaluate", lambda *_: {"miou": values[progress.epoch]})
            return real(run, dataset, progress)

        monkeypatch.setattr(loop, "validate", validate)

    return give


def test_training_ends_after_validations_without_a_better_one(prepared, scored):
    scored(0.1, 0.3, 0.2, 0.35, 0.3, 0.35, 0.2, 0.9)
    prepared.set(sample__train__patience=3)
    prepared.ok("train", "sample")
    assert epochs(prepared) == (7, 4)
    assert len(curve(prepared, "miou")) == 7


def test_a_run_with_patience_resumes_exactly(prepared, scored):
    scored(0.1, 0.3, 0.2, 0.25, 0.2, 0.9)
    prepared.set(sample__train__patience=2)
    prepared.ok("train", "sample")
    whole = results(prepared)
    assert epochs(prepared) == (4, 2)
    prepared.set(sample__train__patience=2)
    for steps in (5, 2):
        assert prepared.stopped_after(steps, "sample").exit_code == 130
    prepared.ok("train", "sample")
    assert results(prepared) == whole


def test_last_and_kept_weights_have_temperatures_of_their_own(prepared, scored, monkeypatch):
    fitted = []
    monkeypatch.setattr(
        outputs, "calibrate", lambda *given: fitted.append(given) or float(len(fitted))
    )
    scored(0.3, 0.2)
    prepared.set(sample__train__epochs=2)
    prepared.ok("train", "sample")
    folder = prepared.root / "data/models/sample"
    cards = [json.loads((folder / f"{name}.json").read_text()) for name in ("model", "last")]
    assert [card["temperature"] for card in cards] == [1, 2]


def test_patience_counts_validations_not_epochs(prepared, scored):
    scored(*[0.5, 0.4] * 8)
    prepared.set(sample__train__patience=2, sample__train__validate_every=2)
    prepared.ok("train", "sample")
    assert epochs(prepared) == (6, 2)


def test_patience_needs_a_split_to_validate(prepared):
    prepared.set(sample__train__patience=2, sample__train__validate_split=None,
                 sample__train__keep="last")  # fmt: skip
    assert "patience: counts validations" in prepared.fails("train", "sample")


@pytest.fixture
def rates(monkeypatch) -> list[float]:
    """Return the learning rate of each step that was taken, as far as training is."""
    taken, real = [], loop.train_one_step

    def train_one_step(run, *batch):
        taken.append(run.schedule.get_last_lr()[-1])
        return real(run, *batch)

    monkeypatch.setattr(loop, "train_one_step", train_one_step)
    return taken


@pytest.fixture
def slow(monkeypatch):
    """Make every reading of the clock a second later than the one before."""
    seconds = count()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(seconds)))


def test_a_budget_ends_training_and_the_schedule_with_it(prepared, slow):
    prepared.set(sample__train__epochs=500, sample__train__max_minutes=1,
                 sample__train__warmup=0.3)  # fmt: skip
    prepared.ok("train", "sample")
    rates = curve(prepared, "lr")["lr"]
    last, _ = epochs(prepared)
    assert 2 <= last == len(rates) == len(curve(prepared, "miou")) < 12
    assert rates.iloc[0] < rates.max()  # it warmed up
    assert rates.iloc[-1] < rates.max() / 5  # and came to its end
    metrics = json.loads((prepared.root / "metrics/sample/train/metrics.json").read_text())
    assert metrics["epochs"] == last


def test_epochs_end_a_run_before_its_budget(prepared):
    prepared.set(sample__train__epochs=2, sample__train__max_minutes=60)
    prepared.ok("train", "sample")
    assert epochs(prepared)[0] == 2


def test_a_run_with_a_budget_resumes_with_the_same_schedule(prepared, slow, rates):
    prepared.set(sample__train__max_minutes=1)
    prepared.ok("train", "sample")
    whole = epochs(prepared), rates.copy()
    rates.clear()
    for steps in (5, 2):
        assert prepared.stopped_after(steps, "sample").exit_code == 130
    prepared.ok("train", "sample")
    assert (epochs(prepared), rates) == whole


def test_hardly_any_time_is_a_step(prepared, slow, rates):
    prepared.set(sample__train__max_minutes=0.01)
    prepared.ok("train", "sample")
    assert epochs(prepared) == (1, 1)
    assert len(rates) == 1


def test_validations_take_of_the_time_too(prepared, monkeypatch):
    now = [0.0]

    def evaluate(*_):
        now[0] += 40
        return {"miou": 0.5}

    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(loop, "evaluate", evaluate)
    prepared.set(sample__train__max_minutes=1)
    prepared.ok("train", "sample")
    assert epochs(prepared) == (2, 1)


def test_validation_loss_is_the_cross_entropy_of_the_labelled_pixels(trained):
    """Of the kept model at full size, by torch."""
    root = trained.root / "data"
    dataset = read_dataset(root / "prepared/sample")
    network, card = load_model(root / "models/sample")
    losses = []
    for item in dataset.split("val"):
        image = torch.tensor(read_image(root / "raw/sample" / item.image))
        label = torch.tensor(read_label(root / "prepared/sample" / item.label)).long()
        with torch.inference_mode():
            logits = network.eval()(Normalize()(image.permute(2, 0, 1)[None]))
            scores = F.interpolate(logits, label.shape, mode="bilinear")
            every = F.cross_entropy(scores, label[None], ignore_index=255, reduction="none")[0]
        losses.append(every[label != 255])
    table = curve(trained, "validation_loss").set_index("step")["validation_loss"]
    mean = float(torch.cat(losses).mean())
    assert table.loc[card.provenance["epoch"]] == pytest.approx(mean, rel=1e-4)
