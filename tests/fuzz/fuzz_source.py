"""pipeline/datasets/DATASET.yaml, to a description whose names stay in their folder."""

from pathlib import Path

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["ruamel", "sgcp.core.files", "sgcp.datasets.source"]):
    from sgcp.datasets.source import read_description

ROOT = Path(__file__).parent.parent.parent


def read(path: Path) -> None:
    for edition in read_description(path).editions.values():
        for name in (*edition.packages, *(archive.file for archive in edition.archives)):
            assert Path("folder", name).resolve().parent == Path("folder").resolve()


fuzz(read, "a.yaml", [path.read_bytes() for path in ROOT.glob("pipeline/datasets/*.yaml")])
