"""Train a recipe without each drive in turn, score it on that drive, and print the mean.

    python benchmarks/holdout.py camvid [-r strong] [--drives 0006R0,0001TP] [KEY=VALUE ...]

KEY is a key of the recipe (``epochs=60``). Each run is that of ``sgcp train camvid --holdout
DRIVE``; results are in ``data/holdout/camvid/NAME`` and ``metrics/camvid/holdout/NAME``, by
default under the recipe's name, so give each variant a name. Run it again after an interruption:
finished drives are not repeated, and the others resume.
"""

import argparse

from rich.console import Console
from rich.table import Table

from sgcp.cli.project import hold_out, open_project
from sgcp.core.errors import SgcpError
from sgcp.core.terminal import percent
from sgcp.datasets.index import read_dataset
from sgcp.tools.seeds import train_holdout


def show(title: str, results: dict[str, dict]) -> None:
    """Print the scores of each drive, and their means over the drives."""
    table = Table("IoU %", title=title, title_justify="left")
    for drive, scores in results.items():
        table.add_column(f"{drive}\n{scores['images']} images", justify="right")
    table.add_column("mean", justify="right")
    rows = {"mIoU": [scores["miou"] for scores in results.values()]}
    for name in next(iter(results.values()))["iou"]:
        rows[name] = [scores["iou"][name] for scores in results.values()]
    for name, values in rows.items():
        known = [value for value in values if value is not None]
        mean = sum(known) / len(known) if known else None
        table.add_row(name, *map(percent, values), percent(mean), end_section=name == "mIoU")
    Console(width=100).print(table)


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("-r", "--recipe", default="strong")
    parser.add_argument("--drives", help="A,B; default: every drive of train and val")
    parser.add_argument("--name", help="folder of the results; default: the recipe's name")
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_intermixed_args()
    _, _, layout = open_project(options.dataset)
    known = sorted({item.drive for item in read_dataset(layout.prepared).split("trainval")})
    drives = options.drives.split(",") if options.drives else known
    if unknown := sorted({*drives} - {*known}):
        raise SgcpError(f"--drives: {unknown} are none of {known}")
    results = {}
    for drive in drives:
        changes = [*options.changes, *hold_out(drive)]
        params, section, layout = open_project(
            options.dataset, "train", "validate", recipe=options.recipe, changes=changes
        )
        name = options.name or options.recipe
        results[drive] = train_holdout(layout, section, params.machine, name)
    show(f"{options.dataset}, {options.recipe} {' '.join(options.changes)}", results)


if __name__ == "__main__":
    try:
        main()
    except SgcpError as error:
        raise SystemExit(f"error: {error}") from None
