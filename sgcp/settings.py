"""The sections of ``params.yaml`` as frozen objects; ``sgcp.config`` reads the file into them.

Every key must be written in the file: a knob with a silent default is a knob nobody can trace.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sgcp.errors import SgcpError


def _path_text(text: str) -> str:
    """Refuse what names no file: nothing, as of a variable that is not set, and a NUL."""
    if not text.strip() or "\0" in text:
        raise ValueError(f"{text!r} is no path; write null for none")
    return text


PathText = Annotated[str, AfterValidator(_path_text)]
Count = Annotated[int, Field(ge=1)]
Processes = Annotated[int, Field(ge=1, le=256)]
Images = Annotated[int, Field(ge=1, le=100_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Side = Annotated[int, Field(ge=1, le=16384)]
Size = tuple[Side, Side]  # (height, width), pixels
Factor = Annotated[float, Field(ge=0.01, le=16)]
Split = Literal["train", "val", "test"]
Protocol = Literal["strict", "grouped"]
Contender = Literal["reference", "torch", "onnxruntime", "openvino", "int8", "lraspp", "linknet"]


class Section(BaseModel):
    """A part of ``params.yaml``: no unknown keys, no coercion, no change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MachineSettings(Section):
    """What the machine has. Not tracked by DVC: it changes speed, never a stage's task."""

    accelerator: Literal["auto", "cpu", "cuda"]
    """Device kind to train and predict on."""
    devices: Literal["auto"] | Processes
    """Processes on this machine, one a device; ``auto``: every GPU, or one CPU process."""
    num_nodes: Count
    """Machines that train together (under torchrun)."""
    engine: Literal["auto", "torch", "openvino", "onnxruntime"]
    """What runs a trained network on a CPU; ``auto``: the fastest that is installed."""
    loader_workers: Literal["auto"] | Annotated[int, Field(ge=0, le=256)]
    """Processes that decode and augment, a training process; 0: threads of the training process."""
    cache_megabytes: Annotated[int, Field(ge=0, le=1_000_000)]
    """Memory for decoded training pictures, of all loader processes of a training process; MiB."""
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

    edition: Literal["segnet", "cambridge"]
    """``segnet``: 480x360, 11 classes; ``cambridge``: 960x720, 32 classes."""


class CityscapesDownload(ArchiveDownload):
    """Cityscapes: an existing folder, archives on disk, or an account."""

    edition: Literal["fine"]
    """``fine``: gtFine and leftImg8bit, 5000 images."""
    root: PathText | None
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

    seed: Seed
    """Seeds initial weights, order and augmentation."""
    split: Split
    """Split to learn from."""
    encoder: Literal["sgcp", "mobilenet_v3_small"]
    """The authors' encoder, or torchvision's MobileNetV3-Small."""
    encoder_weights: PathText | None
    """Checkpoint that initialises the encoder, or null: from scratch."""
    epochs: Count
    """Passes over the training split."""
    batch_size: Annotated[int, Field(ge=2)]
    """Images a step, over all processes together; 2 at least, for batch norm."""
    optimizer: Literal["sgd", "adamw"]
    """SGD with momentum (the authors'), or AdamW."""
    lr: Annotated[float, Field(gt=0, le=1000)]
    """Peak learning rate."""
    encoder_lr_factor: Annotated[float, Field(ge=0, le=1000)]
    """The encoder's learning rate, as a multiple of ``lr``."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Momentum of SGD, first beta of AdamW."""
    weight_decay: Annotated[float, Field(ge=0, le=10)]
    """Decay of all parameters."""
    schedule: Literal["poly", "one-cycle"]
    """``poly``: (1 - step / steps) ** power; ``one-cycle``: warm-up, then cosine."""
    poly_power: Annotated[float, Field(gt=0)]
    """Power of the poly schedule."""
    warmup: Annotated[float, Field(ge=0, lt=1)]
    """Share of all steps over which the rate rises to its peak."""
    crop: Size
    """Height and width of a training crop, pixels."""
    scale: tuple[Factor, Factor]
    """Range of the random resizing factor."""
    min_short_side: Annotated[int, Field(ge=0, le=16384)]
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
        """Refuse ranges that fall."""
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale: the range must rise, got {list(self.scale)}")
        return self


class ValidateSettings(Section):
    """How a model is scored."""

    split: Split
    """Split to score; it must not overlap the split trained on."""
    input_size: Size | None
    """Resize images to this before the network, or null: their own size."""
    precision: Literal["fp32", "bf16", "fp16"]
    """Arithmetic of the network: bf16 where the processor has it, fp16 on a GPU."""
    panels: Annotated[int, Field(ge=0)]
    """Image / truth / prediction panels to draw."""


class PredictSettings(Section):
    """How test images are labelled."""

    split: Split
    """Split to label."""
    input_size: Size | None
    """Resize images to this before the network, or null: their own size."""
    precision: Literal["fp32", "bf16", "fp16"]
    """Arithmetic of the network: bf16 where the processor has it, fp16 on a GPU."""


class BenchmarkSettings(Section):
    """What speed is measured on."""

    size: Size
    """Height and width of the pictures, to which those of the dataset are resized."""
    images: Annotated[int, Field(ge=1, le=1000)]
    """Pictures of the validation split in the folder that is labelled."""
    rounds: Annotated[int, Field(ge=1, le=1000)]
    """Turns of each contender, of three timed runs each."""
    threads: Processes | None
    """Cores to use, or null: all."""
    contenders: Annotated[tuple[Contender, ...], Field(min_length=1)]
    """Engines, the authors' way and other networks to time by turns."""


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
    benchmark: BenchmarkSettings


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
        """Refuse a dataset named twice."""
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
