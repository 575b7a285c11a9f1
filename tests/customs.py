"""A user's own small dataset, its folder to be broken at will."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
from conftest import Project
from PIL import Image

from sgcp.datasets.index import Dataset, read_dataset
from sgcp.media.images import read_label

VALUES = "name,values,color\nland,0 7,#00ff00\nsea,3,#0000ff\n"
COLORS = "name,values,color\nland,#00ff00 #808000,#00ff00\nsea,#0000ff,#0000ff\n"
SIZE = (6, 8)


def save(path: Path, array: np.ndarray, palette: list[int] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array.astype(np.uint8))
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def noise(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3))


def halves(left: int, right: int) -> np.ndarray:
    label = np.full(SIZE, left)
    label[:, SIZE[1] // 2 :] = right
    return label


def write_source(tmp_path: Path) -> Path:
    """Four labelled images and one without label, with values as labels."""
    folder = tmp_path / "mine" / "source"
    for seed, name in enumerate(["train/a", "train/b", "val/c", "val/d", "test/e"]):
        save(folder / f"images/{name}.png", noise(seed))
        if not name.startswith("test"):
            save(folder / f"labels/{name}.png", halves(7, 3))
    (folder / "classes.csv").write_text(VALUES)
    return folder


def take(project: Project, source: Path, *options: str) -> Dataset:
    project.ok("download", "custom", "--root", source)
    project.ok("prepare", "custom", *options)
    return read_dataset(project.root / "data/prepared/custom")


def refused(project: Project, source: Path) -> str:
    """Return the message of whichever of the two stages refuses; nothing is left behind."""
    result = project.run("download", "custom", "--root", source)
    stage, folder = "prepare", project.root / "data/prepared"
    if result.exit_code:
        stage, folder = "download", project.root / "data/raw"
    text = project.fails(stage, "custom", *(("--root", source) if stage == "download" else ()))
    assert not folder.exists() or not list(folder.glob("custom*"))
    return text


def label(project: Project, name: str) -> np.ndarray:
    return read_label(project.root / "data/prepared/custom/labels" / f"{name}.png")


def pack(folder: Path, top: str) -> Path:
    """Pack the files of a folder into an archive beside it, below the folder ``top``."""
    with ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, Path(top, path.relative_to(folder)))
    return folder.with_suffix(".zip")
