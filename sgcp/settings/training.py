"""The recipe: what is learned, from what, for how long."""

import json
from typing import Annotated, Literal

from pydantic import Field

from sgcp.settings.base import Count, Factor, PathText, Section, Seed, Side, Split

# Settings of a recipe that learns from all labelled images, and chooses nothing by them.
ALL_LABELLED = {"split": "trainval", "validate_split": None, "keep": "last", "patience": None}
Cells = Annotated[int, Field(ge=8, le=16384, multiple_of=8)]


class TrainSettings(Section):
    """The recipe: what is learned, from what, for how long."""

    seed: Seed
    """Seeds initial weights, order and augmentation."""
    split: Split | Literal["trainval"]
    """Split to learn from; ``trainval``: two of them, once nothing is left to be chosen."""
    holdout: PathText | None
    """Drive (city, recording or folder) of train and val that is scored, not learnt; null: none."""
    weights: dict[str, Annotated[float, Field(gt=0, le=1000)]]
    """How often the images of a drive, as of ``holdout``, come in an epoch; else once."""
    network: PathText
    """``sgcpnet``, another name of ``sgcp.models.NETWORKS``, or ``package.module:function``."""
    encoder: Literal["sgcp", "mobilenet_v3_small"]
    """Encoder of ``sgcpnet``: the authors', or torchvision's MobileNetV3-Small."""
    encoder_weights: PathText | None
    """Checkpoint that initialises the encoder, or null: from scratch. A network of one's own needs
    a method ``load_encoder_weights``, which takes the checkpoint's tensors by name."""
    init: PathText | None
    """Model to begin with: ours (its folder), or an authors' checkpoint; null: none."""
    epochs: Count
    """Passes over the training split; with ``max_minutes``, at most."""
    max_minutes: Annotated[float, Field(gt=0)] | None
    """Minutes of training and validation, after which training ends; the schedule follows the time
    where that is ahead of the epochs. null: no limit."""
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
    crop: tuple[Cells, Cells]
    """Height and width of a training crop, pixels: multiples of 8, the network's stride."""
    input_side: Side | None
    """Short side at which the network sees an image, pixels, or null: the image's own."""
    scale: tuple[Factor, Factor]
    """Range of the random resizing factor, on top of ``input_side``."""
    min_short_side: Annotated[int, Field(ge=0, le=16384)]
    """Resizing never takes the short side below this, pixels."""
    flip: Annotated[float, Field(ge=0, le=1)]
    """Probability of mirroring left and right."""
    color_jitter: Annotated[float, Field(ge=0, lt=1)]
    """Strength of random brightness, contrast and saturation; 0: none."""
    gamma: Annotated[float, Field(ge=0, le=4)]
    """Shares of white are raised to a random power from 1 / (1 + x) to 1 + x; 0: none."""
    channel_gain: Annotated[float, Field(ge=0, le=4)]
    """Each channel is multiplied by a random factor from 1 / (1 + x) to 1 + x; 0: none."""
    hue: Annotated[float, Field(ge=0, le=0.5)]
    """Colours turn by up to this share of the colour circle; 0: none."""
    grey: Annotated[float, Field(ge=0, le=1)]
    """Probability that a crop has no colour."""
    noise: Annotated[float, Field(ge=0, le=255)]
    """Largest standard deviation of random noise, of 255 levels; 0: none."""
    noise_from: Annotated[float, Field(ge=0, lt=1)]
    """Share of the epochs that pass before there is noise."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    """Share of the target spread over all classes."""
    class_balance: Annotated[float, Field(ge=0, le=1)]
    """A class weighs as its share of pixels to the power -b: 0: pixels alike, 1: classes alike."""
    extra_loss: PathText | None
    """A name of ``sgcp.training.objective.LOSSES``, ``package.module:function``, or null."""
    extra_loss_weight: Annotated[float, Field(ge=0, le=100)]
    """Weight of ``extra_loss`` beside cross-entropy."""
    teacher: PathText | None
    """Model of ours whose scores are learned beside the labels, or null: none."""
    distill: Annotated[float, Field(ge=0, le=100)]
    """Weight of the divergence from the teacher's scores."""
    distill_temperature: Annotated[float, Field(ge=0.1, le=100)]
    """Divides both scores before their softmax; above 1 softens."""
    auxiliary: Annotated[float, Field(ge=0, le=100)]
    """Weight of the mean loss of three heads on inner features, in training alone; 0: no heads."""
    mix: Annotated[float, Field(ge=0, le=1)]
    """Probability that half of another crop's classes are laid over a crop."""
    average: Annotated[float, Field(ge=0, lt=1)]
    """Decay, a step, of the averaged weights (EMA) that are scored and kept; 0: the last ones."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Arithmetic of the forward and backward pass."""
    validate_every: Count
    """Epochs between two validations; the last epoch is always validated."""
    validate_split: Split | None
    """Split that chooses the best epoch, or null: none, and the last is kept."""
    patience: Annotated[int, Field(ge=1)] | None
    """Validations without a better mIoU after which training ends; null: it does not."""
    keep: Literal["best", "last"]
    """Which epoch becomes ``model.safetensors``."""

    _recipe: str = ""

    @property
    def recipe(self) -> str:
        """Name of the recipe, with the values that the command line changed."""
        return self._recipe

    def contradiction(self) -> str:
        """Return which key contradicts another and what to set, nothing if all agree.

        Asked of the recipe that is used alone: another one may be unfinished.
        """
        if self.holdout is not None:
            for key, value in ALL_LABELLED.items():
                if getattr(self, key) != value:
                    return f"{key}: with holdout, set it to {json.dumps(value)}"
        if (self.extra_loss is None) != (self.extra_loss_weight == 0):
            return "extra_loss: has no effect without extra_loss_weight, and the reverse. Set both"
        if (self.teacher is None) != (self.distill == 0):
            return "teacher: has no effect without distill, its weight, and the reverse. Set both"
        if self.noise_from and not self.noise:
            return "noise_from: has no effect without noise. Set both"
        if self.noise_from and self.max_minutes is not None:
            return "noise_from: counts epochs, of which max_minutes takes fewer. Set it to 0"
        if self.validate_split is None and self.keep == "best":
            return "keep: 'best' needs a split to choose by, and validate_split is null. Set 'last'"
        if self.patience is not None and self.validate_split is None:
            return "patience: counts validations, and validate_split is null. Set it to null"
        if self.init is not None and self.encoder_weights is not None:
            return "init: brings an encoder; set encoder_weights to null, or init"
        for key, none in (("init", None), ("auxiliary", 0.0)):
            if self.network != "sgcpnet" and getattr(self, key) != none:
                return f"{key}: is for the network sgcpnet. Set it to {json.dumps(none)}"
        if self.scale[0] > self.scale[1]:
            return f"scale: the range must rise, got {list(self.scale)}"
        return ""
