"""Scores averaged over frames: the formula, cuts, and videos whose frames are predicted at once."""

import threading
import time

import numpy as np
import pytest
from conftest import Project
from networks import random_image, save_random
from PIL import Image
from videos import frames_of, labels_of, make_video

import sgcp
from sgcp.inference.prediction import Prediction
from sgcp.inference.smoothing import Smoother
from sgcp.media.video import InOrder, transform_video


def scores(value):
    return Prediction(np.full((3, 6, 8), value, np.float32), (48, 64), 2.0)


def image(level):
    return np.full((48, 64, 3), level, np.uint8)


def test_scores_are_averaged_exponentially():
    smoother = Smoother(0.75)
    given = [scores(value) for value in (1.0, 5.0, 9.0)]
    made = [smoother(image(90), prediction) for prediction in given]
    assert [p.scores.flat[0] for p in made] == [1, 2, 0.75 * 2 + 0.25 * 9]
    assert (made[2].size, made[2].temperature) == ((48, 64), 2.0)
    assert [p.scores.flat[0] for p in given] == [1, 5, 9]


@pytest.mark.parametrize(("change", "average"), [(29, 2.0), (31, 5.0), (-29, 2.0), (-31, 5.0)])
def test_average_begins_anew_after_a_cut(change, average):
    smoother = Smoother(0.75)
    smoother(image(90), scores(1.0))
    assert smoother(image(90 + change), scores(5.0)).scores.flat[0] == average


def test_average_begins_anew_with_another_size():
    smoother = Smoother(0.75)
    smoother(image(90), scores(1.0))
    assert smoother(image(90)[:24], scores(5.0)).scores.flat[0] == 5


def test_caller_may_reuse_the_image():
    smoother, frame = Smoother(0.75), image(90)
    smoother(frame, scores(1.0))
    frame[:] = 200
    assert smoother(frame, scores(5.0)).scores.flat[0] == 5


def test_frames_that_are_predicted_at_once_are_averaged_in_order(tmp_path):
    video = make_video(tmp_path / "a.mkv", 12, codec="ffv1", ticks=1000)
    together, order, threads = [], [], set()

    def predict(frame):
        together.append(threading.active_count())
        time.sleep(0.02 if len(together) % 2 else 0)
        threads.add(threading.get_ident())
        return int(frame[2:16].argmax() // 3 // 4 % 16)  # where the block is

    def follow(frame, found):
        order.append(found)
        return found

    def paint(frame, found):
        return {"labels": np.full(frame.shape[:2], found, np.uint8)}

    transform_video(
        video, {"labels": tmp_path / "b.mkv"}, paint, 4, in_order=InOrder(predict, follow)
    )
    assert order == sorted(order)
    assert [labels[0, 0] for labels in labels_of(tmp_path / "b.mkv")] == order
    assert len(set(order)) == 12
    assert len(threads) > 1


def test_command_smooths_videos_alone(tmp_path):
    desk, model = Project(tmp_path), save_random(tmp_path)
    make_video(tmp_path / "drive.mkv", 5, codec="ffv1", ticks=1000)

    Image.fromarray(random_image(48, 64)).save(tmp_path / "street.png")
    options = ("--model", model, "--labels", "--no-overlay")
    desk.ok("segment", "drive.mkv", "street.png", *options, "--smooth", "0.9", "--out", "smooth")
    desk.ok("segment", "drive.mkv", "street.png", *options, "--out", "plain")
    segmenter, smoother = sgcp.load(model), Smoother(0.9)
    frames = frames_of(tmp_path / "drive.mkv")[1]
    wanted = [smoother(frame, segmenter.predict(frame)).labels for frame in frames]
    found = labels_of(tmp_path / "smooth/drive_labels.mkv")
    assert all((a == b).mean() > 0.99 for a, b in zip(found, wanted, strict=True))
    plain = labels_of(tmp_path / "plain/drive_labels.mkv")
    assert (found[0] == plain[0]).all()
    assert any((a != b).any() for a, b in zip(found, plain, strict=True))
    street = [
        np.array(Image.open(tmp_path / out / "street_labels.png")) for out in ("smooth", "plain")
    ]
    assert (street[0] == street[1]).all()
    for value in ("1", "-0.1", "nan"):
        assert "--smooth: expected 0 (off)" in desk.fails("segment", "drive.mkv", "--smooth", value)
