"""What a file is labelled as, within which bounds, and what comes back."""

import io
import json
from types import SimpleNamespace

import forge
import numpy as np
import pytest
from networks import random_image
from PIL import Image
from pydantic import ValidationError
from videos import frames_of, make_video

from sgcp.core.errors import SgcpError
from sgcp.datasets.classes import camvid_classes
from sgcp.datasets.label_files import KEYWORD
from sgcp.demo import media
from sgcp.demo.media import Job, LabelRequest, StoppedError
from sgcp.inference.prediction import Prediction
from sgcp.inference.tta import PLAIN, InferenceOptions
from sgcp.media.video_reader import VideoLimits
from sgcp.models.card import whole_cells


class Halves:
    """Labels the left half of any image Sky, the right one Building."""

    classes, workers = camvid_classes(), 2

    def __init__(self, labels=False):
        self.engine = SimpleNamespace(name="none", precision="fp32", labels=labels, fixed=None)

    def network_size(self, size):
        return whole_cells(*size)

    def segment(self, image, input_size, options):
        labels = np.ones(image.shape[:2], np.uint8)
        labels[:, : image.shape[1] // 2] = 0
        return labels

    def predict(self, image, input_size, options):
        return Prediction(np.zeros((4, 2, 2), np.float32), image.shape[:2])


def job(path, seconds=10.0, segmenter=Halves, **query):
    return Job(path, LabelRequest(model="m", engine="auto", **query), segmenter, seconds)


def decoded(png):
    return Image.open(io.BytesIO(png))


def test_an_image_gets_a_label_map_with_its_meaning_and_the_shares(tmp_path):
    photo = random_image(6, 8)
    (tmp_path / "a.png").write_bytes(forge.saved(Image.fromarray(photo)))
    result = job(tmp_path / "a.png").run()
    labels = decoded(result.parts["labels"])
    assert np.array_equal(labels, Halves().segment(photo, None, PLAIN))
    assert json.loads(labels.text[KEYWORD])["classes"]["Building"] == 1
    assert {item["name"]: item["share"] for item in result.classes if item["share"]} == {
        "Sky": 0.5,
        "Building": 0.5,
    }
    assert np.array_equal(decoded(result.parts["image"]), photo)
    assert list(result.parts) == ["labels", "image"]
    assert list(job(tmp_path / "a.png", frame=True).run().parts) == ["labels"]


def test_confidence_comes_where_asked_for(tmp_path):
    (tmp_path / "a.tif").write_bytes(forge.saved(Image.new("RGB", (8, 6), (9, 8, 7)), "TIFF"))
    parts = job(tmp_path / "a.tif", confidence=True).run().parts
    assert np.all(np.asarray(decoded(parts["confidence"])) == 64)  # four equal classes: 255 / 4
    with_labels = job(tmp_path / "a.tif", segmenter=lambda: Halves(labels=True), confidence=True)
    assert "confidence" not in with_labels.run().parts  # the model has none


def test_a_video_gets_the_colours_and_their_shares(tmp_path):
    work = job(make_video(tmp_path / "street.mp4"), strength=1)
    result = work.run()
    assert result.facts["Frames"] == "12"
    assert (work.progress()["done"], work.progress()["total"]) == (12, 12)
    assert [item["share"] for item in result.classes[:3]] == [0.5, 0.5, 0]
    first = frames_of(result.parts["video"])[1][0]
    assert np.abs(first[:, :28].astype(int) - Halves.classes[0].color).max() < 20


def test_a_stopped_video_leaves_no_file(tmp_path):
    work = job(make_video(tmp_path / "street.mp4"))
    advance = work._advance

    def stop_midway(done, total):
        if done == 3:
            work.stop.set()
        advance(done, total)

    work._advance = stop_midway
    with pytest.raises(StoppedError):
        work.run()
    assert [path.name for path in tmp_path.iterdir()] == ["street.mp4"]


@pytest.mark.parametrize(
    ("seconds", "pixels", "message"),
    [(0.1, 2**22, r"lasts 0\.5 s, .* 0\.1"), (10, 48 * 64 - 1, "frames of 64x48, .* 3,071 pixels")],
)
def test_long_videos_and_large_frames_are_refused_before_they_are_decoded(
    tmp_path, monkeypatch, seconds, pixels, message
):
    monkeypatch.setattr(media, "LIMITS", VideoLimits(pixels))
    work = job(make_video(tmp_path / "street.mp4"), seconds)
    with pytest.raises(SgcpError, match=message):
        work.run()
    assert work.done == 0


def test_large_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "MAX_PIXELS", 63)
    monkeypatch.setattr(media, "read_photo", None)
    (tmp_path / "a.png").write_bytes(forge.png((8, 8)))
    with pytest.raises(SgcpError, match=r"a\.png: 8 x 8 pixels, .* 63"):
        job(tmp_path / "a.png").run()


def test_images_and_videos_are_told_by_their_content(tmp_path):
    (tmp_path / "a.mp4").write_bytes(forge.png((8, 8)))
    make_video(tmp_path / "made.mp4").rename(tmp_path / "b.png")
    assert "labels" in job(tmp_path / "a.mp4").run().parts
    assert "video" in job(tmp_path / "b.png").run().parts


@pytest.mark.parametrize("scales", [(1.0,), (0.75, 1.0, 1.25)])
@pytest.mark.parametrize("size", [(4096, 8192), (1, 2**23), (2**23, 1), (720, 40_000)])
def test_the_size_of_the_networks_input_is_bounded_at_every_scale(size, scales):
    options = InferenceOptions(scales=scales)
    height, width = media.network_size(Halves(), size, options)
    assert 1 <= height * width * max(scales) ** 2 <= media.NETWORK_PIXELS
    assert (height % 8, width % 8) == (0, 0)
    assert media.network_size(Halves(), (800, 1600), options) == (800, 1600)


@pytest.mark.parametrize(
    "wrong",
    [{"scales": "9"}, {"strength": "2"}, {"strength": "nan"}, {"more": "1"}, {"model": None}],
)
def test_values_that_the_page_does_not_send_are_refused(wrong):
    with pytest.raises(ValidationError):
        LabelRequest.model_validate({"model": "m", "engine": "auto"} | wrong)
    assert LabelRequest.model_validate(
        {"model": "m", "engine": "auto", "flip": "true", "scales": "0.75, 1"}
    ).options == InferenceOptions(flip=True, scales=(0.75, 1.0))


def test_pixels_are_counted_by_value():
    labels = (np.arange(600 * 40).reshape(600, 40) % 11).astype(np.uint8)
    assert np.array_equal(media.count_pixels(labels), np.bincount(labels.ravel(), minlength=256))
