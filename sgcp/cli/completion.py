"""What the shell may complete: names of the project at hand, and words with a fixed meaning.

Each press of the key starts Python anew, so nothing heavy is imported, and a broken project
completes to nothing instead of an error.
"""

from pathlib import Path
from typing import Any

import typer

WEIGHTS = Path(__file__).parents[1] / "weights"


def read_sections() -> dict[str, Any]:
    """Return the sections of the nearest ``params.yaml`` that are datasets."""
    from sgcp.core.files import read_yaml

    here = Path.cwd()
    try:
        file = next(f for f in (p / "params.yaml" for p in (here, *here.parents)) if f.is_file())
        content = read_yaml(file)
    except (StopIteration, OSError, ValueError):
        return {}
    sections = content.items() if isinstance(content, dict) else ()
    return {name: part for name, part in sections if isinstance(part, dict) and "train" in part}


def datasets() -> list[str]:
    """Return the datasets of the project."""
    return list(read_sections())


def recipes(ctx: typer.Context) -> list[str]:
    """Return the recipes of the dataset that is named, or of all."""
    sections = read_sections()
    chosen = sections.get(ctx.params.get("dataset") or "")
    parts = [chosen] if chosen else list(sections.values())
    return list(dict.fromkeys(name for part in parts for name in part["train"]))


def models() -> list[str]:
    """Return the bundled models; for others the shell completes files."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def splits() -> list[str]:
    """Return what images are divided into."""
    return ["train", "val", "test"]


def protocols() -> list[str]:
    """Return CamVid's sets of classes."""
    return ["strict", "grouped"]


def encodings() -> list[str]:
    """Return what the values of a prediction can be."""
    return ["ids", "train-ids", "colors"]


def devices() -> list[str]:
    """Return what a network runs on."""
    return ["auto", "cpu", "cuda"]


def class_orders() -> list[str]:
    """Return what the outputs of an authors' checkpoint may stand for."""
    return ["cityscapes", "camvid", "camvid-authors"]
