"""The models and engines on offer; the last one used stays loaded."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sgcp.core.errors import SgcpError
from sgcp.inference.engines.choice import BUNDLED, ENGINES, cache_onnx
from sgcp.inference.segmenter import Segmenter, find_model, load


def offered_models(given: Sequence[str], project: Path | None) -> list[str]:
    """Return the models on offer: ``given`` by the user, bundled, and in the project's data/models.

    Raises:
        SgcpError: a given model does not exist, or there is none at all.
    """
    for name in given:
        find_model(name)
    bundled = sorted(path.stem for path in BUNDLED.glob("*.safetensors"))
    trained = sorted(project.glob("data/models/*/model.safetensors")) if project else []
    models = list(dict.fromkeys([*given, *bundled, *(str(path.parent) for path in trained)]))
    if not models:
        raise SgcpError("no model: none is bundled. Name one: --model data/models/DATASET")
    return models


def offered_engines(device: str) -> list[str]:
    """Return the installed engines; on a CPU torch, the slowest, only if it is the only one."""
    if device == "cuda":
        return ["auto", "torch"]
    installed = [engine for engine in ENGINES if find_spec(engine)]
    return ["auto", *([engine for engine in installed if engine != "torch"] or installed)]


class ModelCache:
    """Load one of ``models`` at a time, and never another; for one thread."""

    def __init__(self, models: Sequence[str], device: str) -> None:
        self.models, self.engines, self.device = list(models), offered_engines(device), device
        self.loaded: tuple[tuple[str, str], Segmenter] | None = None

    def take(self, model: str, engine: str) -> Segmenter:
        """Return a model on an engine; raise SgcpError if it is not on offer, or damaged."""
        if model not in self.models or engine not in self.engines:
            raise SgcpError("weights or engine are not on offer. Reload the page")
        if self.loaded is None or self.loaded[0] != (model, engine):
            self.loaded = None  # two would take the memory of both
            path = find_model(model)
            if "torch" not in self.engines and path.suffix == ".safetensors":
                cache_onnx(path)
            self.loaded = (model, engine), load(model, self.device, engine)
        return self.loaded[1]
