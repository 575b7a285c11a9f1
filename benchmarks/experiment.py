"""Run one DVC experiment and add a line to the dataset's record of experiments.

    python benchmarks/experiment.py NAME [-d camvid] [-r strong] [KEY=VALUE ...]

KEY is a key of the recipe (``epochs=60``), or one of the dataset or the machine with its section
(``validate.flip=true``, ``machine.compile=true``). Runs and times `dvc exp run -n NAME -S ...
validate@camvid` in the current project; then adds a line to ``metrics/camvid/experiments.csv``:
recipe, changes, commit, scores on val by class, seconds. Code and params.yaml must be committed;
params.yaml is restored after each run, because DVC leaves an experiment's changes in it.
"""

import argparse
import csv
import io
import json
import subprocess
import time
from pathlib import Path
from typing import Any

from sgcp.core.files import write_text

FIRST = ["name", "recipe", "changes", "commit", "miou", "pixel_accuracy", "input_size", "seconds"]


def run(name: str, dataset: str, recipe: str, changes: list[str]) -> float:
    """Run the experiment; return its seconds, from the command to the scores."""
    subprocess.run(["dvc", "exp", "remove", "-q", name], check=False, stderr=subprocess.DEVNULL)
    command = ["dvc", "exp", "run", "-n", name, "-S", f"recipe={recipe}", "-S",
               f"datasets=[{dataset}]"]  # fmt: skip
    for change in changes:
        key, _, value = change.partition("=")
        if "." not in key:
            key = f"train.{recipe}.{key}"
        whole = key if key.startswith("machine.") else f"{dataset}.{key}"
        command += ["-S", f"{whole}={value}"]
    before = time.monotonic()
    try:
        subprocess.run([*command, f"validate@{dataset}"], check=True)
    finally:
        subprocess.run(["git", "checkout", "--quiet", "--", "params.yaml"], check=True)
    return time.monotonic() - before


def git(*arguments: str) -> str:
    """Run git and return what it printed."""
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def record(
    file: Path, scores: dict[str, Any], name: str, recipe: str, changes: list[str], seconds: float
) -> None:
    """Add a line to the record, or take the place of the line of that name."""
    row = {
        "name": name,
        "recipe": recipe,
        "changes": " ".join(changes),
        "commit": git("rev-parse", "--short", "HEAD"),
        "miou": f"{100 * scores['miou']:.2f}",
        "pixel_accuracy": f"{100 * scores['pixel_accuracy']:.2f}",
        "input_size": "x".join(map(str, scores["input_size"])),
        "seconds": f"{seconds:.0f}",
    } | {of: "" if iou is None else f"{100 * iou:.1f}" for of, iou in scores["iou"].items()}
    rows = []
    if file.is_file():
        with file.open(encoding="utf-8", newline="") as lines:
            rows = [line for line in csv.DictReader(lines) if line["name"] != name]
    text = io.StringIO()
    writer = csv.DictWriter(text, FIRST + list(scores["iou"]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, row])
    write_text(file, text.getvalue())


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("-d", "--dataset", default="camvid")
    parser.add_argument("-r", "--recipe", default="strong")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_intermixed_args()
    metrics = Path("metrics") / options.dataset
    file = metrics / "experiments.csv"
    if changed := git("status", "--porcelain", "--", "sgcp", "params.yaml", "constraints.txt"):
        parser.error(f"commit first, so that the line can name the code: {changed}")
    seconds = run(options.name, options.dataset, options.recipe, options.changes)
    scores = json.loads((metrics / "validate.json").read_text(encoding="utf-8"))
    record(file, scores, options.name, options.recipe, options.changes, seconds)
    print(f"{options.name}: {100 * scores['miou']:.2f} % in {seconds:.0f} s, in {file}")


if __name__ == "__main__":
    main()
