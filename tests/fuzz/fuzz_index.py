"""index.csv beside a right dataset.json."""

from pathlib import Path
from tempfile import TemporaryDirectory

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["sgcp.datasets.index"]):
    from sgcp.datasets.index import Dataset, Item, read_dataset, write_dataset

from sgcp.datasets.classes import camvid_classes

IMAGES = ("CamVid/train/a.png", "CamVid/test/b,c.png")
ITEMS = tuple(
    Item(Path(image).parts[1], Path(image), "0001TP", 360, 480, "0" * 32, label)
    for image, label in zip(IMAGES, (Path("labels/train/a.png"), None), strict=True)
)
DATASET = Dataset("camvid", "segnet", "grouped", camvid_classes(), ITEMS)


def written() -> bytes:
    with TemporaryDirectory() as folder:
        write_dataset(Path(folder), DATASET)
        return (Path(folder) / "index.csv").read_bytes()


def read(path: Path) -> None:
    folder = path.parent / "camvid"
    folder.mkdir(exist_ok=True)
    if not (folder / "dataset.json").is_file():
        write_dataset(folder, DATASET)
    (folder / "index.csv").write_bytes(path.read_bytes())
    for item in read_dataset(folder).items:
        assert isinstance(item.height, int)
        assert isinstance(item.key, str)


SEED = written()
fuzz(read, "input.csv", [SEED, SEED.partition(b"\n")[0] + b"\n"])
