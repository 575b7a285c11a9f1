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

from sgcp.core.files import write_text


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
    row = {
        "name": options.name,
        "recipe": options.recipe,
        "changes": " ".join(options.changes),
        "commit": git("rev-parse", "--short", "HEAD"),
        "miou": f"{100 * scores['miou']:.2f}",
        "pixel_accuracy": f"{100 * scores['pixel_accuracy']:.2f}",
        "input_size": "x".join(map(str, scores["input_size"])),
        "seconds": f"{seconds:.0f}",
    } | {name: "" if iou is None else f"{100 * iou:.1f}" for name, iou in scores["iou"].items()}
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    rows = [line for line in csv.DictReader(lines) if line["name"] != options.name]
    text = io.StringIO()
    names = dict.fromkeys(name for one in (*rows, row) for name in one)  # classes may differ
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, row])
    write_text(file, text.getvalue())
    print(f"{options.name}: {100 * scores['miou']:.2f} % in {seconds:.0f} s, in {file}")


if __name__ == "__main__":
    main()
