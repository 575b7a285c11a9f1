"""``sgcp bundle``: the weights that travel inside the package, trained anew and described."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError
from sgcp.core.files import json_digest, read_json, write_json
from sgcp.core.terminal import say
from sgcp.datasets.index import Dataset, fingerprint_items, read_dataset
from sgcp.inference.segmenter import BUNDLED
from sgcp.metrics.results import MEANS, refuse_other_model
from sgcp.models.artifact import load_model, save_model
from sgcp.models.card import model_digest, stage_model
from sgcp.stages.train import run_fingerprint, train
from sgcp.tools.seeds import is_finished, one_process
from sgcp.training.initialization import read_initialization

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import MachineSettings, TrainSettings

# What says how the recipe was scored, and on what.
HOW = ("input_size", "flip", "scales", "window", "engine", "precision", "images")
DATA = ("dataset", "edition", "protocol", "class_order")


def bundle(
    layout: Layout,
    recipe: str,
    settings: TrainSettings,
    machine: MachineSettings,
    target: Path = BUNDLED,
) -> None:
    """Train a recipe on train and val together; write ``DATASET.safetensors`` and ``.json``.

    The recipe has been chosen on val; what it scored there goes into the description, as the
    number of its twin that learnt from train alone. An interrupted run goes on where it was, and a
    finished one is not trained again.

    Args:
        target: folder to write to: the package's own.

    Raises:
        SgcpError: the code is not committed, the recipe has no score on this data, the folder
            cannot be written, or as ``train``.
    """
    machine = one_process(machine, "bundle")
    commit = committed_state(layout.root)
    dataset = read_dataset(layout.prepared)
    dataset.split("val")  # or there is nothing beyond train
    chosen = read_choice(layout, dataset, settings)
    check_writable(target)
    settings = settings.model_copy(
        update={"split": "trainval", "validate_split": None, "keep": "last"}
    )
    place = replace(layout, beside="bundle")
    train_once(place, dataset, settings, machine)
    network, card = load_model(place.model)
    provenance = card.provenance | {"recipe": recipe, "commit": commit, "chosen_by": chosen}
    path = target / f"{layout.dataset}.safetensors"
    save_model(network, network.state_dict(), replace(card, provenance=provenance), path)
    say(
        f"{path}: '{recipe}', {settings.epochs} epochs on {len(dataset.split('trainval'))} "
        f"images, at commit {commit[:12]}; its twin that learnt from train alone has "
        f"{100 * chosen['miou']:.2f} % mIoU on '{chosen['split']}'"
    )


def train_once(
    place: Layout, dataset: Dataset, settings: TrainSettings, machine: MachineSettings
) -> None:
    """Train, unless that is done, with the same settings, code and data."""
    begun_with = read_initialization(place, settings).digests
    done = {"run": run_fingerprint(dataset, settings, begun_with)}
    mark = place.model.parent / "finished.json"
    if not is_finished(mark, done):
        mark.unlink(missing_ok=True)
        train(place, settings, machine)
        write_json(mark, done)


def committed_state(root: Path) -> str:
    """Return the commit that stands in the folder.

    Raises:
        SgcpError: there is none, or code or settings were changed since.
    """
    try:
        changed = git(root, "status", "--porcelain", "--", "sgcp", "params.yaml",
                      "constraints.txt", ":(exclude)sgcp/weights")  # fmt: skip
        commit = git(root, "rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        raise SgcpError(
            f"{root.resolve()}: no git commit to name as the origin of the weights; clone the "
            "project with git"
        ) from None
    if changed:
        raise SgcpError(
            f"not committed: {', '.join(line[3:] for line in changed.splitlines()[:5])}; bundled "
            "weights name the commit that made them: commit first"
        )
    return commit


def git(root: Path, *arguments: str) -> str:
    """Run git and return what it printed, without the blanks at its end."""
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip()


def read_choice(layout: Layout, dataset: Dataset, settings: TrainSettings) -> dict[str, Any]:
    """Return what the recipe scored on the split that it was chosen on.

    Raises:
        SgcpError: it was not scored, or the score at hand is of another recipe, another model than
            the stage's, or other data.
    """
    scores = read_json(layout.scores, made_by=f"sgcp validate {layout.dataset}")
    if scores.get("model", {}).get("settings") != json_digest(settings.model_dump(mode="json")):
        raise SgcpError(
            f"{layout.scores}: is of a model with other settings than the recipe's; train and "
            "validate the recipe first"
        )
    refuse_other_model(layout.scores, scores, model_digest(stage_model(layout)))
    now = dataset.provenance() | {
        "split_fingerprint": fingerprint_items(dataset.split(scores["split"]))
    }
    if differing := [key for key, value in now.items() if scores.get(key) != value]:
        raise SgcpError(
            f"{layout.scores}: is of other data than what is prepared ({', '.join(differing)}); "
            "train and validate the recipe first"
        )
    kept = (*MEANS, "iou", "split", "split_fingerprint", *DATA, *HOW)
    return {key: scores[key] for key in kept if key in scores}


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, before hours of training.

    Raises:
        SgcpError: it cannot.
    """
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise SgcpError(f"{folder}: cannot be written; clone the project and install it editable")
