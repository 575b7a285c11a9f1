"""What a program does to an image before it runs an exported graph.

The graph normalizes but never resizes: OpenVINO ignores the antialiasing of ONNX's Resize, and
without it 0.5 % of the labels change at half size (docs/export.md). So every export says how to
resize: on the terminal, in the JSON beside it and in the metadata of the graph.
"""

from __future__ import annotations

from typing import Any

from sgcp.models.card import MAX_ENLARGED, ModelCard


def preprocessing(card: ModelCard, size: tuple[int, int] | None) -> dict[str, Any]:
    """Return what goes into a graph, for programs to read.

    Args:
        size: (height, width) of the only images that the graph takes; None: of any.
    """
    how = {"filter": "bilinear", "antialias": True}
    resize: dict[str, Any] | None = None
    if size:
        resize = {"height": size[0], "width": size[1]} | how
    elif card.input_side is not None:
        resize = {"short_side": card.input_side, "max_enlarged_pixels": MAX_ENLARGED} | how
    return {"color": "RGB", "dtype": "uint8", "layout": "NHWC", "resize": resize}


def describe_resize(resize: dict[str, Any] | None) -> str:
    """Return the resizing of ``preprocessing`` in words; nothing where there is none."""
    if resize is None:
        return ""
    if "short_side" in resize:
        return (
            f"resize so that the short side is {resize['short_side']} (bilinear, antialiased) first"
        )
    return f"resize to {resize['height']}x{resize['width']} (bilinear, antialiased) first"
