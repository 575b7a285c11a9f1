"""index.csv beside a right dataset.json."""

from pathlib import Path

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["sgcp.datasets.index"]):
    from sgcp.datasets.index import Dataset, Item, read_dataset, write_dataset

from sgcp.datasets.classes import camvid_classes

ITEMS = (
    Item("train", Path("CamVid/train/a.png"), Path("labels/train/a.png"), "0001TP", 360, 480),
    Item("test", Path("CamVid/test/b.png"), None, "Seq05VD", 360, 480),
)
DATASET = Dataset("camvid", "segnet", "grouped", camvid_classes(), ITEMS)
HEADER = b"split,image,label,sequence,height,width\n"


def read(path: Path) -> None:
    folder = path.parent / "camvid"
    folder.mkdir(exist_ok=True)
    if not (folder / "dataset.json").is_file():
        write_dataset(folder, DATASET)
    (folder / "index.csv").write_bytes(path.read_bytes())
    for item in read_dataset(folder).items:
        assert isinstance(item.height, int)
        assert isinstance(item.key, str)


ROW = b"train,CamVid/train/a.png,labels/train/a.png,0001TP,360,480\n"
fuzz(read, "input.csv", [HEADER + ROW, HEADER + ROW + b'test,"b,c.png",,NA,1,1\n', HEADER])
