"""What a model's numbers mean: the JSON beside its weights. Read without importing torch."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from sgcp.core.errors import SgcpError
from sgcp.core.files import json_digest, read_json
from sgcp.core.layout import Layout
from sgcp.models import SGCPNET

FORMAT = 1
ARCHITECTURE = "SGCPNet"  # in the JSON of ``sgcpnet``
MAX_BYTES = 2**26  # of weights; the larger encoder's are below 2**23
MAX_CLASSES = 255  # labels are bytes, and 255 is none
MAX_ENLARGED = 2**23  # pixels that an image is enlarged to at most; 2048x4096 has as many
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in [0, 1]
IMAGENET_STD = (0.229, 0.224, 0.225)
EARLIER = {  # settings of a recipe that bring in what was trained before
    "encoder_weights": "with a pretrained encoder",
    "init": "started from another model",
    "teacher": "learned from a teacher",
}
# Settings that were added after results were committed, with the values that change nothing.
ADDED: dict[str, Any] = {"weights": {}, "max_minutes": None, "patience": None, "noise_from": 0.0}

EncoderName = Literal["sgcp", "mobilenet_v3_small"]
Byte = Annotated[int, Field(ge=0, le=255)]
Mean = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(ge=1e-3, le=10)]  # images are divided by it


def _check_provenance(provenance: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(provenance.get("export") or {}, dict):  # loading a model reads it
        raise ValueError("export: should be an object")
    return provenance


Provenance = Annotated[dict[str, Any], AfterValidator(_check_provenance)]


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
    """In order of train id."""
    dataset: str
    edition: str
    protocol: str
    network: str = SGCPNET
    """As ``sgcp.models.build_network`` names it."""
    encoder: EncoderName = "sgcp"
    mean: tuple[Mean, Mean, Mean] = IMAGENET_MEAN
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
    trained_size: tuple[int, int] | None = None
    """Crop (height, width) it was trained on, pixels; None if unknown."""
    input_side: Annotated[int, Field(ge=1, le=16384)] | None = None
    """Short side, pixels, at which the network is to see any image; None: the image's own."""
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Divides the scores before the softmax, so that confidence is the share of right labels."""
    trained_on: dict[str, str] = dataclasses.field(default_factory=dict)
    """Images it was trained on, which it is never scored on: digest of the pixels by name."""
    provenance: Provenance = dataclasses.field(default_factory=dict)
    """Settings, seed, epoch, versions; or the imported file."""

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) at which the network is to see an image of this size."""
        return input_size(height, width, self.input_side)

    @property
    def lineage(self) -> str:
        """Whether it was trained from scratch, or what other training is in it; "": unknown.

        Code of one's own, as a network, may load weights of which the card has no record.
        """
        settings = self.provenance.get("settings")
        if not isinstance(settings, dict):
            return ""
        named = [text for key, text in EARLIER.items() if settings.get(key)]
        if named:
            return f"not from scratch: {', '.join(named)}"
        return "" if ":" in self.network else "from scratch"

    def to_json(self, *weights: bytes) -> dict[str, Any]:
        """Return the content of the JSON file beside files of weights with these contents."""
        content = dataclasses.asdict(self)
        network = content.pop("network")
        digest = {DIGEST: hashlib.sha256(b"".join(weights)).hexdigest()} if weights else {}
        architecture = ARCHITECTURE if network == SGCPNET else network
        return {"format": FORMAT, "architecture": architecture} | digest | content


CARD = TypeAdapter(ModelCard)
STRIDE = 8  # pixels of the network's input for each of its scores
LATER = {"input_side", "temperature"}  # fields that the first descriptions of this format lack
DIGEST = "weights_sha256"  # in the JSON; descriptions from before it are read without a check
FOR_OTHERS = "preprocessing"  # repeats fields for other programs, in the JSON beside an export


def input_size(height: int, width: int, side: int | None) -> tuple[int, int]:
    """Return a size of the same proportions whose short side is ``side``; None: as it is.

    Both sides become whole cells, the nearest. Long strips are enlarged by less, to
    ``MAX_ENLARGED`` pixels: one of 1x16384 would else become an image that no memory holds.
    """
    factor = 1.0 if side is None else side / min(height, width)
    if factor > 1:
        factor = max(1.0, min(factor, math.sqrt(MAX_ENLARGED / (height * width))))
    return whole_cells(height * factor, width * factor)


def whole_cells(height: float, width: float) -> tuple[int, int]:
    """Return the nearest size whose sides are multiples of ``STRIDE``.

    Of another size, the last row and column of scores stand for less of the image than the others.
    Resized to the image they count as much, and labels move by up to 7 pixels up and left.
    """
    rows, columns = (max(1, round(side / STRIDE)) for side in (height, width))
    return STRIDE * rows, STRIDE * columns


def weights_path(path: Path) -> Path:
    """Return the file of weights that a path means: itself, or ``model.safetensors`` in a folder.

    Refuse another kind of file, or a far too long one.
    """
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise SgcpError(f"{path}: no such file; give the folder of a model, or its .safetensors")
    if path.suffix != ".safetensors":
        raise SgcpError(
            f"{path}: expected a .safetensors file or its folder; an authors' .pth.tar is turned "
            "into one by `sgcp import-checkpoint FILE OUT`"
        )
    if path.stat().st_size > MAX_BYTES:
        raise SgcpError(f"{path}: {path.stat().st_size:,} bytes, far more than this network has")
    return path


def stage_model(layout: Layout) -> Path:
    """Return the weights that ``train`` wrote; raise SgcpError if there are none."""
    path, command = layout.model / "model.safetensors", f"run `sgcp train {layout.dataset}`"
    if path.is_file():
        return weights_path(path)
    if layout.unfinished_curves.is_dir():
        raise SgcpError(f"{path}: not found: training was interrupted; {command} to finish it")
    raise SgcpError(f"{path}: not found; {command} first")


def recipe_digest(settings: Any) -> str:
    """Digest the settings of a recipe; it stays the same when keys are added that it does not use.

    ``settings``: a dictionary, or whatever stands for one where there are none.
    """
    if isinstance(settings, dict):
        used = (key for key in settings if key not in ADDED or settings[key] != ADDED[key])
        settings = {key: settings[key] for key in used}
    return json_digest(settings)


def model_digest(weights: Path) -> str:
    """Return the SHA-256 of a model's files, one after the other: what its numbers belong to.

    These are the weights (of an OpenVINO graph ``.xml`` and ``.bin``) and the JSON beside them:
    ``cat model.safetensors model.json | sha256sum``. A missing file adds nothing: loading the model
    refuses it.
    """
    return _digest_files(weights, ".json")


def _digest_files(weights: Path, *beside: str) -> str:
    graph = [".bin"] if weights.suffix == ".xml" else []
    paths = [weights.with_suffix(ending) for ending in (weights.suffix, *graph, *beside)]
    return hashlib.sha256(b"".join(p.read_bytes() for p in paths if p.is_file())).hexdigest()


def read_card(weights: Path, made_by: str = "sgcp train") -> ModelCard:
    """Read the JSON beside a model's weights; ``made_by`` is the command that makes both.

    Raise SgcpError if it is missing, damaged, not of this format, or of other weights.
    """
    path = weights.with_suffix(".json")
    if weights.is_file() and not path.is_file():
        raise SgcpError(
            f"{path}: not found. Copy it from where {weights.name} is from, or make both by "
            f"`{made_by}`"
        )
    content = read_json(path, made_by)
    architecture = content.pop("architecture", None)
    if content.pop("format", None) != FORMAT or not isinstance(architecture, str):
        raise SgcpError(f"{path}: not a model description of format {FORMAT}")
    content["network"] = SGCPNET if architecture == ARCHITECTURE else architecture
    content.pop(FOR_OTHERS, None)
    if content.pop(DIGEST, None) not in (None, _digest_files(weights)) and weights.is_file():
        raise SgcpError(
            f"{weights}: damaged, or not the weights that {path.name} describes: the SHA-256 "
            f"differs. Restore the two files that belong together, or run `{made_by}` again"
        )
    # A description without, say, `trained_on` would let a model be scored on what it learnt.
    fields = {field.name for field in dataclasses.fields(ModelCard)}
    if odd := sorted((fields ^ content.keys()) - (LATER - content.keys())):
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
