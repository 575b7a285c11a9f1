"""Stage ``train``: prepared data -> model files and curves."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from dvclive.live import Live
from lightning_fabric import Fabric, seed_everything
from rich.progress import MofNCompleteColumn, TextColumn

from sgcp.datasets.classes import classes_to_json
from sgcp.datasets.index import Dataset, Item, read_dataset, refuse_overlap
from sgcp.datasets.loader import SegmentationDataset, eval_loader, train_loader
from sgcp.datasets.transforms import train_transform
from sgcp.files import building_folder, fingerprint
from sgcp.models.artifact import ModelCard, save_model
from sgcp.models.authors import load_encoder_weights
from sgcp.models.network import Normalize, SGCPNet
from sgcp.progress import progress_bar, say
from sgcp.training.checkpoints import Progress
from sgcp.training.loop import Data, fit
from sgcp.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from sgcp.settings import MachineSettings, TrainSettings
    from sgcp.stages.layout import Layout


def train(layout: Layout, settings: TrainSettings, machine: MachineSettings) -> None:
    """Train on ``layout.prepared``; write ``layout.model`` and ``layout.curves``.

    An interrupted run goes on after its last finished epoch, as long as settings and data are the
    same.

    Raises:
        SgcpError: the data, the settings or the encoder's weights do not allow training.
    """
    dataset = read_dataset(layout.prepared)
    learned = dataset.split(settings.split)
    scored = dataset.split(settings.validate_split)
    refuse_overlap([item.stem for item in learned], [item.stem for item in scored])

    keep_freed_memory()
    fabric = launch(settings, machine)
    seed_everything(settings.seed, verbose=False)
    network = make_network(len(dataset.classes), settings)
    normalize = Normalize()
    data = make_data(layout, dataset, learned, scored, settings, machine, fabric)
    if fabric.is_global_zero:
        say(
            f"training SGCPNet ({sum(p.numel() for p in network.parameters()):,} parameters) on "
            f"{len(learned)} images of {dataset.name}, {settings.epochs} epochs, "
            f"{len(data.train)} steps each, {fabric.world_size} x {fabric.device.type}"
        )
    with Reporter(
        fabric, layout, settings.epochs, len(data.sampler) * fabric.world_size
    ) as reporter:
        progress = fit(
            fabric, network, normalize, data, settings, layout.resume,
            run_fingerprint(dataset, layout, settings), reporter.epoch, reporter.step,
        )  # fmt: skip
    if fabric.is_global_zero:
        write_models(layout, dataset, learned, network, settings, progress)
        shutil.rmtree(layout.resume.parent)
    fabric.barrier()


def launch(settings: TrainSettings, machine: MachineSettings) -> Fabric:
    """Start Fabric; under torchrun, join the processes that it started."""
    devices: int | str = machine.devices
    if devices == "auto" and (machine.accelerator == "cpu" or not torch.cuda.is_available()):
        devices = 1
    fabric = Fabric(
        accelerator=machine.accelerator,
        devices=devices,
        num_nodes=machine.num_nodes,
        precision=settings.precision,
    )
    fabric.launch()
    return fabric


def make_network(num_classes: int, settings: TrainSettings) -> SGCPNet:
    """Build the network, its encoder initialised as asked."""
    network = SGCPNet(num_classes, settings.encoder)
    if settings.encoder_weights is not None:
        load_encoder_weights(network, settings.encoder_weights)
    return network


def make_data(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    scored: list[Item],
    settings: TrainSettings,
    machine: MachineSettings,
    fabric: Fabric,
) -> Data:
    """Return the loaders of the two splits for this process."""
    transform = train_transform(
        settings.crop,
        settings.scale,
        settings.min_short_side,
        settings.flip,
        settings.color_jitter,
    )
    folders = (layout.raw, layout.prepared, len(dataset.classes))
    rank, world = fabric.global_rank, fabric.world_size
    loader, sampler = train_loader(
        SegmentationDataset(learned, *folders, transform, settings.seed),
        settings.batch_size,
        machine.loader_workers,
        rank,
        world,
    )
    validation = eval_loader(
        SegmentationDataset(scored, *folders), machine.loader_workers, rank, world
    )
    return Data(loader, sampler, validation)


def run_fingerprint(dataset: Dataset, layout: Layout, settings: TrainSettings) -> str:
    """Digest what a run depends on: its settings and the files it reads."""
    labels = [layout.prepared / item.label for item in dataset.items if item.label]
    images = [layout.raw / item.image for item in dataset.items]
    content = settings.model_dump_json() + fingerprint(labels) + fingerprint(images)
    return hashlib.sha256(content.encode()).hexdigest()


def write_models(
    layout: Layout,
    dataset: Dataset,
    learned: list[Item],
    network: SGCPNet,
    settings: TrainSettings,
    progress: Progress,
) -> None:
    """Write ``last`` and, as ``settings.keep`` says, ``model``, with their descriptions."""
    last = network.state_dict()
    chosen = progress.best_weights if settings.keep == "best" else last
    epoch = progress.best_epoch if settings.keep == "best" else settings.epochs

    def card(epoch: int) -> ModelCard:
        return ModelCard(
            classes=classes_to_json(dataset.classes),
            encoder=settings.encoder,
            trained_size=settings.crop,
            provenance=describe_run(learned, settings, epoch),
            **dataset.provenance(),
        )

    with building_folder(layout.model, key="train") as folder:
        save_model(network, chosen, card(epoch), folder / "model.safetensors")
        save_model(network, last, card(settings.epochs), folder / "last.safetensors")
    say(
        f"kept epoch {epoch} of {settings.epochs} (mIoU {progress.best_miou:.4f} at best on "
        f"'{settings.validate_split}', epoch {progress.best_epoch}), {progress.seconds:.0f} s"
    )


def describe_run(learned: list[Item], settings: TrainSettings, epoch: int) -> dict[str, Any]:
    """Return where a model comes from, without anything that differs between equal runs."""
    return {
        "trained_by": "sgcp train",
        "epoch": epoch,
        "settings": json.loads(settings.model_dump_json()),
        "trained_on": [item.stem for item in learned],
        "versions": {
            "sgcp": version("sgcp"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


class Reporter:
    """Show and log a run: a progress bar, a line an epoch off a terminal, DVCLive's files."""

    def __init__(self, fabric: Fabric, layout: Layout, epochs: int, images: int) -> None:
        self.active = fabric.is_global_zero
        self.epochs = epochs
        self.images = images
        self.logged = 0
        self.miou = float("nan")
        self.bar = progress_bar(
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  mIoU {task.fields[miou]:.3f}"),
            TextColumn("{task.fields[speed]:.1f} images/s"),
        )
        if self.active:
            # Replayed from the checkpoint after a resume, so never DVCLive's own resume.
            self.live = Live(
                str(layout.curves), resume=False, report=None, save_dvc_exp=False, dvcyaml=None
            )

    def __enter__(self) -> Reporter:
        if self.active:
            self.bar.start()
            self.task = self.bar.add_task("epoch 1", total=None, loss=0, miou=self.miou, speed=0)
        return self

    def __exit__(self, *error: object) -> None:
        if self.active:
            self.bar.stop()
            if error[0] is None:
                self.live.end()

    def step(self, images: int, loss: float) -> None:
        """Advance the bar."""
        if self.active:
            done = self.logged * self.images + images
            speed = self.bar.tasks[0].speed or 0
            total = self.epochs * self.images
            self.bar.update(self.task, completed=done, total=total, loss=loss, speed=speed)

    def epoch(self, progress: Progress) -> None:
        """Log the epochs that are not logged yet."""
        if not self.active:
            return
        if self.logged == 0 and progress.epoch > 1:
            say(f"resuming after epoch {progress.epoch}")
        for row in progress.history[self.logged :]:
            self.logged += 1
            self.live.step = self.logged
            for name, value in row.items():
                if name != "images_per_second":  # differs between equal runs
                    self.live.log_metric(name, value, timestamp=False)
            self.live.make_summary()
            self.miou = row.get("miou", self.miou)
        row = progress.history[-1]
        self.bar.update(self.task, description=f"epoch {self.logged + 1}", miou=self.miou)
        if not self.bar.console.is_terminal:
            miou = f"  mIoU {row['miou']:.4f}" if "miou" in row else ""
            say(
                f"epoch {progress.epoch}/{self.epochs}  loss {row['loss']:.4f}{miou}  "
                f"{row['images_per_second']:.1f} images/s"
            )
