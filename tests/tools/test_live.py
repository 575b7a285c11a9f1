"""``sgcp segment`` of streams: recordings at the right speed, whole after every end."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import av
import numpy as np
import pytest
from conftest import HANGING, ROOT, Project
from networks import save_random
from senders import RATE, free_port, sending_udp, serving_http, serving_rtsp
from videos import frames_of, labels_of, make_video

import sgcp
from sgcp.core import terminal
from sgcp.inference.smoothing import Smoother
from sgcp.media import streams
from sgcp.tools import live

SMALL = ("--input-size", "48", "64")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_random(tmp_path_factory.mktemp("model"))


@pytest.fixture
def desk(tmp_path):
    return Project(tmp_path)


def files(desk, folder="segmented"):
    found = (path.name for path in (desk.root / folder).iterdir())
    return sorted(name for name in found if name != "classes.json")


def segment(desk, model, address, *options):
    return desk.ok("segment", address, "--model", model, *SMALL, *options)


def test_stream_is_recorded_with_the_times_of_its_frames(desk, model):
    with serving_http() as (address, _):
        text = segment(desk, model, f"{address.replace('://', '://me:secret@')}/200?secret",
                       "--labels", "--colors", "--max-seconds", "3",
                       "--json", "x.json")  # fmt: skip
    names = files(desk)
    stem = re.fullmatch(r"(127\.0\.0\.1-\d+-200-\d{8}-\d{6})_colors\.mp4", names[0])[1]
    assert names == [f"{stem}_colors.mp4", f"{stem}_labels.mkv", f"{stem}_overlay.mp4"]
    result = json.loads((desk.root / "x.json").read_text())
    assert "secret" not in text + (desk.root / "x.json").read_text() + "".join(names)
    assert f"{result['frames']} frames in " in text
    for name in names:
        times, images = frames_of(desk.root / "segmented" / name)
        assert len(times) == result["frames"] > 1
        assert times[0] == 0
        assert times[-1] > 0
        assert all(a < b for a, b in pairwise(times))
        assert images[0].shape == (48, 64, 3)
    assert result["latency_ms"]["p50"] <= result["latency_ms"]["p95"]
    assert result["dropped"] >= 0
    assert result["source"] == f"{address}/200"


def test_labels_are_those_of_the_frame(desk, model, tmp_path):
    """A recording behind HTTP is lossless here, so that its labels are known."""
    video = make_video(tmp_path / "x.mkv", 5, codec="ffv1", ticks=1000)
    with serving_http({"x.mkv": video.read_bytes()}) as (address, _):
        segment(desk, model, f"{address}/x.mkv", "--labels", "--no-overlay", "--confidence",
                "--smooth", "0.5", "--threshold", "0.2")  # fmt: skip
    names = files(desk)
    segmenter, smoother = sgcp.load(model), Smoother(0.5)
    wanted = [smoother(image, segmenter.predict(image, (48, 64))) for image in frames_of(video)[1]]
    confidence, labels = (labels_of(desk.root / "segmented" / name) for name in names)
    assert len(labels) == len(confidence) == len(wanted)
    for number, prediction in enumerate(wanted):
        unsure = prediction.confidence < 0.2
        assert (labels[number] == np.where(unsure, 255, prediction.labels)).mean() > 0.99
        assert np.abs(confidence[number] / 255 - prediction.confidence).max() < 0.1


def test_no_output_and_wrong_options_are_refused(desk, model):
    address = f"udp://127.0.0.1:{free_port()}"
    for options, message in (
        (("--no-overlay",), f"{address}: no output selected"),
        (("--max-seconds", "0"), "--max-seconds: expected more than 0"),
        (("--smooth", "1"), "--smooth: expected 0 (off) to below 1"),
        (("x.png",), "a stream is played alone"),
    ):
        text = desk.fails("segment", address, *options, "--model", model)
        assert message in text


def test_lost_stream_leaves_a_whole_recording_and_exit_code_1(desk, model, monkeypatch):
    monkeypatch.setattr(streams, "LOST", 0.0)
    before = signal.getsignal(signal.SIGINT)
    with serving_http() as (address, _):
        result = desk.run("segment", f"{address}/40", "--model", model, *SMALL)
    assert result.exit_code == 1
    assert signal.getsignal(signal.SIGINT) is before
    assert re.search(rf"error: {address}/40: lost: no frame for 0 seconds", result.stderr)
    assert "dropped, latency" in result.output
    (name,) = files(desk)
    assert frames_of(desk.root / "segmented" / name)[0][0] == 0


def test_progress_tells_a_lost_stream_from_the_rate_of_its_last_frames(desk, model, monkeypatch):
    monkeypatch.setattr(live, "RECENT", 0.3)
    monkeypatch.setattr(terminal.SparseLines, "pause", 0)
    with serving_http() as (address, _):  # breaks after 20 frames, and is opened again
        text = segment(desk, model, f"{address}/20", "--max-seconds", "4")
    assert re.search(rf"{address}/20: no frame for 1 s, reconnecting", text)
    assert re.search(rf"{address}/20: [\d.]+ frames/s", text)


# --- videos


def test_video_is_played_live_and_recorded_whole(desk, model):
    make_video(desk.root / "drive.mp4", 6, times=[n * n * 512 for n in range(6)])
    text = segment(desk, model, "drive.mp4", "--live", "--json", "x.json")
    assert re.search(r"http://127\.0\.0\.1:\d+/ shows drive\.mp4; Ctrl-C ends it", text)
    assert files(desk) == ["drive_overlay.mp4"]
    times, _ = frames_of(desk.root / "segmented/drive_overlay.mp4")
    assert times == pytest.approx([n * n * 0.04 for n in range(6)], abs=0.001)
    result = json.loads((desk.root / "x.json").read_text())
    assert (result["frames"], result["dropped"]) == (6, 0)
    assert "drive_overlay.mp4: exists. Pass --force" in desk.fails(
        "segment", "drive.mp4", "--live", "--model", model)  # fmt: skip
    segment(desk, model, "drive.mp4", "--live", "--force")


def test_live_without_outputs_only_serves(desk, model):
    make_video(desk.root / "drive.mp4", 3)
    assert "drive.mp4: 3 frames in" in segment(desk, model, "drive.mp4", "--live", "--no-overlay")
    assert not (desk.root / "segmented").exists()


def test_live_options_are_checked(desk, model):
    make_video(desk.root / "drive.mp4", 3)
    for arguments, message in (
        (("drive.mp4", "--live", "--port", "70000"), "--port: expected 0 .. 65535"),
        (("drive.mp4", "drive.mp4", "--live"), "--live: expected one camera, stream or video"),
        (("missing.mp4", "--live"), "--live: expected one camera, stream or video"),
        ((".", "--live"), "--live: expected one camera, stream or video"),
        (("drive.mp4", "--port", "8000"), "--port: is that of the page of --live"),
        (("http://127.0.0.1:1/x", "--port", "8000"), "--port: is that of the page of --live"),
        (("drive.mp4", "--max-seconds", "3"), "--max-seconds: of cameras, streams and --live"),
    ):
        assert message in desk.fails("segment", *arguments, "--model", model)


# --- real processes, really ended


class Running:
    """``sgcp segment`` in a process of its own."""

    def __init__(self, root, *arguments):
        command = [sys.executable, "-m", "sgcp", "segment", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.folder = Path(root) / "segmented"

    def recording(self, size=0):
        """Wait until the partial recording has more bytes than this; return it."""
        end = time.monotonic() + HANGING
        while time.monotonic() < end and self.process.poll() is None:
            found = list(self.folder.glob("*_overlay.mp4.partial"))
            if found and found[0].stat().st_size > size:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(self.process.communicate(timeout=HANGING)[0])

    def end(self, number):
        self.process.send_signal(number)
        text = self.process.communicate(timeout=HANGING)[0]
        return self.process.returncode, text


@pytest.mark.integration
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_ended_recording_is_whole(tmp_path, model, number, code, word):
    with serving_rtsp(3000) as address:
        secret = address.replace("://", "://me:secret@")
        running = Running(tmp_path, secret, "--model", model, *SMALL, "--labels")
        running.recording(20_000)
        found, text = running.end(number)
    assert found == code, text
    assert word in text
    assert "secret" not in text
    count = int(re.search(r"([\d,]+) frames in", text)[1].replace(",", ""))
    names = sorted(path.name for path in running.folder.glob("*_*"))
    assert [name.partition("_")[2] for name in names] == ["labels.mkv", "overlay.mp4"]
    for name in names:
        times, _ = frames_of(running.folder / name)
        assert len(times) == count > 2
    with av.open(str(running.folder / names[1])) as container:
        assert container.duration > 0  # an ordinary MP4, not fragments


@pytest.mark.integration
def test_status_tells_for_how_long_a_stream_is_lost(tmp_path, model):
    with serving_http() as (address, server):
        running = Running(
            tmp_path, f"{address}/20", "--model", model, *SMALL, "--live", "--no-overlay"
        )
        page = re.match(r"(http\S+) shows", running.process.stdout.readline())[1]
        running.process.stdout.readline()  # after 20 frames: it ended; opening it again
        server.shutdown()
        server.server_close()
        seen = {"frames": 0}
        end = time.monotonic() + HANGING
        while not (seen["frames"] and seen["seconds_since_frame"] > 2) and time.monotonic() < end:
            time.sleep(0.05)
            seen = json.load(urlopen(f"{page}status"))
        assert seen["reconnecting"]
        time.sleep(0.3)
        assert json.load(urlopen(f"{page}status"))["seconds_since_frame"] > 2.2
        running.end(signal.SIGINT)


@pytest.mark.integration
def test_killed_recording_can_be_played_but_has_no_final_name(tmp_path, model):
    with serving_rtsp(3000) as address:
        running = Running(tmp_path, address, "--model", model, *SMALL, "--labels")
        running.recording(30_000)
        assert running.end(signal.SIGKILL)[0] == -signal.SIGKILL
    names = sorted(path.name for path in running.folder.glob("*_*"))
    assert [name.partition("_")[2] for name in names] == [
        "labels.mkv.partial", "overlay.mp4.partial"]  # fmt: skip
    for name in names:
        times, _ = frames_of(running.folder / name)
        assert len(times) > RATE / 5
        assert all(a < b for a, b in pairwise(times))


@pytest.mark.integration
def test_full_disk_is_one_message_and_what_was_written_can_be_played(tmp_path, model):
    sgcp.load(model).segment(np.zeros((48, 64, 3), np.uint8), (48, 64))  # into the cache
    with serving_rtsp(3000) as address:
        limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "-", sys.executable]
        ended = subprocess.run(
            [*limited, "-m", "sgcp", "segment", address, "--model", str(model), *SMALL],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert ended.returncode == 1
    assert re.fullmatch(r"error: segmented/\S+_overlay\.mp4: File too large.*\n", ended.stderr)
    (path,) = (tmp_path / "segmented").iterdir()
    assert path.name.endswith("_overlay.mp4.partial")
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).width == 64


@pytest.mark.integration
def test_sender_that_stops_and_starts_again_is_followed(tmp_path, model):
    port = free_port()
    with sending_udp(port) as address:
        running = Running(tmp_path, address, "--model", model, *SMALL)
        partial = running.recording()
    line = ""
    while "opening it again" not in line:  # after 10 seconds of silence
        line = running.process.stdout.readline()
        assert line, "ended"
    with sending_udp(port):
        running.recording(partial.stat().st_size)
        code, text = running.end(signal.SIGINT)
    assert code == 130, text
    (path,) = running.folder.iterdir()
    times, _ = frames_of(path)
    assert max(b - a for a, b in pairwise(times)) > 5  # the silence
