"""Which engine runs a model, and the ONNX graph that it is given."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from sgcp.core.environment import cache_folder
from sgcp.core.errors import SgcpError
from sgcp.core.files import code_digest, file_sha256, write_bytes
from sgcp.inference.engines.base import Engine

ENGINES = ("openvino", "onnxruntime", "torch")  # from fast to slow, by `sgcp benchmark`
RUN_BY = {".safetensors": ENGINES, ".onnx": ("openvino", "onnxruntime"), ".xml": ("openvino",)}
CHECKSUM = 32  # bytes
KEPT = 32  # graphs in the cache, of 2.5 MB each
EXPORT = """
import sys
from pathlib import Path
from sgcp.inference.engines.choice import onnx_of
onnx_of(Path(sys.argv[1]))
"""


def open_engine(
    path: Path, device: str, engine: str, precision: str, callers: int, threads: int | None = None
) -> Engine:
    """Return an engine for a model file.

    Args:
        path: ours (``.safetensors``) or exported (``.onnx``, ``.xml``).
        threads: cores to use; None: all.

    Raises:
        SgcpError: the model is damaged, or engine, precision or device are not available here.
    """
    name = choose_engine(path, device, engine)
    if name == "torch":
        import torch

        from sgcp.inference.engines.torch_engine import CudaEngine, TorchEngine
        from sgcp.models.artifact import load_model

        if threads is not None:
            torch.set_num_threads(threads)  # of the whole process: torch has no other
        kind = CudaEngine if device == "cuda" else TorchEngine
        return kind(*load_model(path), precision)
    model = onnx_of(path) if path.suffix == ".safetensors" else path
    if name == "openvino":
        from sgcp.inference.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, precision, callers, threads)
    from sgcp.inference.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, precision, callers, threads)


def choose_engine(path: Path, device: str, engine: str) -> str:
    """Return the engine that ``engine`` means for a file; ``auto``: the fastest there is."""
    able = [name for name in RUN_BY[path.suffix] if device != "cuda" or name == "torch"]
    installed = [name for name in able if find_spec(name)]
    if engine in ("auto", *installed) and installed:
        return installed[0] if engine == "auto" else engine
    ways = [f"take one of {', '.join(installed)}"] if installed else []
    if missing := [name for name in able if name not in installed]:
        ways.append(f"pip install {' or '.join(missing)}")
    raise SgcpError(
        f"engine: '{engine}' does not run {path} on {device}; "
        f"{', or '.join(ways) or 'pass the .safetensors that it was exported from'}"
    )


def onnx_of(path: Path) -> bytes:
    """Return a model of ours as an ONNX graph for images of any size.

    The graph is kept in the user's cache, by the content of the model's files: the next call
    needs no torch, whose import takes longer than twenty images.
    """
    cached = _cached_file(path)
    content = _read_cached(cached)
    if content is None:
        content = _export(path)
        with suppress(OSError):  # a home that cannot be written to: export again next time
            _write_cached(cached, content)
    return content


def cache_onnx(path: Path) -> None:
    """Put a model's graph into the cache by a process of its own; where that fails, do nothing.

    Exporting it in this process would import torch, which takes half a gigabyte from then on.
    """
    with suppress(OSError):  # no such model: loading it explains
        if not _read_cached(_cached_file(path)):
            subprocess.run([sys.executable, "-c", EXPORT, path], capture_output=True, check=False)


def _cached_file(path: Path) -> Path:
    model = file_sha256(path) + file_sha256(path.with_suffix(".json"))
    key = hashlib.sha256((model + code_digest("inference", "models")).encode()).hexdigest()
    return cache_folder() / "graphs" / key


def _read_cached(file: Path) -> bytes | None:
    """Return a cached graph, unless there is none or its checksum, the first bytes, is wrong."""
    with suppress(OSError):
        content = file.read_bytes()
        if content[:CHECKSUM] == hashlib.sha256(content[CHECKSUM:]).digest():
            return content[CHECKSUM:]
    return None


def _write_cached(file: Path, content: bytes) -> None:
    """Keep a graph, and of the others the newest few."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, hashlib.sha256(content).digest() + content)
    by_age = sorted(file.parent.iterdir(), key=lambda old: old.stat().st_mtime)
    for old in by_age[:-KEPT]:
        old.unlink(missing_ok=True)


def _export(path: Path) -> bytes:
    from sgcp.inference.graph import InferenceGraph, to_onnx
    from sgcp.models.artifact import load_model

    return to_onnx(InferenceGraph(*load_model(path)))
