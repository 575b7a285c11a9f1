"""``sgcp compare``: metrics files side by side, if they are comparable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import answer, percent, warn
from sgcp.metrics.results import MEANS, find_differences, read_metrics

BESIDE = 3  # files beside the first that fit into a table of 80 columns


def compare(sources: Sequence[str], anyway: bool) -> dict[str, Any]:
    """Show the scores of several metrics files, and each one's difference from the first.

    Args:
        sources: files that ``sgcp validate`` wrote; ``REV:PATH`` reads one from git.
        anyway: show incomparable results, marked, instead of refusing.

    Returns:
        For JSON: whether the files are comparable, and each file's content and difference.

    Raises:
        SgcpError: fewer than two files, an unreadable one, or incomparable ones.
    """
    if len(sources) < 2:
        raise SgcpError("compare: name two metrics files or more")
    contents = [read_metrics(source) for source in sources]
    differences = find_differences(sources, contents)
    if differences:
        text = "the results are not comparable:\n" + "\n".join(f"  {line}" for line in differences)
        if not anyway:
            raise SgcpError(f"{text}\nPass --anyway to show them, marked")
        warn(text)
    for source, content in zip(sources, contents, strict=True):
        scored = content["protocol"]
        trained = (content.get("model") or {}).get("protocol", scored)
        if trained != scored:
            warn(f"note: {source}: trained with protocol {trained}, scored with {scored}")
    for table in _tables(sources, contents, marked=bool(differences)):
        answer(table)
    first = contents[0]
    files = []
    for source, content in zip(sources, contents, strict=True):
        entry = {"file": source, "metrics": content}
        if not differences:
            means = {key: _minus(content[key], first.get(key)) for key in MEANS if key in content}
            iou = {
                name: _minus(iou, first["iou"].get(name)) for name, iou in content["iou"].items()
            }
            entry["difference_from_first"] = {**means, "iou": iou}
        files.append(entry)
    return {"comparable": not differences, "differences": list(differences), "files": files}


def _minus(value: float | None, first: float | None) -> float | None:
    return None if value is None or first is None else value - first


def _tables(
    sources: Sequence[str], contents: Sequence[dict[str, Any]], marked: bool
) -> list[Table]:
    """Return tables with a row per mean and class, in per cent, differences in points."""
    others = range(1, len(sources))
    tables: list[Table] = []
    for start in others[::BESIDE]:
        numbers = [0, *others[start - 1 : start - 1 + BESIDE]]
        view = Table("", title_justify="left", caption_justify="left")
        for number in numbers:
            view.add_column(f"[{number + 1}]", justify="right", no_wrap=True)
        chosen = [contents[number] for number in numbers]
        for key, name in MEANS.items():
            values = [content.get(key) for content in chosen]
            if any(value is not None for value in values):
                view.add_row(name, *_cells(values, marked))
        view.add_section()
        for name in dict.fromkeys(name for content in chosen for name in content["iou"]):
            view.add_row(name, *_cells([content["iou"].get(name) for content in chosen], marked))
        tables.append(view)
    tables[0].title = (
        "NOT COMPARABLE, see above" if marked else "in per cent; difference from the first"
    )
    tables[-1].caption = "\n".join(f"[{n}] {source}" for n, source in enumerate(sources, start=1))
    return tables


def _cells(values: Sequence[float | None], marked: bool) -> list[str]:
    """Return a row of shares; all but the first with their difference, unless ``marked``."""
    texts = [percent(value) for value in values]
    for index, value in enumerate(values[1:], start=1):
        difference = _minus(value, values[0])
        if difference is not None and not marked:
            texts[index] += f" ({100 * difference:+.2f})"
    return texts
