"""Our model files: ``NAME.safetensors`` (weights) with ``NAME.json`` (what they mean) beside it."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor
from typing_extensions import TypedDict

from sgcp.errors import SgcpError
from sgcp.files import read_json, to_json, write_together
from sgcp.models.network import IMAGENET_MEAN, IMAGENET_STD, EncoderName, SGCPNet
from sgcp.models.tensors import MAX_CLASSES, load_strictly, refuse_overflow

FORMAT = 1
MAX_BYTES = 2**26  # of weights; the larger encoder's are below 2**23

Byte = Annotated[int, Field(ge=0, le=255)]
Mean = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(ge=1e-3, le=10)]  # pictures are divided by it


class ClassRow(TypedDict):
    """One class in the order of the network's outputs."""

    train_id: Byte
    label_id: Byte
    name: str
    color: Annotated[list[Byte], Field(min_length=3, max_length=3)]


@dataclass(frozen=True, config=ConfigDict(strict=True))
class ModelCard:
    """What a model's numbers mean: its classes in order, its input, where it comes from."""

    classes: Annotated[list[ClassRow], Field(min_length=1, max_length=MAX_CLASSES)]
    """A row a class, in order of train id."""
    dataset: str
    edition: str
    protocol: str
    encoder: EncoderName = "sgcp"
    mean: tuple[Mean, Mean, Mean] = IMAGENET_MEAN
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
    trained_size: tuple[int, int] | None = None
    """Crop (height, width) it was trained on, pixels; None if unknown."""
    trained_on: dict[str, str] = dataclasses.field(default_factory=dict)
    """Pictures it learnt from, which it is never scored on: digest of the pixels by stem."""
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Settings, seed, epoch, versions; or the imported file."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of the JSON file."""
        return {"format": FORMAT, "architecture": "SGCPNet"} | dataclasses.asdict(self)


CARD = TypeAdapter(ModelCard)


def save_model(network: SGCPNet, weights: dict[str, Tensor], card: ModelCard, path: Path) -> None:
    """Write ``path`` (``.safetensors``) and the JSON beside it.

    Args:
        weights: state dict of ``network``, or of an earlier epoch of it.
    """
    if weights.keys() != network.state_dict().keys():
        raise ValueError("the weights are not those of the network")
    if len(card.classes) != network.num_classes:
        raise ValueError(f"{len(card.classes)} classes described, {network.num_classes} scored")
    content = save_tensors({key: value.contiguous() for key, value in weights.items()})
    description = to_json(card.to_json()).encode()
    write_together({path: content, path.with_suffix(".json"): description})


def load_model(path: Path) -> tuple[SGCPNet, ModelCard]:
    """Read a model, in evaluation mode.

    Args:
        path: the ``.safetensors`` file, or a folder that holds ``model.safetensors``.

    Raises:
        SgcpError: a file is missing, damaged, or the two do not belong together.
    """
    path = path / "model.safetensors" if path.is_dir() else path
    if path.suffix != ".safetensors":
        raise SgcpError(
            f"{path}: expected a .safetensors file or its folder; an authors' .pth.tar is turned "
            "into one by `sgcp import-checkpoint FILE OUT`"
        )
    card = _read_card(path.with_suffix(".json"))
    tensors = _read_tensors(path)
    network = SGCPNet(len(card.classes), card.encoder)
    load_strictly(network, tensors, path)
    refuse_overflow(network.eval(), path)
    return network, card


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SgcpError(f"{path}: no such file; train first, or give another path")
    if path.stat().st_size > MAX_BYTES:
        raise SgcpError(f"{path}: {path.stat().st_size:,} bytes, far more than this network has")
    try:
        return load_tensors(path.read_bytes())
    # KeyError: a type that torch does not have; RuntimeError: a shape that it cannot make.
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise SgcpError(f"{path}: damaged ({error}); get it again") from None


def _read_card(path: Path) -> ModelCard:
    content = read_json(path, made_by="sgcp train")
    if content.pop("format", None) != FORMAT or content.pop("architecture", None) != "SGCPNet":
        raise SgcpError(f"{path}: not a model description of format {FORMAT}")
    # A description without, say, `trained_on` would let a model be scored on what it learnt.
    fields = {field.name for field in dataclasses.fields(ModelCard)}
    if odd := sorted(fields ^ content.keys()):
        raise SgcpError(f"{path}: damaged model description: lacks or has too much: {odd[:5]}")
    try:
        card = CARD.validate_json(json.dumps(content))
    except ValidationError as error:
        finding = error.errors()[0]
        name = ".".join(map(str, finding["loc"]))
        raise SgcpError(f"{path}: damaged model description: {name}: {finding['msg']}") from None
    names = [row["name"] for row in card.classes]
    if len(set(names)) < len(names):
        raise SgcpError(f"{path}: damaged model description: a class stands there twice")
    return card
