"""The sections of ``params.yaml`` as frozen objects, into which ``load`` reads the file.

Every key must be written in the file: a knob with a silent default is a knob nobody can trace.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, create_model, model_validator

from sgcp.core.errors import SgcpError
from sgcp.core.layout import DATASET_NAMES, DatasetName
from sgcp.settings.base import (
    Count,
    Factor,
    Images,
    PathText,
    Processes,
    Section,
    Seed,
    Size,
    Split,
)
from sgcp.settings.training import TrainSettings as TrainSettings

Protocol = Literal["strict", "grouped"]
Candidate = Literal["reference", "torch", "onnxruntime", "openvino", "int8", "lraspp", "linknet"]


class MachineSettings(Section):
    """What the machine has. Not tracked by DVC: it changes speed, never a stage's task."""

    accelerator: Literal["auto", "cpu", "cuda"]
    """Device kind to train and predict on."""
    devices: Literal["auto"] | Processes
    """Processes on this machine, one a device; ``auto``: every GPU, or one CPU process."""
    num_nodes: Count
    """Machines that train together (under torchrun)."""
    engine: Literal["auto", "torch", "openvino", "onnxruntime"]
    """What runs a trained network on a CPU; ``auto``: the first that is installed of openvino,
    onnxruntime and torch."""
    threads: Literal["auto"] | Processes
    """Threads of torch, a training process; ``auto``: one a core. Other numbers round otherwise."""
    loader_workers: Literal["auto"] | Annotated[int, Field(ge=0, le=256)]
    """Processes that decode and augment, a training process; 0: threads of the training process."""
    cache_megabytes: Annotated[int, Field(ge=0, le=1_000_000)]
    """Memory for decoded training images, of all loader processes of a training process; MiB."""
    compile: Literal["auto"] | bool
    """Compile the network for training; ``auto``: on long runs, where there is a C++ compiler."""
    prepare_workers: Literal["auto"] | Processes
    """Processes that convert and compare labels; ``auto``: one a core."""
    checkpoint_seconds: Annotated[float, Field(ge=0, le=86400)]
    """Training saves its state this often: at most this much work is lost; 0: every step."""


class SampleDownload(Section):
    """How the embedded sample is generated."""

    seed: Seed
    """Same seed, same bytes."""
    size: Size
    """Height and width of every image, pixels."""
    train: Images
    """Images of the training split."""
    val: Images
    """Images of the validation split."""
    test: Images
    """Images of the test split (no labels)."""


class ArchiveDownload(Section):
    """Where a public dataset comes from."""

    edition: str
    """Which edition listed in ``pipeline/datasets`` to fetch."""
    archives: tuple[PathText, ...]
    """Archives already on disk, used instead of downloading."""


class CamVidDownload(ArchiveDownload):
    """CamVid: an edition, downloaded or from archives on disk."""

    edition: Literal["segnet", "cambridge", "kaggle"]
    """``segnet``: 480x360, 11 classes; ``cambridge``: 960x720, 32 classes; ``kaggle``: the same
    with a split of its own."""


class FolderDownload(ArchiveDownload):
    """A dataset that may lie in a folder already."""

    root: PathText | None
    """Folder that holds it, linked rather than copied."""


class PrepareSettings(Section):
    """Labels to train-id label maps."""

    allow_missing: bool
    """Leave out images without a label map and label maps without an image."""


class CamVidPrepare(PrepareSettings):
    """CamVid labels to 11 classes."""

    protocol: Protocol
    """How 32 classes become 11: ``strict`` ignores the other 21, ``grouped`` merges as SegNet."""


# What `download` and `prepare` of a dataset are set by, where it is other than of most.
SECTIONS: dict[str, tuple[type[Section], type[Section]]] = {
    "sample": (SampleDownload, PrepareSettings),
    "camvid": (CamVidDownload, CamVidPrepare),
}


class LabelSettings(Section):
    """How a split is labelled."""

    split: Split
    """Split to label."""
    input_size: Size | None
    """Resize images to this before the network, rounded to multiples of 8; null: as trained."""
    flip: bool
    """Look at each image mirrored too, and average."""
    scales: Annotated[tuple[Factor, ...], Field(min_length=1)]
    """Look at each image at these multiples of its input size, and average."""
    window: Size | None
    """Look through overlapping windows of this height and width, or null: at all at once."""
    precision: Literal["fp32", "bf16", "fp16"]
    """Arithmetic of the network: bf16 where the processor has it, fp16 on a GPU."""


class ValidateSettings(LabelSettings):
    """How a model is scored, on a split that does not overlap the one trained on."""

    panels: Annotated[int, Field(ge=0, le=4)]
    """Best, median and worst images to draw and to show in the report, this many of each."""


class PredictSettings(LabelSettings):
    """How test images are labelled."""


class BenchmarkSettings(Section):
    """What speed is measured on."""

    size: Size
    """Height and width of the images, to which those of the dataset are resized."""
    images: Annotated[int, Field(ge=1, le=1000)]
    """Images of the validation split in the folder that is labelled."""
    rounds: Annotated[int, Field(ge=1, le=1000)]
    """Turns of each candidate, of three timed runs each."""
    threads: Processes | None
    """Cores to use, or null: all."""
    candidates: Annotated[tuple[Candidate, ...], Field(min_length=1)]
    """Engines, the authors' way and other networks to time by turns."""


class PackageSettings(Section):
    """How predictions are packed."""

    compression: Annotated[int, Field(ge=0, le=9)]
    """Deflate level of the zip; PNGs hardly shrink, so 0 stores them."""


class ReportSettings(Section):
    """What the page about a run shows."""

    against: PathText | None
    """Metrics file of an earlier run to compare with, or ``REV:PATH`` in git; null: none."""


class DatasetSettings(Section):
    """What every dataset has, a subsection a stage."""

    recipes: Annotated[dict[str, TrainSettings], Field(min_length=1, alias="train")]
    """Ways to train, by name."""
    validate_: ValidateSettings = Field(alias="validate")
    predict: PredictSettings
    package: PackageSettings
    benchmark: BenchmarkSettings
    report: ReportSettings

    _dataset: str = ""
    _recipe: str = ""
    _changes: Sequence[str] = ()

    def select(self, recipe: str, changes: Sequence[str] = ()) -> None:
        """Choose the recipe that ``train`` returns; ``changes`` are those of the command line."""
        self._recipe, self._changes = recipe, changes

    @property
    def train(self) -> TrainSettings:
        """The selected recipe; SgcpError if there is none of that name or its keys contradict."""
        if self._recipe not in self.recipes:
            raise SgcpError(
                f"recipe: {self._dataset} has no '{self._recipe}'; it has "
                f"{', '.join(self.recipes)}. Choose one, or add it below {self._dataset}.train"
            )
        recipe = self.recipes[self._recipe]
        if problem := recipe.contradiction():
            raise SgcpError(f"{self._dataset}.train.{self._recipe}.{problem}")
        recipe._recipe = self._recipe + (f" ({', '.join(self._changes)})" if self._changes else "")
        return recipe


def _dataset_section(name: str) -> Any:
    """Return the field of ``params.yaml`` for one dataset: its type, and that it is required."""
    download, prepare = SECTIONS.get(name, (FolderDownload, PrepareSettings))
    fields: dict[str, Any] = {"download": (download, ...), "prepare": (prepare, ...)}
    return create_model(f"{name}Settings", __base__=DatasetSettings, **fields), ...


_datasets: Any = create_model(
    "Datasets", __base__=Section, **{name: _dataset_section(name) for name in DATASET_NAMES}
)


class Params(_datasets):
    """All of ``params.yaml``."""

    datasets: Annotated[tuple[DatasetName, ...], Field(min_length=1)]
    """Datasets that ``dvc repro`` takes through the chain."""
    recipe: str
    """The recipe that trains each dataset."""
    machine: MachineSettings
    defaults: dict[str, Any]
    """Sections that others merge by ``<<``, where their keys are checked."""

    @model_validator(mode="after")
    def finish(self) -> "Params":
        """Refuse a dataset named twice, and tell each section which recipe is meant."""
        if len(set(self.datasets)) < len(self.datasets):
            raise ValueError(f"datasets: names one twice: {', '.join(self.datasets)}")
        for name in DATASET_NAMES:
            section = self.dataset(name)
            section._dataset = name
            section.select(self.recipe)
        return self

    def dataset(self, name: str) -> Any:
        """Return the section of one dataset; raise SgcpError for an unknown one."""
        if name not in DATASET_NAMES:
            raise SgcpError(f"unknown dataset '{name}'; choose one of {', '.join(DATASET_NAMES)}")
        return getattr(self, name)

    def only_dataset(self) -> str:
        """Return the enabled dataset; if several are enabled, ask for the name of one."""
        if len(self.datasets) > 1:
            raise SgcpError(
                f"params.yaml enables {len(self.datasets)} datasets: "
                f"name one of {', '.join(self.datasets)}"
            )
        return self.datasets[0]
