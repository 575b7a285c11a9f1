"""The wheel of this checkout."""

import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

NOT_BUILT = ("tests/", "docs/", "benchmarks/", "metrics/")


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the files that git would commit; return it."""
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if not name.startswith(NOT_BUILT):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
             "--no-index", "-w", folder, source]  # fmt: skip
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("sgcpnet-*.whl")
    return wheel
