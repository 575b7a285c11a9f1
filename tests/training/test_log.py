"""What a training run shows while it works."""

from sgcp.core import terminal
from sgcp.training import loop
from sgcp.training.checkpoints import Progress
from sgcp.training.log import Reporter


def test_while_validating_the_epoch_is_the_one_in_progress_and_no_number_is_made_up(
    prepared, monkeypatch
):
    monkeypatch.setattr(terminal.SparseLines, "pause", 0.0)  # every line is printed
    monkeypatch.setattr(terminal, "LONGEST_SILENCE", 0.0)
    score = loop.evaluate

    def evaluate(*arguments):
        terminal.say("scoring")
        return score(*arguments)

    monkeypatch.setattr(loop, "evaluate", evaluate)
    prepared.set(sample__train__epochs=2)
    lines = prepared.ok("train", "sample").splitlines()
    assert not [line for line in lines if "nan" in line or " 0.0 images/s" in line]
    first = lines.index("scoring")
    assert lines[first - 1].startswith("epoch 1/2, validating")
    assert "mIoU -" in lines[first - 1]
    after = [line for line in lines[first + 1 :] if line.startswith("epoch")]
    assert after[0].startswith("epoch 1/2  loss")
    assert not [line for line in lines if line.startswith("epoch 3")]


def test_bar_stands_where_the_run_does(tmp_path):
    row = {"loss": 1.0, "miou": 0.25, "lr": 0.1, "images_per_second": 1.0, "waiting": 0.0}
    progress = Progress("run", epoch=2, history=[row, row])
    with Reporter(tmp_path / "log", epochs=4, images=6, active=True) as reporter:
        (bar,) = reporter.bar.tasks
        reporter.resume(progress, steps=3)
        assert (bar.description, bar.completed, bar.total) == ("epoch 3/4", 12, 24)
        reporter.step(4, 0.5, 2.0)
        assert bar.completed == 16
        assert bar.fields == {"loss": "0.500", "miou": "0.250", "speed": "2.0"}
        reporter.validating(progress)
        assert (bar.description, bar.completed) == ("epoch 3/4, validating", 18)
