"""Which engine runs a model, and the ONNX graph that it is given."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from platformdirs import user_cache_path

from sgcp.core.errors import SgcpError
from sgcp.core.files import code_digest, file_sha256, write_bytes
from sgcp.inference.engines.base import Engine

ENGINES = ("openvino", "onnxruntime", "torch")  # from fast to slow, by `sgcp benchmark`
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
    exported = path.suffix != ".safetensors"
    if device == "cuda":
        if engine not in ("auto", "torch") or exported:
            raise SgcpError("engine: on a GPU the engine is torch, with weights in .safetensors")
        return _torch_engine(path, device, precision, threads)
    name = installed_engine(engine)
    if exported:
        name = _engine_of_export(path, name, asked=engine != "auto")
    if name == "torch":
        return _torch_engine(path, device, precision, threads)
    model = path if exported else onnx_of(path)
    if name == "openvino":
        from sgcp.inference.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, precision, callers, threads)
    from sgcp.inference.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, precision, callers, threads)


def installed_engine(name: str) -> str:
    """Return the engine that ``name`` means on this machine; ``auto``: the fastest there is.

    Raises:
        SgcpError: there is no such engine, or its package is not installed.
    """
    installed = [engine for engine in ENGINES if find_spec(engine)]
    if name == "auto":
        return installed[0]
    if name not in ENGINES:
        raise SgcpError(f"engine: '{name}' is none of auto, {', '.join(ENGINES)}")
    if name not in installed:
        raise SgcpError(
            f"engine: '{name}' is not installed here; pip install {name}, or take one of "
            f"{', '.join(installed)}"
        )
    return name


def _engine_of_export(path: Path, name: str, asked: bool) -> str:
    """Return the engine for an exported graph: OpenVINO reads both forms, ONNX Runtime its own."""
    able = ("openvino", "onnxruntime") if path.suffix == ".onnx" else ("openvino",)
    if name in able:
        return name
    others = [engine for engine in able if find_spec(engine)]
    if asked or not others:
        raise SgcpError(f"{path}: is run by {' or '.join(able)}, not by {name}")
    return others[0]


def _torch_engine(path: Path, device: str, precision: str, threads: int | None) -> Engine:
    import torch

    from sgcp.inference.engines.torch_engine import CudaEngine, TorchEngine
    from sgcp.models.artifact import load_model

    if threads is not None:
        torch.set_num_threads(threads)  # of the whole process: torch has no other
    kind = CudaEngine if device == "cuda" else TorchEngine
    return kind(*load_model(path), precision)


def onnx_of(path: Path) -> bytes:
    """Return a model of ours as an ONNX graph for images of any size.

    The graph is kept in the user's cache, by the content of the model's files: the next call
    needs no torch, whose import takes longer than twenty images.

    Raises:
        SgcpError: the model is missing or damaged.
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
    if (
        path.is_file()
        and path.with_suffix(".json").is_file()
        and not _read_cached(_cached_file(path))
    ):
        subprocess.run([sys.executable, "-c", EXPORT, path], capture_output=True, check=False)


def _cached_file(path: Path) -> Path:
    parts = [file_sha256(path), file_sha256(path.with_suffix(".json"))]
    parts.append(code_digest("inference", "models"))
    return user_cache_path("sgcp") / "graphs" / hashlib.sha256("".join(parts).encode()).hexdigest()


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
