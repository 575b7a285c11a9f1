"""What libraries read from the environment when they are imported."""

import os
import sys
from contextlib import suppress
from pathlib import Path

# Usage statistics, by the variable that switches them off.
SILENT = {
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}


def cache_folder() -> Path:
    """Return the only folder outside the user's own in which this package leaves files."""
    if named := os.environ.get("SGCP_CACHE"):
        return Path(named).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("sgcp")


def silence_statistics() -> None:
    """Switch usage statistics off, unless the user set them otherwise.

    Called when this package is imported: later, some libraries have already asked a server.
    """
    for variable, value in SILENT.items():
        os.environ.setdefault(variable, value)
    # OpenVINO and NNCF have no switch, but do without this package where it is not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def place_compiler_cache() -> None:
    """Let torch keep what it compiles in our cache; call it before torchvision is imported."""
    folder = cache_folder() / "torchinductor"
    with suppress(OSError):  # then torch takes a temporary folder
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
