"""``sgcp validate --predictions DIR``: anybody's label-id images -> scores.

Nothing here imports torch: starting it takes longer than scoring a hundred pictures.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sgcp.datasets.images import read_label
from sgcp.datasets.index import read_dataset
from sgcp.datasets.truth import read_truth
from sgcp.errors import SgcpError
from sgcp.evaluation.benchmark import Benchmark, benchmark_of
from sgcp.evaluation.counts import Counts, count_picture, no_counts
from sgcp.evaluation.submission import Expected, match_files
from sgcp.memory import keep_freed_memory
from sgcp.progress import map_parallel
from sgcp.stages.scores import write_scores

if TYPE_CHECKING:
    from sgcp.datasets.index import Item
    from sgcp.settings import MachineSettings, ValidateSettings
    from sgcp.stages.layout import Layout

SHOWN = 10


def score_predictions(
    layout: Layout, settings: ValidateSettings, machine: MachineSettings, folder: Path
) -> None:
    """Score a folder of label-id PNGs on a split of ``layout.prepared``; write ``layout.scores``.

    Files are found as the official evaluator finds them: at any depth below ``folder``, one for
    each image, by ``<city>_<seq>_<frame>*.png`` (for other datasets, the image's stem).

    Raises:
        SgcpError: a prediction is missing, doubled, damaged, of another size, or has ids that the
            benchmark does not know.
    """
    if not folder.is_dir():
        raise SgcpError(f"{folder}: no such folder of predictions")
    dataset = read_dataset(layout.prepared)
    items = dataset.split(settings.split)
    benchmark = benchmark_of(dataset)
    files = find_predictions(folder, items)
    score = partial(count_file, prepared=layout.prepared, benchmark=benchmark)
    keep_freed_memory()
    pairs = [(item, files[item.submission_stem]) for item in items]
    counts = sum(
        map_parallel(score, pairs, machine.prepare_workers, "scoring"), no_counts(benchmark)
    )
    origin = {"predictions": folder.resolve().name}
    write_scores(layout.scores, dataset, items, counts, benchmark, origin)


def find_predictions(folder: Path, items: list[Item]) -> dict[str, Path]:
    """Return the one file of each picture, by submission stem; files of other pictures are left.

    Raises:
        SgcpError: a picture has none, or several.
    """
    expected = [Expected(item.submission_stem, (item.height, item.width)) for item in items]
    files, problems = match_files(folder, expected)
    problems = [problem for problem in problems if "stray" not in problem]
    if problems:
        more = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        lines = "\n".join(f"  {problem}" for problem in problems[:SHOWN])
        raise SgcpError(f"{folder}: {len(problems)} problem(s), nothing was scored\n{lines}{more}")
    return files


def count_file(pair: tuple[Item, Path], prepared: Path, benchmark: Benchmark) -> Counts:
    """Count one prediction file.

    Raises:
        SgcpError: naming the file.
    """
    item, path = pair
    truth = read_truth(prepared, item)
    try:
        return count_picture(truth, read_label(path), benchmark)
    except ValueError as error:
        raise SgcpError(f"{path}: {error}") from None
