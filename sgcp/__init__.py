"""SGCPNet, reproducible: real-time semantic segmentation from raw archives to a checked zip."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgcp.inference.segmenter import Segmenter, load

    __version__: str

__all__ = ["Segmenter", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import what takes long when it is asked for: ``sgcp --help`` stays quick."""
    if name == "__version__":
        from importlib.metadata import version

        return version("sgcp")
    if name in __all__:
        from sgcp.inference import segmenter

        return getattr(segmenter, name)
    raise AttributeError(f"module 'sgcp' has no attribute '{name}'")
