"""SGCPNet, reproducible: real-time semantic segmentation from raw archives to a checked zip."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgcp.inference.segmenter import Segmenter, load

__version__ = version("sgcp")
__all__ = ["Segmenter", "load"]


def __getattr__(name: str) -> Any:
    """Import torch only when a model is asked for: ``sgcp --help`` stays quick."""
    if name in __all__:
        from sgcp.inference import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module 'sgcp' has no attribute '{name}'")
