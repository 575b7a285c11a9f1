"""Archives: whatever is unpacked lies in its folder and is as long as its checksum says."""

import zipfile
from pathlib import Path

import atheris
import forge
from harness import fuzz

with atheris.instrument_imports(include=["zipfile", "sgcp.core.archives"]):
    from sgcp.core.archives import extract, is_whole_zip

from sgcp.core.files import remove_folder
from sgcp.datasets.camvid import raw_path

NAMES = ["CamVid/train/0001TP_006690.png", "x/CamVid/valannot/0016E5_07959.png", "label_colors.txt"]


def read(path: Path) -> None:
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


MEMBERS = [(name, name.encode() * 3) for name in NAMES]
fuzz(
    read,
    "a.zip",
    [forge.zip_bytes(MEMBERS), forge.zip_bytes(MEMBERS, method=0), forge.overlap(NAMES, b"abc"),
     forge.zip_bytes(MEMBERS[:1], forge.LINK)],
)  # fmt: skip
