"""``sgcp compare``: metrics files side by side, if they are comparable."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from sgcp.core.errors import SgcpError
from sgcp.core.terminal import answer, percent, warn
from sgcp.metrics.bootstrap import LEVEL, interval
from sgcp.metrics.results import MEANS, find_differences, read_by_class, read_metrics

BESIDE = 3  # files beside the first that fit into a table of 80 columns


def compare(sources: Sequence[str], anyway: bool) -> dict[str, Any]:
    """Show and return the scores of metrics files, and each one's difference from the first.

    Args:
        sources: files that ``sgcp validate`` wrote; ``REV:PATH`` reads one from git.
        anyway: show incomparable results, marked, instead of refusing.

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
    first: dict[str, Any] = contents[0]
    files: list[dict[str, Any]] = []
    counts = None if differences else read_by_class(sources[0], first)
    for source, content in zip(sources, contents, strict=True):
        scored = content["protocol"]
        trained = (content.get("model") or {}).get("protocol", scored)
        if trained != scored:
            warn(f"note: {source}: trained with protocol {trained}, scored with {scored}")
        entry: dict[str, Any] = {"file": source, "metrics": content}
        if not differences:
            means = {key: _minus(content[key], first.get(key)) for key in MEANS if key in content}
            iou = {name: _minus(x, first["iou"].get(name)) for name, x in content["iou"].items()}
            entry["difference_from_first"] = {**means, "iou": iou}
            own = read_by_class(source, content) if files else None
            if own is not None and counts is not None:
                entry["miou_difference_interval"] = interval(own, counts)
        files.append(entry)
    title = "NOT COMPARABLE, see above" if differences else "in per cent; difference from the first"
    for start in range(1, len(sources), BESIDE):
        numbers = [0, *range(start, min(start + BESIDE, len(sources)))]
        view = Table("", title=title if start == 1 else None, title_justify="left")
        for number in numbers:
            view.add_column(f"[{number + 1}]", justify="right", no_wrap=True)
        _add_rows(view, [contents[number] for number in numbers], marked=bool(differences))
        edges = [files[number].get("miou_difference_interval") for number in numbers]
        if any(edges):
            texts = (
                f"{100 * pair[0]:+.2f} .. {100 * pair[1]:+.2f}" if pair else "" for pair in edges
            )
            view.add_row(f"{LEVEL:.0%} of resamples", *texts)
        answer(view)
    answer("\n".join(f"[{number}] {source}" for number, source in enumerate(sources, start=1)))
    return {"comparable": not differences, "differences": list(differences), "files": files}


def _minus(value: float | None, first: float | None) -> float | None:
    return None if value is None or first is None else value - first


def _add_rows(view: Table, contents: Sequence[dict[str, Any]], marked: bool) -> None:
    """Add a row per mean and class, in per cent; differences in points unless ``marked``."""
    means = {name: [content.get(key) for content in contents] for key, name in MEANS.items()}
    means = {name: values for name, values in means.items() if any(v is not None for v in values)}
    classes = dict.fromkeys(name for content in contents for name in content["iou"])
    shares = {name: [content["iou"].get(name) for content in contents] for name in classes}
    for rows in (means, shares):
        for name, values in rows.items():
            texts = [percent(value) for value in values]
            for index, value in enumerate(values[1:], start=1):
                difference = _minus(value, values[0])
                if difference is not None and not marked:
                    texts[index] += f" ({100 * difference:+.2f})"
            view.add_row(name, *texts)
        view.add_section()
