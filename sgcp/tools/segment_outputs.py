"""What ``sgcp segment`` makes of an image or a frame, of files and of streams alike."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.extras import require
from sgcp.core.files import to_json, write_text
from sgcp.datasets.classes import IGNORE
from sgcp.inference.prediction import Prediction, grey_levels
from sgcp.inference.segmenter import Segmenter
from sgcp.inference.tta import PLAIN, InferenceOptions
from sgcp.labelling.outlines import FORMATS
from sgcp.media.images import UInt8
from sgcp.reporting.panels import blend, colorize

MAX_SIDE, MIN_SCALE, MAX_SCALE = 16384, 0.01, 16.0  # as in params.yaml
VIDEO_SUFFIXES = {"labels": ".mkv", "colors": ".mp4", "overlay": ".mp4", "confidence": ".mkv"}
CLASSES = "classes.json"
FILES_ALONE = "--format: needs image files, not videos, streams or standard input. Leave it out"
Painted = dict[str, UInt8]


@dataclass(frozen=True)
class SegmentOptions:
    """The files to write for each image and video, and how it is labelled."""

    labels: bool | None = None
    """The model's train ids, 8 bits a pixel; None: of images, not of videos."""
    colors: bool = False
    """Class colours."""
    overlay: bool = True
    """Class colours over the image."""
    alpha: float = 0.5
    """Opacity of the colours in an overlay, 0 .. 1."""
    legend: bool = False
    """Names and colours of the classes that occur, below the overlay of an image."""
    confidence: bool = False
    """The highest class probability of each pixel, 8 bits: 255 is 1."""
    threshold: float | None = None
    """Pixels of a lower confidence get the label 255, and no colour; None: all are labelled."""
    form: str | None = None
    """A key of ``outlines.FORMATS``: polygons of the images' label maps for that labelling tool."""
    input_size: tuple[int, int] | None = None
    """(height, width) of the network's input; None: as the model was trained."""
    inference: InferenceOptions = PLAIN
    """Test-time augmentation."""
    smooth: float = 0.0
    """Share of the earlier frames in the scores of a video's frame, 0 .. 1."""

    def check(self) -> None:
        """Raise SgcpError where a value is out of range."""
        scales, window = self.inference.scales, self.inference.window
        for name, size in (("--input-size", self.input_size), ("--window", window)):
            if size and not 1 <= min(size) <= max(size) <= MAX_SIDE:
                raise SgcpError(
                    f"{name}: expected height and width, 1 .. {MAX_SIDE} pixels: {size}"
                )
        if not all(MIN_SCALE <= scale <= MAX_SCALE for scale in scales):
            raise SgcpError(f"--scale: expected {MIN_SCALE} .. {MAX_SCALE}, got {scales}")
        if not 0 <= self.alpha <= 1:
            raise SgcpError(f"--alpha: expected 0 (image) .. 1 (colours), got {self.alpha}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise SgcpError(f"--threshold: expected 0 .. 1, got {self.threshold}")
        if self.form and (self.labels is False or self.form not in FORMATS):
            raise SgcpError(
                f"--format: expected {', '.join(FORMATS)}. They are traced from label maps, so "
                "leave --no-labels out"
            )
        if self.form:
            require("contourpy", "--format")
        if not 0 <= self.smooth < 1:
            raise SgcpError(f"--smooth: expected 0 (off) to below 1, got {self.smooth}")

    def paths(self, stem: Path, video: bool) -> dict[str, Path]:
        """Return the files of one image or video, by kind."""
        kinds = {
            "labels": not video if self.labels is None else self.labels,
            "colors": self.colors,
            "overlay": self.overlay,
            "confidence": self.confidence,
        }
        return {
            kind: stem.with_name(f"{stem.name}_{kind}{VIDEO_SUFFIXES[kind] if video else '.png'}")
            for kind, wanted in kinds.items()
            if wanted
        }


@dataclass(frozen=True)
class Labeller:
    """Label images; refuse a model without scores where confidence or smoothing needs them."""

    segmenter: Segmenter
    options: SegmentOptions

    def __post_init__(self) -> None:
        if (self._unsure or self.options.smooth) and self.segmenter.engine.labels:
            raise SgcpError(
                "--confidence, --threshold, --smooth: this model was exported with --labels, so it "
                "has no confidence. Export it without"
            )

    @property
    def _unsure(self) -> bool:
        return self.options.confidence or self.options.threshold is not None

    def predict(self, image: UInt8) -> Prediction:
        """Predict (H, W, 3) uint8 with the options of this run."""
        return self.segmenter.predict(image, self.options.input_size, self.options.inference)

    def label(self, image: UInt8, prediction: Prediction | None = None) -> Painted:
        """Return ``labels`` of (H, W, 3) uint8, and ``confidence`` where it is asked for.

        Without a ``prediction`` of the image, it is made.
        """
        if prediction is None:
            if not self._unsure:
                size, inference = self.options.input_size, self.options.inference
                return {"labels": self.segmenter.segment(image, size, inference)}
            prediction = self.predict(image)
        made = {"labels": prediction.labels}
        if self._unsure:
            confidence = prediction.confidence
            if self.options.threshold is not None:
                made["labels"][confidence < self.options.threshold] = IGNORE
            made["confidence"] = grey_levels(confidence)
        return made


def render(
    image: UInt8, labels: UInt8, segmenter: Segmenter, kinds: Iterable[str], alpha: float
) -> dict[str, UInt8]:
    """Return images by kind, of an image (H, W, 3) and its train ids (H, W).

    Pixels without a class are black in colours and as they were in an overlay.
    """
    made = {"labels": labels}
    if {"colors", "overlay"} & set(kinds):
        made["colors"] = colorize(labels, segmenter.classes)
    if "overlay" in kinds:
        made["overlay"] = blend(image, made["colors"], alpha)
        unknown = labels == IGNORE
        if unknown.any():  # below --threshold alone
            made["overlay"][unknown] = image[unknown]
    return {kind: made[kind] for kind in kinds if kind in made}


def write_classes(path: Path, segmenter: Segmenter, force: bool) -> None:
    """Write what the values of the label maps mean, unless an earlier run has."""
    rows = [
        {"index": item.train_id, "name": item.name, "color": list(item.color),
         "label_id": item.label_id}
        for item in segmenter.classes
    ]  # fmt: skip
    content = to_json(rows)
    if path.is_file() and path.read_bytes() == content.encode():
        return
    if path.exists() and not force:
        raise SgcpError(
            f"{path}: names the classes of another model. Pass --force to overwrite it, or choose "
            "another --out"
        )
    write_text(path, content)
