"""Submissions of tiny images, right and wrong, as zips and folders."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from sgcp.core.findings import Report
from sgcp.datasets.classes import cityscapes_classes
from sgcp.submission.archive import open_container
from sgcp.submission.check import check_submission
from sgcp.submission.expected import TEST_SIZE, KnownImages

SIZE = (4, 19)
STEMS = ["berlin_000000_000019", "berlin_000001_000019", "bonn_000000_000019"]
IMAGES = KnownImages(dict.fromkeys(STEMS, SIZE))
LABEL_IDS = [item.label_id for item in cityscapes_classes()]
FIRST = f"{STEMS[0]}.png"


def png(array: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return buffer.getvalue()


def scene(shift: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image of every class, another for every shift."""
    return np.resize(np.roll(np.array(LABEL_IDS, np.uint8), shift), size)


GOOD = {f"{stem}.png": png(scene(index)) for index, stem in enumerate(STEMS)}


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def check(path: Path, images=IMAGES, classes=None) -> Report:
    return check_submission(open_container(path), images, classes or cityscapes_classes())[0]


def found(report: Report) -> dict[str, list[str]]:
    """Return names by kind."""
    return {kind.key: [finding.name for finding in group] for kind, group in report.groups()}


PREDICTIONS = {
    "colour": np.zeros((*SIZE, 3), np.uint8),
    "depth": scene().astype(np.uint16),
    "size": scene(size=SIZE[::-1]),
    "train-ids": np.resize(np.arange(19, dtype=np.uint8), SIZE),
    "foreign-ids": np.where(scene() == 7, 3, scene()).astype(np.uint8),
    "void": np.where(scene() == 7, 255, scene()).astype(np.uint8),
    "one-class": np.full(SIZE, 7, np.uint8),
}


FULL = png(np.full(TEST_SIZE, 7, np.uint8))  # an image of the published size
