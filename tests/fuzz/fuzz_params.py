"""params.yaml, to settings."""

from pathlib import Path

import atheris
from harness import fuzz

with atheris.instrument_imports(include=["ruamel", "sgcp.core.files", "sgcp.settings.load"]):
    from sgcp.settings.load import load_params

from sgcp.settings import Params

ROOT = Path(__file__).parent.parent.parent
SMALL = b"datasets: [sample]\nmachine:\n  accelerator: auto   # x\n  devices: 1e-5\na: &x {b: *x}\n"


def read(path: Path) -> None:
    assert isinstance(load_params(path), Params)


fuzz(read, "params.yaml", [(ROOT / "params.yaml").read_bytes(), SMALL])
