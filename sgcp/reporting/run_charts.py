"""Charts of a run: curves, classes, confusion; each with its numbers as a table."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import altair as alt
import pandas as pd

from sgcp.core.terminal import percent
from sgcp.reporting.page import Cell, Chart, per_cent, points, to_number
from sgcp.reporting.run import CURVES, Earlier

DOTS = 60  # a curve of at most this many rows marks each
SHOWN = 0.01  # share of a true class from which a cell shows its number
CELL, ROW, NAMES = 36, 30, 190  # pixels: of a cell, of a class's row, for names beside a matrix
THIS = "this run"
BLUE, ORANGE = "#4c78a8", "#d55e00"  # visible on white and on black, as are these
OTHERS = "#8c959f", "#009e73", "#aa8899", "#b8860b", "#7f5fbf"
CLASS_COLUMNS = {
    "iou": "IoU %", "recall": "recall %", "precision": "precision %", "iiou": "iIoU %",
    "pixel_share": "share of pixels %",
}  # fmt: skip


def curve_chart(name: str, table: pd.DataFrame) -> Chart:
    """Return the chart of one curve, by epochs: columns ``step`` and ``name``."""
    title, axis, pattern = CURVES[name]
    rows = [
        (int(step), value) for step, value in table[["step", name]].dropna().astype(float).values
    ]
    drawing = (
        alt.Chart(alt.Data(values=[{"epoch": step, "value": value} for step, value in rows]))
        .mark_line(point=len(rows) <= DOTS, color=BLUE)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(format="d", tickMinStep=1)),
            y=alt.Y("value:Q", title=axis, axis=alt.Axis(format=pattern)),
            tooltip=["epoch:Q", alt.Tooltip("value:Q", title=axis, format=".4g")],
        )
        .properties(width="container", height=220)
    )
    change = f"from {rows[0][1]:.4g} to {rows[-1][1]:.4g}" if rows else "without a value"
    summary = f"{len(rows)} values over the epochs, {change}."
    return Chart(title, summary, drawing, ("epoch", axis), rows)


def class_chart(
    classes: pd.DataFrame, earlier: Sequence[Earlier], seeds: dict[str, Any] | None
) -> Chart:
    """Return bars of IoU a class, best first, beside those of earlier runs.

    Args:
        classes: ``per_class.csv``.
        seeds: the summary of this recipe over several seeds: a line of two standard deviations,
            about the mean.
    """
    ranked = classes.sort_values("iou", ascending=False, kind="stable", na_position="last")
    names = [str(name) for name in ranked["class"]]
    table: dict[str, Sequence[Cell]] = {"class": names}
    table |= {title: list(map(per_cent, ranked[key]))
              for key, title in CLASS_COLUMNS.items() if key in ranked}  # fmt: skip
    iou = [to_number(share) for share in ranked["iou"]]
    texts = [percent(share) for share in iou]
    runs = {THIS: (iou, texts)}
    for one in earlier:
        other = [one.scores["iou"].get(name) for name in names]
        table[f"IoU of {one.source} %"] = list(map(per_cent, other))
        runs[one.source] = other, [percent(share) for share in other]
        if not one.differences:
            differences = list(map(points, iou, other))
            table[f"difference from {one.source}, points"] = differences
            if one is earlier[0]:
                texts[:] = [f"{a} ({b})" for a, b in zip(texts, differences, strict=True)]
    scored = [f"{name}, {percent(one)} %" for name, one in zip(names, iou, strict=True)
              if one is not None]  # fmt: skip
    summary = f"{len(scored)} classes with a score, best first: from {scored[0]}, to {scored[-1]}."
    spans = []
    if seeds:
        over = [seeds["iou"].get(name, {}) for name in names]
        mean, std = ([one.get(key) for one in over] for key in ("mean", "std"))
        table[f"mean of {len(seeds['seeds'])} seeds %"] = list(map(per_cent, mean))
        table["standard deviation, points"] = list(map(per_cent, std))
        summary += (
            f" Orange: mean of {len(seeds['seeds'])} seeds, one standard deviation to either side."
        )
        spans = [
            {"class": name, "run": THIS, "low": m - s, "high": m + s}
            for name, m, s in zip(names, mean, std, strict=True)
            if m is not None and s is not None
        ]
    rows = list(zip(*table.values(), strict=True))
    return Chart("IoU per class", summary, _draw_bars(names, runs, spans), [*table], rows)


def _draw_bars(
    names: Sequence[str],
    runs: Mapping[str, tuple[Sequence[float | None], Sequence[str]]],
    spans: Sequence[Mapping[str, str | float]],
) -> alt.TopLevelMixin:
    """Return a row a class, in it a bar a run with its text, and a line from low to high."""
    values = [
        {"class": name, "run": run, "iou": share, "text": text}
        for run, (shares, texts) in runs.items()
        for name, share, text in zip(names, shares, texts, strict=True)
    ]
    y = alt.Y("class:N", sort=list(names), title=None)
    offset = alt.YOffset("run:N", sort=list(runs))
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("iou:Q", title="IoU", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
        y=y,
        yOffset=offset,
        tooltip=["class:N", "run:N", alt.Tooltip("iou:Q", title="IoU", format=".2%")],
    )
    colors = alt.Scale(domain=list(runs), range=[BLUE, *islice(cycle(OTHERS), len(runs) - 1)])
    legend = alt.Legend(title=None, columns=1) if len(runs) > 1 else None
    layers = [
        base.mark_bar().encode(color=alt.Color("run:N", scale=colors, legend=legend)),
        base.mark_text(align="left", dx=8, fontSize=12).encode(text="text:N"),
    ]
    if spans:
        lines = alt.Chart(alt.Data(values=list(spans))).mark_rule(strokeWidth=3, color=ORANGE)
        layers.append(lines.encode(x="low:Q", x2="high:Q", y=y, yOffset=offset))
    height = alt.Step(ROW * (len(runs) + 1) // 2, **{"for": "position"})
    return alt.layer(*layers).properties(width="container", height=height)


def confusion_chart(confusion: pd.DataFrame) -> Chart:
    """Return the confusion matrix; the cells of a row, a true class, add up to 100.

    The page colours it by the names of its layers: the larger its share, the more opaque a cell,
    which reads on a light and on a dark page.

    Args:
        confusion: ``confusion.csv``.
    """
    names = [str(name) for name in confusion["actual"].drop_duplicates()]
    table = confusion.pivot(index="actual", columns="predicted", values="share")
    shares = table.loc[names, names].to_numpy(dtype=float).tolist()
    summary = f"Rows are the {len(names)} true classes, columns the predicted ones, in per cent " \
              f"of the true class. {_worst_pair(confusion)}"  # fmt: skip
    columns = ["true \\ predicted, %", *names]
    rows = [[name, *map(per_cent, row)] for name, row in zip(names, shares, strict=True)]
    return Chart("Confusion matrix", summary, _draw_matrix(confusion, names), columns, rows)


def _draw_matrix(confusion: pd.DataFrame, names: list[str]) -> alt.TopLevelMixin:
    """Return cells, with numbers in those of at least ``SHOWN``."""
    values = confusion[["actual", "predicted", "share", "pixels"]].to_dict("records")
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("predicted:N", sort=names, title="predicted class",
                axis=alt.Axis(labelAngle=-45, orient="top", labelLimit=120)),
        y=alt.Y("actual:N", sort=names, title="true class", axis=alt.Axis(labelLimit=120)),
        tooltip=[
            alt.Tooltip("actual:N", title="true"),
            "predicted:N",
            alt.Tooltip("share:Q", title="share of the true class", format=".2%"),
            alt.Tooltip("pixels:Q", format=","),
        ],
    )  # fmt: skip
    opacity = alt.FillOpacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None)
    cells = base.mark_rect().encode(fillOpacity=opacity).properties(name="cells")
    written = base.transform_filter(alt.datum.share >= SHOWN).transform_calculate(
        number="format(100 * datum.share, '.0f')"
    )
    texts = [
        written.transform_filter(test)
        .mark_text(fontSize=13)
        .encode(text="number:N")
        .properties(name=name)
        for name, test in {"faint": alt.datum.share < 0.5, "strong": alt.datum.share >= 0.5}.items()
    ]
    size = len(names) * CELL
    return alt.layer(cells, *texts).properties(width=size + NAMES, height=size)


def _worst_pair(confusion: pd.DataFrame) -> str:
    """Name the class that is most often predicted as another, and that other."""
    wrong = confusion[confusion["actual"] != confusion["predicted"]]
    if wrong.empty:
        return ""
    row = wrong.sort_values("share", ascending=False, kind="stable").iloc[0]
    share = percent(row["share"], 0)
    return f"Most often mistaken: {share} % of {row['actual']} is predicted as {row['predicted']}."
