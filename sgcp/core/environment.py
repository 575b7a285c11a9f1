"""What libraries read from the environment when they are imported."""

import os
import sys
from pathlib import Path

# No usage statistics, nothing looked up on the web.
SILENT = {
    "DVC_NO_ANALYTICS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "YOLO_OFFLINE": "true",
}


def cache_folder() -> Path:
    """Return the only folder outside the user's own in which this package leaves files."""
    if named := os.environ.get("SGCP_CACHE"):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("sgcp")


def prepare_libraries() -> None:
    """Switch usage statistics off and point compilers' caches to ours; a user's settings win.

    Called when this package is imported: later, some libraries have already asked a server.
    """
    for variable, value in SILENT.items():
        os.environ.setdefault(variable, value)
    # OpenVINO and NNCF have no switch, but do without this package where it is not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    folder = cache_folder()
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if os.access(nearest, os.W_OK):  # torch fails if it cannot create its folder
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "torchinductor"))
