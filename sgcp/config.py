"""``params.yaml`` -> frozen, validated settings, one object a section.

Every key must be written in the file: a knob with a silent default is a knob nobody can trace.
"""

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sgcp.errors import SgcpError

PARAMS_FILE = "params.yaml"

Count = Annotated[int, Field(ge=1)]
Size = tuple[Count, Count]  # (height, width), pixels
Split = Literal["train", "val", "test"]
Protocol = Literal["strict", "grouped"]


class Section(BaseModel):
    """A part of ``params.yaml``: no unknown keys, no coercion, no change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MachineSettings(Section):
    """What the machine has. Not tracked by DVC: it changes speed, never a stage's task."""

    accelerator: Literal["auto", "cpu", "cuda"]
    """Device kind to train and predict on."""
    devices: Literal["auto"] | Count
    """Processes on this machine, one a device; ``auto``: every GPU, or one CPU process."""
    num_nodes: Count
    """Machines that train together (under torchrun)."""
    loader_workers: Annotated[int, Field(ge=0)]
    """Processes that decode and augment, a training process; 0: in the training process."""
    prepare_workers: Literal["auto"] | Count
    """Processes that convert labels; ``auto``: one a core."""


class SampleDownload(Section):
    """How the embedded sample is generated."""

    seed: Annotated[int, Field(ge=0)]
    """Same seed, same bytes."""
    size: Size
    """Height and width of every image, pixels."""
    train: Count
    """Images of the training split."""
    val: Count
    """Images of the validation split."""
    test: Count
    """Images of the test split (no labels)."""


class ArchiveDownload(Section):
    """Where a public dataset comes from."""

    edition: str
    """Which edition listed in ``pipeline/datasets`` to fetch."""
    archives: tuple[str, ...]
    """Archives already on disk, used instead of downloading."""


class CamVidDownload(ArchiveDownload):
    """CamVid: an edition, downloaded or from archives on disk."""

    edition: Literal["segnet", "cambridge"]
    """``segnet``: 480x360, 11 classes; ``cambridge``: 960x720, 32 classes."""


class CityscapesDownload(ArchiveDownload):
    """Cityscapes: an existing folder, archives on disk, or an account."""

    edition: Literal["fine"]
    """``fine``: gtFine and leftImg8bit, 5000 images."""
    root: str | None
    """Folder that holds ``leftImg8bit`` and ``gtFine``, linked rather than copied."""


class PolygonPrepare(Section):
    """Polygons to train-id label maps, by cityscapesScripts."""

    allow_missing: bool
    """Go on when images of the published splits are absent."""


class CamVidPrepare(Section):
    """CamVid labels to 11 classes."""

    protocol: Protocol
    """How 32 classes become 11: ``strict`` ignores the other 21, ``grouped`` merges as SegNet."""
    allow_missing: bool
    """Go on when frames of the published splits are absent."""


class TrainSettings(Section):
    """The recipe: what is learned, from what, for how long."""

    seed: Annotated[int, Field(ge=0)]
    """Seeds initial weights, order and augmentation."""
    split: Split
    """Split to learn from."""
    encoder: Literal["sgcp", "mobilenet_v3_small"]
    """The authors' encoder, or torchvision's MobileNetV3-Small."""
    encoder_weights: str | None
    """Checkpoint that initialises the encoder, or null: from scratch."""
    epochs: Count
    """Passes over the training split."""
    batch_size: Annotated[int, Field(ge=2)]
    """Images a step, over all processes together; 2 at least, for batch norm."""
    optimizer: Literal["sgd", "adamw"]
    """SGD with momentum (the authors'), or AdamW."""
    lr: Annotated[float, Field(gt=0)]
    """Peak learning rate."""
    encoder_lr_factor: Annotated[float, Field(ge=0)]
    """The encoder's learning rate, as a multiple of ``lr``."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Momentum of SGD, first beta of AdamW."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Decay of all parameters."""
    schedule: Literal["poly", "one-cycle"]
    """``poly``: (1 - step / steps) ** power; ``one-cycle``: warm-up, then cosine."""
    poly_power: Annotated[float, Field(gt=0)]
    """Power of the poly schedule."""
    warmup: Annotated[float, Field(ge=0, lt=1)]
    """Share of all steps over which the rate rises to its peak."""
    crop: Size
    """Height and width of a training crop, pixels."""
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
    """Range of the random resizing factor."""
    min_short_side: Annotated[int, Field(ge=0)]
    """Resizing never takes the short side below this, pixels."""
    flip: Annotated[float, Field(ge=0, le=1)]
    """Probability of mirroring left and right."""
    color_jitter: Annotated[float, Field(ge=0, lt=1)]
    """Strength of random brightness, contrast and saturation; 0: none."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of the target spread over all classes."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Arithmetic of the forward and backward pass."""
    validate_every: Count
    """Epochs between two validations; the last epoch is always validated."""
    validate_split: Split
    """Split that chooses the best epoch."""
    keep: Literal["best", "last"]
    """Which epoch becomes ``model.safetensors``."""

    @model_validator(mode="after")
    def check_ranges(self) -> "TrainSettings":
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: the range must rise, got {list(self.scale)}")
        return self


class ValidateSettings(Section):
    """How a model is scored."""

    split: Split
    """Split to score; it must not overlap the split trained on."""
    input_size: Size | None
    """Resize images to this before the network, or null: their own size."""
    panels: Annotated[int, Field(ge=0)]
    """Image / truth / prediction panels to draw."""


class PredictSettings(Section):
    """How test images are labelled."""

    split: Split
    """Split to label."""
    input_size: Size | None
    """Resize images to this before the network, or null: their own size."""


class PackageSettings(Section):
    """How predictions are packed."""

    compression: Annotated[int, Field(ge=0, le=9)]
    """Deflate level of the zip; PNGs hardly shrink, so 0 stores them."""


class DatasetSettings(Section):
    """What every dataset has, a subsection a stage."""

    train: TrainSettings
    validate_: ValidateSettings = Field(alias="validate")
    predict: PredictSettings
    package: PackageSettings


class SampleSettings(DatasetSettings):
    """The embedded sample."""

    download: SampleDownload
    prepare: PolygonPrepare


class CamVidSettings(DatasetSettings):
    """CamVid."""

    download: CamVidDownload
    prepare: CamVidPrepare


class CityscapesSettings(DatasetSettings):
    """Cityscapes."""

    download: CityscapesDownload
    prepare: PolygonPrepare


DatasetName = Literal["sample", "camvid", "cityscapes"]


class Params(Section):
    """All of ``params.yaml``."""

    datasets: Annotated[tuple[DatasetName, ...], Field(min_length=1)]
    """Datasets that ``dvc repro`` takes through the chain."""
    machine: MachineSettings
    sample: SampleSettings
    camvid: CamVidSettings
    cityscapes: CityscapesSettings

    @model_validator(mode="after")
    def check_datasets(self) -> "Params":
        if len(set(self.datasets)) < len(self.datasets):
            raise ValueError(f"datasets: names one twice: {', '.join(self.datasets)}")
        return self

    def dataset(self, name: str) -> SampleSettings | CamVidSettings | CityscapesSettings:
        """Return the section of one dataset.

        Raises:
            SgcpError: there is no such dataset.
        """
        if name not in DATASET_NAMES:
            raise SgcpError(f"unknown dataset '{name}'; choose one of {', '.join(DATASET_NAMES)}")
        section: SampleSettings | CamVidSettings | CityscapesSettings = getattr(self, name)
        return section

    def only_dataset(self) -> str:
        """Return the enabled dataset where there is exactly one.

        Raises:
            SgcpError: several are enabled, so one must be named.
        """
        if len(self.datasets) > 1:
            raise SgcpError(
                f"params.yaml enables {len(self.datasets)} datasets: "
                f"name one of {', '.join(self.datasets)}"
            )
        return self.datasets[0]


DATASET_NAMES = ("sample", "camvid", "cityscapes")


def find_project(start: Path) -> Path:
    """Return the nearest folder at or above ``start`` that holds ``params.yaml``.

    Raises:
        SgcpError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / PARAMS_FILE).is_file():
            return folder
    raise SgcpError(f"no {PARAMS_FILE} in {start} or above it; run sgcp inside the project")


def load_params(path: Path) -> Params:
    """Read and validate a ``params.yaml``.

    YAML 1.2, as DVC reads it: ``1e-5`` is a number and keys cannot repeat.

    Raises:
        SgcpError: unreadable, or every key that is unknown, missing, of a wrong type or impossible,
            each by its full name with what would be right.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        # Through JSON, pydantic's strict mode takes lists for tuples and still coerces nothing.
        return Params.model_validate_json(json.dumps(content))
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise SgcpError(f"{path}: not UTF-8 text ({error.reason})") from None
    except YAMLError as error:
        raise SgcpError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except (TypeError, RecursionError):
        raise SgcpError(f"{path}: holds values other than text, numbers, lists and maps") from None
    except ValidationError as error:
        raise SgcpError(explain(error, path)) from None


def explain(error: ValidationError, path: Path) -> str:
    """Put pydantic's findings into words: one line a key, by its full name."""
    lines = []
    for finding in error.errors(include_url=False):
        name = ".".join(
            str(part)
            for part in finding["loc"]
            if not (isinstance(part, str) and part.startswith(("constrained-", "literal[")))
        )
        lines.append(f"  {_explain_one(name, finding)}")
    return f"{path.name} is not valid:\n" + "\n".join(dict.fromkeys(lines))


def _explain_one(name: str, finding: Any) -> str:
    if finding["type"] == "missing" and isinstance(finding["loc"][-1], int):
        return f"{name.rpartition('.')[0]}: too few values"
    if finding["type"] == "missing":
        return f"{name}: missing; every key must be written"
    if finding["type"] == "extra_forbidden":
        siblings = _keys_beside(finding["loc"])
        close = difflib.get_close_matches(str(finding["loc"][-1]), siblings, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(siblings)}"
        return f"{name}: unknown key; {hint}"
    if finding["type"] == "value_error":
        return ".".join(filter(None, [name, str(finding["ctx"]["error"])]))
    message = finding["msg"].replace("Input should be", "should be")
    return f"{name}: {message[0].lower()}{message[1:]}, got {json.dumps(finding['input'])[:80]}"


def _keys_beside(location: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section of an unknown key does have."""
    section: type[BaseModel] = Params
    for part in location[:-1]:
        for key, field in section.model_fields.items():
            if (field.alias or key) == part and isinstance(field.annotation, type):
                section = field.annotation
    return [field.alias or key for key, field in section.model_fields.items()]
