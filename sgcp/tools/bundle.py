"""``sgcp bundle``: train and describe the weights that the package ships."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import read_json, write_bytes
from sgcp.core.layout import Layout
from sgcp.core.terminal import percent, say
from sgcp.datasets.index import Dataset, fingerprint_items, read_dataset
from sgcp.inference.engines.choice import BUNDLED
from sgcp.inference.graph import InferenceGraph, to_onnx
from sgcp.metrics.results import MEANS, refuse_other_model
from sgcp.models.artifact import load_model, save_model
from sgcp.models.card import model_digest, recipe_digest, stage_model
from sgcp.settings import MachineSettings, TrainSettings
from sgcp.settings.training import ALL_LABELLED
from sgcp.tools.seeds import one_process, run_once

# Keys of a metrics file, beside its means, that describe how and on which data it was scored.
KEPT = (
    "iou", "split", "split_fingerprint", "dataset", "edition", "protocol", "class_order",
    "input_size", "flip", "scales", "window", "engine", "precision", "images", "calibration",
)  # fmt: skip


def bundle(
    layout: Layout,
    recipe: str,
    settings: TrainSettings,
    machine: MachineSettings,
    target: Path = BUNDLED,
) -> None:
    """Train a recipe on train and val together; write its weights, description and graph.

    The recipe was chosen on val. Its score there, of the model trained on train alone, goes into
    the description, and the temperature is the one fitted there: the bundled model has learnt the
    images of val, on which it would seem too sure. An interrupted run resumes, and a finished one
    is not repeated.

    Args:
        target: folder for ``DATASET.safetensors``, ``.json`` and ``.onnx``; by default the
            package's own.

    Raises:
        SgcpError: the code is not committed, the recipe has no score on this data, the folder
            cannot be written, or as ``train``.
    """
    machine = one_process(machine, "bundle")
    commit = _commit(layout.root)
    dataset = read_dataset(layout.prepared)
    dataset.split("val")  # refuses a dataset without one
    chosen = _read_choice(layout, dataset, settings)
    nearest = next(place for place in (target, *target.parents) if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise SgcpError(f"{target}: cannot be written. Clone the project and install it editable")
    settings = settings.model_copy(update=ALL_LABELLED | {"holdout": None})
    place = replace(layout, beside="bundle")
    run_once(place, settings, machine)
    network, card = load_model(place.model)
    provenance = card.provenance | {"recipe": recipe, "commit": commit, "chosen_by": chosen}
    plain = chosen["flip"] is False and chosen["scales"] == [1.0] and chosen["window"] is None
    calibration = chosen.get("calibration") if plain else None  # of the scores of a plain run
    temperature = (calibration or {}).get("fitted_temperature", 1.0)
    card = replace(card, provenance=provenance, temperature=temperature)
    path = target / f"{layout.dataset}.safetensors"
    path.with_suffix(".onnx").unlink(missing_ok=True)  # of other weights
    save_model(network, network.state_dict(), card, path)
    bundle_graph(path)
    say(
        f"{path}: '{recipe}', {settings.epochs} epochs on {len(dataset.split('trainval'))} "
        f"images, at commit {commit[:12]}; trained on train alone, the recipe has "
        f"{percent(chosen['miou'])} % mIoU on '{chosen['split']}'"
    )


def bundle_graph(weights: Path = BUNDLED / "camvid.safetensors") -> None:
    """Write the ONNX graph of bundled weights beside them, so that they run without torch.

    Run it when ``test_bundled_graph_is_that_of_the_weights`` fails, then export the 8-bit graph
    again (docs/export.md).
    """
    write_bytes(weights.with_suffix(".onnx"), to_onnx(InferenceGraph(*load_model(weights))))


def _commit(root: Path) -> str:
    """Return the checked-out commit; refuse code or settings that changed since."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.rstrip()

    try:
        changed = git("status", "--porcelain", "--", "sgcp", "params.yaml", "constraints.txt",
                      ":(exclude)sgcp/weights")  # fmt: skip
        commit = git("rev-parse", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        raise SgcpError(
            f"{root.resolve()}: has no git commit, which the weights must name. Clone the project "
            "with git"
        ) from None
    if changed:
        raise SgcpError(
            f"not committed: {shorten(line[3:] for line in changed.splitlines())}. Commit first: "
            "bundled weights name the commit that made them"
        )
    return commit


def _read_choice(layout: Layout, dataset: Dataset, settings: TrainSettings) -> dict[str, Any]:
    """Return the recipe's score on the split that it was chosen on; refuse any other score."""
    scores = read_json(layout.scores, made_by=f"sgcp validate {layout.dataset}")
    advice = "Train and validate the recipe first"
    if scores.get("model", {}).get("settings") != recipe_digest(settings.model_dump(mode="json")):
        raise SgcpError(f"{layout.scores}: of a model with other settings. {advice}")
    refuse_other_model(layout.scores, scores, model_digest(stage_model(layout)))
    split = dataset.split(scores["split"])
    now = dataset.provenance() | {"split_fingerprint": fingerprint_items(split)}
    if differing := [key for key, value in now.items() if scores.get(key) != value]:
        raise SgcpError(f"{layout.scores}: of other data ({', '.join(differing)}). {advice}")
    return {key: scores[key] for key in (*MEANS, *KEPT) if key in scores}
