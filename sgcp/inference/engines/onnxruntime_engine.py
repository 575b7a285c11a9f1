"""ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sgcp.core.errors import SgcpError
from sgcp.inference.engines.base import Engine, check_precision, cores, title
from sgcp.media.images import UInt8

SILENT = 4  # severity from which ONNX Runtime prints: fatal; errors are raised


class OnnxRuntimeEngine(Engine):
    """Run an ONNX graph, bytes or a file; each caller gets its share of the cores.

    int8 is a property of an exported graph: it is run as it is.
    """

    name = "onnxruntime"

    def __init__(
        self, model: bytes | Path, precision: str, callers: int = 1, threads: int | None = None
    ) -> None:
        exported = isinstance(model, Path) and model.suffix == ".onnx"
        able = ("fp32", "int8") if exported else ("fp32",)
        self.precision = check_precision(precision, able, self.name)
        self.callers, self.title = callers, title(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, (threads or cores()) // callers)
        options.log_severity_level = SILENT
        # Threads that spin while they wait would take the core that decodes the next image.
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(callers == 1)))
        content = model if isinstance(model, bytes) else str(model)
        try:
            self.session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # its own classes derive from Exception alone
            raise SgcpError(f"{self.title}: ONNX Runtime cannot read it; export it again") from None
        self.input = self.session.get_inputs()[0]
        height, width = self.input.shape[1:3]  # names where the graph takes any
        self.fixed = (height, width) if isinstance(height, int) else None
        self.labels = self.session.get_outputs()[0].type == "tensor(uint8)"

    def run(self, image: UInt8) -> NDArray[np.generic]:
        """Return what the graph makes of (H, W, 3) uint8."""
        return self.session.run(None, {self.input.name: image[None]})[0][0]
