"""SGCPNet, reproducible: real-time semantic segmentation from raw archives to a checked zip."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sgcp.core.environment import silence_statistics

if TYPE_CHECKING:
    from sgcp.core.errors import SgcpError
    from sgcp.datasets.index import read_dataset
    from sgcp.inference.prediction import Prediction
    from sgcp.inference.segmenter import Segmenter, load
    from sgcp.inference.tta import InferenceOptions

    __version__: str

__all__ = [
    "InferenceOptions", "Prediction", "Segmenter", "SgcpError", "__version__", "load",
    "read_dataset",
]  # fmt: skip

HOMES = {
    "InferenceOptions": "inference.tta",
    "Prediction": "inference.prediction",
    "Segmenter": "inference.segmenter",
    "SgcpError": "core.errors",
    "load": "inference.segmenter",
    "read_dataset": "datasets.index",
}

silence_statistics()


if not TYPE_CHECKING:  # which would take any name for right

    def __getattr__(name: str) -> Any:
        """Import what takes long when it is asked for: ``sgcp --help`` stays quick."""
        if name == "__version__":
            from importlib.metadata import version

            from sgcp.core.extras import DISTRIBUTION

            return version(DISTRIBUTION)
        if name in HOMES:
            return getattr(import_module(f"sgcp.{HOMES[name]}"), name)
        raise AttributeError(f"module 'sgcp' has no attribute '{name}'")


def __dir__() -> list[str]:
    """List the public names alone."""
    return sorted(__all__)
