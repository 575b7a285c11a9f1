"""``sgcp compare``: metrics files side by side, if their numbers mean the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import answer, warn
from sgcp.metrics.results import MEANS, find_differences, read_metrics

BESIDE = 3  # files beside the first in one table


def compare(sources: Sequence[str], anyway: bool) -> dict[str, Any]:
    """Show the scores of several metrics files, and each one's difference from the first.

    Args:
        sources: files that ``sgcp validate`` wrote; ``REV:PATH`` reads one from git.
        anyway: show numbers that do not compare, marked as such, instead of refusing.

    Returns:
        The same for scripts: whether they compare, and each file's content and difference.

    Raises:
        SgcpError: fewer than two, one cannot be read, or they do not compare.
    """
    if len(sources) < 2:
        raise SgcpError("compare: name two metrics files or more")
    contents = [read_metrics(source) for source in sources]
    differences = find_differences(sources, contents)
    if differences:
        text = "these numbers do not compare:\n" + "\n".join(f"  {line}" for line in differences)
        if not anyway:
            raise SgcpError(f"{text}\n--anyway shows them all the same, marked")
        warn(text)
    for source, content in zip(sources, contents, strict=True):
        scored = content["protocol"]
        learnt = (content.get("model") or {}).get("protocol", scored)
        if learnt != scored:
            warn(f"note: {source}: the model learnt protocol {learnt}, scored on {scored}")
    for table in render_comparison(sources, contents, marked=bool(differences)):
        answer(table)
    return describe_comparison(sources, contents, differences)


def describe_comparison(
    sources: Sequence[str], contents: Sequence[dict[str, Any]], differences: Sequence[str]
) -> dict[str, Any]:
    """Return a comparison for JSON; shares, and null where a file lacks the number."""
    first = contents[0]
    files = []
    for source, content in zip(sources, contents, strict=True):
        means = {key: minus(content.get(key), first.get(key)) for key in MEANS if key in content}
        iou = {name: minus(iou, first["iou"].get(name)) for name, iou in content["iou"].items()}
        entry = {"file": source, "metrics": content}
        if not differences:
            entry["difference_from_first"] = {**means, "iou": iou}
        files.append(entry)
    return {"comparable": not differences, "differences": list(differences), "files": files}


def minus(value: float | None, first: float | None) -> float | None:
    """Return the difference of two shares, or None where one is not there."""
    return None if value is None or first is None else value - first


def render_comparison(
    sources: Sequence[str], contents: Sequence[dict[str, Any]], marked: bool
) -> list[Table]:
    """Return tables: a row a mean and a class, in per cent, differences in points.

    As many files stand beside the first as fit into 80 columns; further ones get a table more.
    """
    title = "NOT COMPARABLE, see above" if marked else "in per cent; difference from the first"
    others = range(1, len(sources))
    tables: list[Table] = []
    for start in others[::BESIDE]:
        chosen = [0, *others[start - 1 : start - 1 + BESIDE]]
        view = render_block(chosen, [contents[index] for index in chosen], marked)
        view.title = None if tables else title
        tables.append(view)
    tables[-1].caption = "\n".join(f"[{n}] {source}" for n, source in enumerate(sources, start=1))
    return tables


def render_block(numbers: Sequence[int], contents: Sequence[dict[str, Any]], marked: bool) -> Table:
    """Return the table of some files, the first of all among them, counted from 0."""
    view = Table("", title_justify="left", caption_justify="left")
    for number in numbers:
        view.add_column(f"[{number + 1}]", justify="right", no_wrap=True)
    rows = {name: [c.get(key) for c in contents] for key, name in MEANS.items()}
    for name, values in rows.items():
        if any(value is not None for value in values):
            view.add_row(name, *cells(values, marked))
    view.add_section()
    names = dict.fromkeys(name for content in contents for name in content["iou"])
    for name in names:
        view.add_row(name, *cells([content["iou"].get(name) for content in contents], marked))
    return view


def cells(values: Sequence[float | None], marked: bool) -> list[str]:
    """Format a row of shares; all but the first with their difference, unless ``marked``."""
    first, texts = values[0], []
    for index, value in enumerate(values):
        text = "-" if value is None else f"{100 * value:.2f}"
        if index and not marked and value is not None and first is not None:
            text += f" ({100 * (value - first):+.2f})"
        texts.append(text)
    return texts
