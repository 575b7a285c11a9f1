"""What the page does with what is dropped on it, in what order, and what it says of failures."""

import asyncio
import errno
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import forge
import numpy as np
import pytest
from conftest import HANGING
from networks import random_image
from videos import frames_of, make_video

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import camvid_classes
from sgcp.demo import actions, media
from sgcp.demo.media import LabelledImage, StoppedError, Style, VideoJob
from sgcp.media.video_reader import VideoLimits


class Halves:
    """Labels the left half of any image Sky, the right one Building."""

    classes, workers = camvid_classes(), 2
    engine = SimpleNamespace(name="none", precision="fp32")
    card = SimpleNamespace(input_size=lambda height, width: (height, width))

    def segment(self, image, input_size):
        labels = np.ones(image.shape[:2], np.uint8)
        labels[:, : image.shape[1] // 2] = 0
        return labels


def video_job(folder, seconds=10.0, style=Style()):
    street = make_video(folder / "street.mp4")
    return VideoJob(street, folder / "out.mp4", Halves, style, seconds)


def test_a_video_gets_the_colours_and_their_shares(tmp_path):
    job = video_job(tmp_path, style=Style("Labels"))
    assert ("Frames", "12") in job.run()
    assert job.done == job.total == 12
    assert [(item.name, share) for item, share in media.shares(job.counts, job.classes)] == [
        ("Sky", 0.5),
        ("Building", 0.5),
    ]
    first = frames_of(job.target)[1][0]
    assert np.abs(first[:, :28].astype(int) - Halves.classes[0].color).max() < 20


def test_a_stopped_video_leaves_no_file(tmp_path):
    job = video_job(tmp_path)
    advance = job._advance

    def stop_midway(done, total):
        if done == 3:
            job.stop.set()
        advance(done, total)

    job._advance = stop_midway
    with pytest.raises(StoppedError):
        job.run()
    assert [path.name for path in tmp_path.iterdir()] == ["street.mp4"]


@pytest.mark.parametrize(
    ("seconds", "pixels", "message"),
    [(0.1, 2**22, r"lasts 0\.5 s, .* 0\.1"), (10, 48 * 64 - 1, "frames of 64x48, .* 3,071 pixels")],
)
def test_long_videos_and_large_frames_are_refused_before_they_are_decoded(
    tmp_path, monkeypatch, seconds, pixels, message
):
    monkeypatch.setattr(media, "LIMITS", VideoLimits(pixels))
    job = video_job(tmp_path, seconds)
    with pytest.raises(SgcpError, match=message):
        job.run()
    assert job.done == 0


def test_large_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "MAX_PIXELS", 63)
    monkeypatch.setattr(media, "read_photo", None)
    (tmp_path / "a.png").write_bytes(forge.png((8, 8)))
    with pytest.raises(SgcpError, match=r"a\.png: 8 x 8 pixels, .* 63"):
        media.label_image(tmp_path / "a.png", Halves(), Style(), tmp_path)


@pytest.mark.parametrize("size", [(4096, 8192), (1, 2**23), (2**23, 1), (720, 40_000)])
def test_the_size_of_the_networks_input_is_bounded(size):
    height, width = media.network_size(Halves(), size)
    assert 1 <= height * width <= media.NETWORK_PIXELS
    assert media.network_size(Halves(), (1024, 2048)) == (1024, 2048)


def test_bands_are_painted_and_counted_as_the_whole_image():
    image = random_image(600, 40)
    labels = (np.arange(600 * 40).reshape(600, 40) % 11).astype(np.uint8)
    whole = Style().paint(image.copy(), labels, Halves.classes)
    media.paint_bands(image, labels, Halves.classes, Style())
    assert np.array_equal(image, whole)
    assert np.array_equal(media.count_pixels(labels), np.bincount(labels.ravel(), minlength=256))


def test_shares_are_of_the_classes_that_occur_the_largest_first():
    counts = np.zeros(256, np.int64)
    counts[[2, 4, 7]] = 1, 6, 3
    found = media.shares(counts, Halves.classes)
    assert [(item.train_id, share) for item, share in found] == [(4, 0.6), (7, 0.3), (2, 0.1)]


class Tab:
    """One tab of the browser, and what is asked for in it; the weights "slow" wait for ``go``."""

    def __init__(self, folder, monkeypatch):
        self.begun, self.go = threading.Event(), threading.Event()
        self.folder, self.source = folder / "results", folder
        self.folder.mkdir()
        self.actions = actions.Actions(SimpleNamespace(take=self.take), self.folder, 10.0)
        (self.folder / "kept").mkdir()
        self.kept = LabelledImage(Path("before"), self.folder / "kept", (), np.zeros(256), None)
        monkeypatch.setattr(actions, "label_image", self.label_image)
        monkeypatch.setattr(actions, "show", lambda **parts: parts)
        monkeypatch.setattr(actions, "show_image", lambda made, style: made)
        self.at_work = 0
        self.waits_at = "take"

    def wait(self, where, model):
        if (self.waits_at, model) == (where, "slow"):
            self.begun.set()
            assert self.go.wait(HANGING)

    def take(self, model, engine):
        self.wait("take", model)
        segmenter = Halves()
        segmenter.model = model
        return segmenter

    def label_image(self, path, segmenter, style, folder):
        self.at_work += 1
        assert self.at_work == 1
        self.wait("label_image", segmenter.model)
        self.at_work -= 1
        return path.name

    async def label(self, name, model, tab="tab"):
        """Return all that the page is shown."""
        request = SimpleNamespace(session_hash=tab)
        asked = [str(self.source / name), model, "auto", "Overlay", 50, self.kept, request]
        return [updates async for updates in self.actions.label(*asked)]

    async def label_slowly(self, name, meanwhile):
        """Label a file; once it is at work, start ``meanwhile``; return what is shown."""
        slow = asyncio.ensure_future(self.label(name, "slow"))
        while not self.begun.is_set():
            await asyncio.sleep(0.01)
        later = asyncio.ensure_future(meanwhile())
        while self.actions.turns.get("tab") == 1:
            await asyncio.sleep(0.01)
        self.go.set()
        return await slow, await later


@pytest.mark.parametrize(
    ("first", "waits_at"), [("a.mp4", "take"), ("a.png", "take"), ("a.png", "label_image")]
)
def test_the_file_dropped_last_is_the_one_that_counts(tmp_path, monkeypatch, first, waits_at):
    tab = Tab(tmp_path, monkeypatch)
    tab.waits_at = waits_at
    make_video(tmp_path / "a.mp4")
    make_video(tmp_path / "b.mp4")
    (tmp_path / "a.png").write_bytes(forge.png((8, 8)))
    second = partial(tab.label, "b.mp4", "quick")
    stale, shown = asyncio.run(tab.label_slowly(first, second))
    assert stale == []
    assert shown[-1]["video"].endswith("b_overlay.mp4")
    assert list(tab.folder.iterdir()) == [Path(shown[-1]["video"]).parent]
    assert not tab.actions.jobs


def test_tabs_take_turns(tmp_path, monkeypatch):
    tab = Tab(tmp_path, monkeypatch)
    (tmp_path / "a.png").write_bytes(forge.png((8, 8)))

    async def at_once():
        return await asyncio.gather(*(tab.label("a.png", "quick", str(n)) for n in range(4)))

    assert asyncio.run(at_once()) == [["a.png"]] * 4


def test_a_result_that_came_too_late_removes_nothing_that_is_shown(tmp_path, monkeypatch):
    tab = Tab(tmp_path, monkeypatch)
    tab.waits_at = "label_image"

    async def leave():
        tab.actions.leave(SimpleNamespace(session_hash="tab"))

    assert asyncio.run(tab.label_slowly("a.png", leave))[0] == []
    assert list(tab.folder.iterdir()) == [tab.kept.folder]


def test_a_file_that_fails_leaves_what_is_shown(tmp_path, monkeypatch):
    import gradio

    tab = Tab(tmp_path, monkeypatch)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(gradio.Error, match=r"a\.mp4: damaged or not a video"):
        asyncio.run(tab.label("a.mp4", "quick"))
    assert list(tab.folder.iterdir()) == [tab.kept.folder]


def test_an_image_with_a_video_s_name_is_labelled_as_an_image(tmp_path, monkeypatch):
    tab = Tab(tmp_path, monkeypatch)
    (tmp_path / "a.mp4").write_bytes(forge.png((8, 8)))
    make_video(tmp_path / "made.mp4").rename(tmp_path / "b.png")
    assert asyncio.run(tab.label("a.mp4", "quick")) == ["a.mp4"]
    assert asyncio.run(tab.label("b.png", "quick"))[-1]["video"].endswith("b_overlay.mp4")


def test_a_full_disk_is_named_and_no_folder_of_the_server(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a_labels.png"))
    said = actions.explain(full, tmp_path / "a.png").message
    assert said.startswith("a_labels.png: No space left on device")


def test_a_bug_prints_its_traceback_only_in_debug_mode(tmp_path, monkeypatch, capsys):
    def explain_a_bug():
        try:
            [].pop()
        except IndexError as error:
            return actions.explain(error, tmp_path).message, capsys.readouterr().err

    monkeypatch.delenv("SGCP_DEBUG", raising=False)
    assert explain_a_bug() == ("unexpected IndexError; this is a bug in sgcp", "")
    monkeypatch.setenv("SGCP_DEBUG", "1")
    said, printed = explain_a_bug()
    assert said == "unexpected IndexError; this is a bug in sgcp"
    assert "explain_a_bug" in printed
    assert printed.endswith("IndexError: pop from empty list\n")


def test_a_view_is_named_apart_from_the_label_map():
    assert "street_labels.png" not in [Style(view).name("street", ".png") for view in media.VIEWS]
