"""The readers that are fuzzed: each returns a right value or raises an SgcpError, nothing else."""

import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import forge
import numpy as np
import torch
from cityscapesscripts.preparation.json2labelImg import createLabelImage
from PIL import Image

from sgcp.core.archives import extract, is_whole_zip
from sgcp.core.errors import SgcpError
from sgcp.core.files import remove_folder
from sgcp.datasets.camvid import raw_path, read_colors
from sgcp.datasets.cityscapes import read_polygons
from sgcp.datasets.classes import camvid_classes, classes_to_json
from sgcp.datasets.index import Dataset, Item, read_dataset, write_dataset
from sgcp.datasets.source import read_description
from sgcp.media.images import read_image, read_label, read_size
from sgcp.models import SGCPNet, artifact
from sgcp.settings import Params
from sgcp.settings.load import load_params

ROOT = Path(__file__).parent.parent.parent


class Reader(NamedTuple):
    """A reader that checks its own result, the name of its file, and valid files to start from."""

    read: Callable[[Path], object]
    name: str
    seeds: Sequence[bytes]


def colors(path: Path) -> None:
    found = read_colors(path)
    assert len(set(found.values())) == len(found)
    assert all(0 <= part <= 255 for color in found.values() for part in color)


def image(path: Path) -> None:
    for reader, dimensions in ((read_image, 3), (read_label, 2)):
        try:
            array = reader(path)
        except SgcpError:
            continue
        assert array.dtype == np.uint8
        assert array.ndim == dimensions
        assert array.shape[:2] == read_size(path)
    read_size(path)


def save(kind: str, array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)
IMAGES = (
    save("PNG", GREY), save("PNG", np.stack([GREY] * 3, -1)), save("JPEG", GREY),
    forge.png((4, 3), 2, 3, before=forge.chunk(b"PLTE", bytes(12))), forge.png((4, 3), 16, 6),
    forge.png((4, 3), after=forge.chunk(b"eXIf", forge.exif(6))),
    save("PNG", GREY, save_all=True, append_images=[Image.fromarray(GREY + 1)]),
)  # fmt: skip

ITEMS = tuple(
    Item(Path(name).parts[1], Path(name), "0001TP", 360, 480, "0" * 32, label)
    for name, label in {
        "CamVid/train/a.png": Path("labels/train/a.png"), "CamVid/test/b,c.png": None,
    }.items()
)  # fmt: skip
DATASET = Dataset("camvid", "segnet", "grouped", camvid_classes(), ITEMS)


def index(path: Path) -> None:
    folder = path.parent / "camvid"
    write_dataset(folder, DATASET)
    (folder / "index.csv").write_bytes(path.read_bytes())
    for item in read_dataset(folder).items:
        assert isinstance(item.height, int)
        assert isinstance(item.key, str)


def polygons(path: Path) -> None:
    assert createLabelImage(read_polygons(path, (8, 8)), "trainIds").size == (8, 8)


SQUARE = {"label": "car", "polygon": [[0, 0], [7, 0], [7.5, 7]], "deleted": 0}
ANNOTATION = {"imgHeight": 8, "imgWidth": 8, "objects": [SQUARE, SQUARE | {"label": "cargroup"}]}


def params(path: Path) -> None:
    assert isinstance(load_params(path), Params)


def description(path: Path) -> None:
    for edition in read_description(path).editions.values():
        for name in (*edition.packages, *(archive.file for archive in edition.archives)):
            assert Path("folder", name).resolve().parent == Path("folder").resolve()


def archive(path: Path) -> None:
    """Unpacked files lie in their folder and are as long as their checksums require."""
    outside = path.parent / "outside"
    folder = outside / "folder"
    folder.mkdir(parents=True)
    try:
        whole = is_whole_zip(path)
        count = extract(path, folder, raw_path)
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert count == len(files)
        assert sum(file.stat().st_size for file in files) < 2**26
        if whole:
            with zipfile.ZipFile(path) as content:
                crcs = {info.CRC for info in content.infolist()}
            assert {zipfile.crc32(file.read_bytes()) for file in files} <= crcs
    finally:
        assert [entry.name for entry in outside.iterdir()] == ["folder"]
        remove_folder(outside)


NAMES = ["CamVid/train/0001TP_006690.png", "x/CamVid/valannot/0016E5_07959.png", "label_colors.txt"]
MEMBERS = [(name, name.encode() * 3) for name in NAMES]
ZIPS = (
    forge.zip_bytes(MEMBERS), forge.zip_bytes(MEMBERS, method=0), forge.overlap(NAMES, b"abc"),
    forge.zip_bytes(MEMBERS[:1], forge.LINK),
)  # fmt: skip

CARD = artifact.ModelCard(classes_to_json(camvid_classes()), "camvid", "segnet", "grouped")
NETWORK = SGCPNet(11)
with tempfile.TemporaryDirectory() as made:
    write_dataset(Path(made), DATASET)
    INDEX = Path(made, "index.csv").read_bytes()
    artifact.save_model(NETWORK, NETWORK.state_dict(), CARD, Path(made, "model.safetensors"))
    WEIGHTS = Path(made, "model.safetensors").read_bytes()
HEADER = WEIGHTS[: 8 + struct.unpack("<Q", WEIGHTS[:8])[0]]
TEXT = json.dumps(CARD.to_json()).encode()


def model(path: Path) -> None:
    """Read a model whose description, a NUL and the header of its weights are given."""
    card, _, header = path.read_bytes().partition(b"\0")
    (path.parent / "model.json").write_bytes(card)
    content = (header or HEADER) + WEIGHTS[len(HEADER) :]
    (path.parent / "model.safetensors").write_bytes(content)
    network, found = artifact.load_model(path.parent)
    assert network.num_classes == len(found.classes)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


READERS = {
    "colors": Reader(
        colors, "label_colors.txt", [b"64 128 64\tAnimal\n192 0 128\t\tArchway\n0 0 0\t\tVoid"]
    ),
    "image": Reader(image, "a.png", IMAGES),
    "index": Reader(index, "input.csv", [INDEX, INDEX.partition(b"\n")[0] + b"\n"]),
    "model": Reader(
        model, "input", [TEXT + b"\0" + HEADER, TEXT, TEXT + b"\0" + struct.pack("<Q", 2**40)]
    ),
    "params": Reader(
        params,
        "params.yaml",
        [(ROOT / "params.yaml").read_bytes(), b"datasets: [sample]\na: &x {b: 1}\nc: *x\n"],
    ),
    "polygons": Reader(polygons, "a.json", [json.dumps(ANNOTATION).encode()]),
    "description": Reader(
        description, "a.yaml", [path.read_bytes() for path in ROOT.glob("pipeline/datasets/*.yaml")]
    ),
    "archive": Reader(archive, "a.zip", ZIPS),
}
