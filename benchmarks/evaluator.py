"""Time `sgcp validate --predictions` against `csEvalPixelLevelSemanticLabeling`, side by side.

    python benchmarks/evaluator.py [--images 100] [--keep DIR]

Both commands run whole, start to table, by turns, on the same full-size (1024x2048) scenes of the
sample's generator and the same predictions: the truth at an eighth of its size with 2 % of the
cells wrong, enlarged again, as a network at stride 8 would give. Prints seconds, the ratio, and
the largest difference between the two commands' numbers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from timing import time_by_turns

from sgcp.datasets.classes import cityscapes_classes
from sgcp.datasets.sample import generate_sample

ROOT = Path(__file__).parent.parent
PROGRAMS = Path(sys.executable).parent
ROUNDS = 3
OURS = ["sgcp", "validate", "cityscapes", "--predictions", "predictions", "--name", "scored"]


def make_project(folder: Path, images: int) -> None:
    """Fill a project with Cityscapes-form scenes, prepared, and predictions of its val split."""
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    shutil.copy(ROOT / "params.yaml", folder)
    raw = folder / "data/raw/cityscapes"
    generate_sample(raw, 3, (1024, 2048), {"train": 1, "val": images, "test": 1}, "auto")
    rng = np.random.default_rng(0)
    ids = np.array([item.label_id for item in cityscapes_classes()], dtype=np.uint8)
    (folder / "predictions").mkdir()
    for path in sorted(raw.glob("gtFine/val/*/*_gtFine_labelIds.png")):
        label = np.array(Image.open(path))[4::8, 4::8]
        wrong = (rng.random(label.shape) < 0.02) | ~np.isin(label, ids)
        label[wrong] = rng.choice(ids, int(wrong.sum()))
        name = path.name.replace("_gtFine_labelIds", "")
        full = Image.fromarray(label).resize((2048, 1024), Image.Resampling.NEAREST)
        full.save(folder / "predictions" / name)
    run(folder, "sgcp", "prepare", "cityscapes", "--allow-missing")


def run(folder: Path, program: str, *arguments: str) -> None:
    """Run a command of this environment."""
    environment = os.environ | {
        "CITYSCAPES_DATASET": str(folder / "data/raw/cityscapes"),
        "CITYSCAPES_RESULTS": str(folder / "predictions"),
    }
    subprocess.run([PROGRAMS / program, *arguments], cwd=folder, env=environment, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def largest_difference(folder: Path) -> float:
    """Return the largest difference between the commands' IoUs and averages."""
    ours = json.loads((folder / "metrics/cityscapes/predictions/scored/validate.json").read_text())
    results = folder / "data/raw/cityscapes/evaluationResults"
    official = json.loads((results / "resultPixelLevelSemanticLabeling.json").read_text())
    kinds = {
        "iou": "classScores",
        "iiou": "classInstScores",
        "category_iou": "categoryScores",
        "category_iiou": "categoryInstScores",
    }
    pairs = [(v, official[kind][n]) for key, kind in kinds.items() for n, v in ours[key].items()]
    return max(abs(a - b) for a, b in pairs if a is not None)


def main() -> None:
    """Time both by turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument(
        "--keep", type=Path, help="folder for the scenes; an existing one is reused"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if not (folder / "predictions").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            make_project(folder, options.images)
        official, ours = "csEvalPixelLevelSemanticLabeling", "sgcp validate --predictions"
        seconds = time_by_turns(
            {official: lambda: run(folder, official), ours: lambda: run(folder, *OURS)},
            ROUNDS, warm_up=0,
        )  # fmt: skip
        print(f"{options.images} images of 1024x2048, whole commands, medians of {ROUNDS}")
        for name, median in seconds.items():
            print(f"{name:33} {median:6.2f} s  x{seconds[official] / median:.2f}")
        print(f"largest difference of a score     {largest_difference(folder):.1e}")


if __name__ == "__main__":
    main()
