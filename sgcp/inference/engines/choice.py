"""Which engine runs a model, and the ONNX graph that it is given."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.core.extras import install_command
from sgcp.core.files import code_digest, file_sha256, json_digest
from sgcp.core.machine import processor_kind
from sgcp.inference.engines.base import Engine, cores
from sgcp.inference.engines.cache import read_cached, write_cached
from sgcp.inference.engines.interface import check_graph
from sgcp.inference.engines.measured import MOST_CHANGED, MOST_LOST, MeasuredEngine, Way
from sgcp.models.card import model_digest, read_card

BUNDLED = Path(__file__).parents[2] / "weights"
ENGINES = ("openvino", "onnxruntime", "torch")  # from fast to slow, by `sgcp benchmark`
RUN_BY = {".safetensors": ENGINES, ".onnx": ("openvino", "onnxruntime"), ".xml": ("openvino",)}
INT8_ENDING = "-int8.xml"  # of the name of the int8 export that stands beside its model
EXPORT = """
import sys
from pathlib import Path
from sgcp.inference.engines.choice import onnx_of
onnx_of(Path(sys.argv[1]))
"""


def open_engine(
    path: Path, device: str, engine: str, precision: str, callers: int, threads: int | None = None
) -> Engine:
    """Return an engine for a model file: ours (``.safetensors``) or exported (``.onnx``, ``.xml``).

    Args:
        engine: auto: the first of ``ENGINES`` that is installed, so that scores do not depend on
            the machine's speed; where ``precision`` is auto too, what is fastest by measurement.
        precision: int8 of a model of ours is that of ``int8_export_of``.
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
    if precision == "auto":
        ways = list_ways(path, engine)
    else:
        int8 = precision == "int8" and path.suffix == ".safetensors"
        ways = {Way(name, precision): int8_export_of(path) if int8 else _graph_of(path)}

    def opener(way: Way, callers: int) -> Engine:
        graph = ways[way]
        if isinstance(graph, Path) and graph != path:  # `path` itself was checked when named
            check_graph(graph, len(read_card(graph).classes))
        return _open_way(way, graph, callers, threads)

    if len(ways) == 1:
        return opener(next(iter(ways)), callers)
    parts = [f"{way} {_version(way.engine)}" for way in ways]
    parts += [model_digest(file) for file in ways.values() if isinstance(file, Path)]
    key = [_model_digest(path), threads or cores(), processor_kind(), *parts]
    return MeasuredEngine([*ways], opener, callers, key)


def list_ways(path: Path, engine: str) -> dict[Way, bytes | Path]:
    """Return how engines for the CPU can run a file, plain fp32 first, with the graph of each.

    PyTorch is none of them: it is for where nothing else is installed.
    """
    names = RUN_BY[path.suffix] if engine == "auto" else [engine]
    graph = _graph_of(path)
    ways: dict[Way, bytes | Path] = {}
    for name in names:
        if name == "openvino" and find_spec(name):
            from sgcp.inference.engines.openvino_engine import precisions

            ways |= {Way(name, precision): graph for precision in precisions()}
            with suppress(SgcpError):
                ways[Way(name, "int8")] = int8_export_of(path)
        elif name == "onnxruntime" and find_spec(name):
            ways[Way(name, "fp32")] = graph
    return ways


def _graph_of(path: Path) -> bytes | Path:
    return onnx_of(path) if path.suffix == ".safetensors" else path


def _open_way(way: Way, model: bytes | Path, callers: int, threads: int | None) -> Engine:
    if way.engine == "openvino":
        from sgcp.inference.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(model, way.precision, callers, threads)
    from sgcp.inference.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, way.precision, callers, threads)


def int8_export_of(path: Path) -> Path:
    """Return the export ``NAME-int8.xml`` beside a model, which measured labels like its own.

    Raises:
        SgcpError: there is none; it is of other weights or classes, of fixed size or with labels;
            or 8 bits cost more than ``MOST_CHANGED`` and ``MOST_LOST``, or an unknown amount.
    """
    found = path.with_name(path.stem + INT8_ENDING)
    command = f"sgcp export {path} {found} --int8"
    card = read_card(found, command)
    try:
        export = card.provenance["export"]
        weights, plain = export["weights_sha256"], not (export["labels"] or export["size"])
        scores = export["int8"]["scores"]
        changed, lost = 1 - scores["equal_labels"], -scores["miou_difference"]
    except (KeyError, TypeError):
        weights, plain, changed, lost = file_sha256(path), True, 1, 1
    if weights != file_sha256(path) or card.classes != read_card(path).classes or not plain:
        raise SgcpError(
            f"{found}: not an export of {path} as it is, for images of any size and with scores; "
            f"run `{command}` again"
        )
    if not (changed <= MOST_CHANGED and lost <= MOST_LOST):
        raise SgcpError(
            f"{found}: its description does not say that at most {MOST_CHANGED:.0%} of the labels "
            f"change and {100 * MOST_LOST:.1f} points of mIoU are lost; load it by its own name"
        )
    return found


def choose_engine(path: Path, device: str, engine: str) -> str:
    """Return the engine that ``engine`` means for a file; ``auto``: the first that is installed."""
    able = [name for name in RUN_BY[path.suffix] if device != "cuda" or name == "torch"]
    installed = [name for name in able if find_spec(name)]
    if engine in ("auto", *installed) and installed:
        return installed[0] if engine == "auto" else engine
    ways = [f"take one of {', '.join(installed)}"] if installed else []
    if missing := [name for name in able if name not in installed]:
        lacking = engine if engine in missing else missing[0]
        ways.append(f"run `{install_command(lacking)}`")
    raise SgcpError(
        f"engine: '{engine}' does not run {path} on {device}; "
        f"{', or '.join(ways) or 'pass the .safetensors that it was exported from'}"
    )


def onnx_of(path: Path) -> bytes:
    """Return a model of ours as an ONNX graph for images of any size.

    That of bundled weights is part of the package. Any other is kept in the user's cache, by the
    content of the model's files: the next call needs no torch, whose import takes longer than
    twenty images. Raises SgcpError where torch has to make the graph and is not installed.
    """
    content = _graph_at_hand(path)
    if content is None:
        if not find_spec("torch"):
            raise SgcpError(
                f"{path}: needs torch to become a graph, and torch is not installed. Run "
                f"`{install_command('torch')}`, or load what `sgcp export {path} MODEL.xml` writes "
                "where torch is installed"
            )
        content = _export(path)
        write_cached("graphs", _model_digest(path), content)
    return content


def _graph_at_hand(path: Path) -> bytes | None:
    bundled = path.with_suffix(".onnx")
    if path.parent == BUNDLED and bundled.is_file():
        return bundled.read_bytes()
    return read_cached("graphs", _model_digest(path))


def cache_onnx(path: Path) -> None:
    """Put a model's graph into the cache by a process of its own; where that fails, do nothing.

    Exporting it in this process would import torch, which takes half a gigabyte from then on.
    """
    if path.is_file() and not _graph_at_hand(path):
        with suppress(OSError):
            subprocess.run([sys.executable, "-c", EXPORT, path], capture_output=True, check=False)


def _model_digest(path: Path) -> str:
    """Digest a model and the code that runs it."""
    return json_digest([model_digest(path), code_digest("inference", "models")])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a build of another name
        return ""


def _export(path: Path) -> bytes:
    from sgcp.inference.graph import InferenceGraph, to_onnx
    from sgcp.models.artifact import load_model

    return to_onnx(InferenceGraph(*load_model(path)))
