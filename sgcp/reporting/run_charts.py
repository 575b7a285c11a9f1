"""Charts of a run, each with its numbers as a table.

They hold no colours: the page gives those of its theme, light or dark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt

from sgcp.reporting.numbers import percent, points, to_number
from sgcp.reporting.page import Cell, Chart

if TYPE_CHECKING:
    import pandas as pd

DOTS = 60  # rows of a curve up to which each is marked
SHOWN = 0.01  # shares of a true class from which on a cell has its number
CELL, ROW = 30, 24  # pixels
OWN, OTHER = "this run", "earlier run"
# Title, axis, and how its numbers are written, of each curve that training leaves.
CURVES = {
    "loss": ("Training loss", "loss", ".2f"),
    "miou": ("mIoU in training", "mIoU", ".0%"),
    "pixel_accuracy": ("Pixel accuracy in training", "pixel accuracy", ".0%"),
    "lr": ("Learning rate", "learning rate", "~g"),
}
CLASS_COLUMNS = {
    "iou": "IoU %", "recall": "recall %", "precision": "precision %", "iiou": "iIoU %",
    "pixel_share": "share of pixels %",
}  # fmt: skip


def curve_charts(curves: dict[str, pd.DataFrame]) -> list[Chart]:
    """Return a chart for each curve (columns ``step`` and its name), by epochs."""
    return [curve_chart(name, table) for name, table in curves.items()]


def curve_chart(name: str, table: pd.DataFrame) -> Chart:
    """Return the chart of one curve."""
    title, axis, pattern = CURVES[name]
    values = table[["step", name]].dropna().to_dict("records")
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_line(point=len(values) <= DOTS, tooltip=True)
        .encode(
            x=alt.X("step:Q", title="epoch", axis=alt.Axis(format="d", tickMinStep=1)),
            y=alt.Y(f"{name}:Q", title=axis, axis=alt.Axis(format=pattern)),
            tooltip=[
                alt.Tooltip("step:Q", title="epoch"),
                alt.Tooltip(f"{name}:Q", title=axis, format=pattern),
            ],
        )
        .properties(width="container", height=180)
    )
    first, last = values[0][name], values[-1][name]
    return Chart(
        name=f"curve-{name.replace('_', '-')}",
        title=title,
        summary=f"{title} over {len(values)} values, from {first:.4g} to {last:.4g}.",
        spec=chart.to_dict(),
        columns=("epoch", axis),
        rows=[(str(row["step"]), f"{row[name]:.6g}") for row in values],
    )


def class_chart(classes: pd.DataFrame, other: dict[str, Any] | None, compares: bool) -> Chart:
    """Return bars of IoU a class, best first, beside those of an earlier run.

    Args:
        classes: ``per_class.csv``.
        other: the earlier run's IoU by class; None: there is none.
        compares: whether the two mean the same, so that a difference may be shown.
    """
    ranked = classes.sort_values("iou", ascending=False, kind="stable", na_position="last")
    names = [str(name) for name in ranked["class"]]
    own = dict(zip(names, map(to_number, ranked["iou"]), strict=True))
    runs = {OWN: own} | ({OTHER: other} if other is not None else {})
    values = [
        {
            "class": name,
            "run": run,
            "iou": to_number(iou.get(name)),
            "label": percent(iou.get(name)),
        }
        for run, iou in runs.items()
        for name in names
    ]
    if other is not None and compares:
        for value in values[: len(names)]:
            value["label"] += f" ({points(value['iou'], other.get(value['class']))})"
    columns, rows = class_table(ranked, other, compares)
    return Chart(
        name="classes",
        title="IoU per class",
        summary=f"Bars of {len(names)} classes, best first: {names[0]} {percent(own[names[0]])} %, "
        f"last {names[-1]} {percent(own[names[-1]])} %.",
        spec=draw_bars(values, names, list(runs)).to_dict(),
        columns=columns,
        rows=rows,
    )


def class_table(
    ranked: pd.DataFrame, other: dict[str, Any] | None, compares: bool
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return columns and rows of ``per_class.csv`` for people, with an earlier run's IoU."""
    shown = {key: title for key, title in CLASS_COLUMNS.items() if key in ranked}
    columns = ["class", *shown.values()]
    rows = [
        [str(row["class"]), *(percent(row[key]) for key in shown)]
        for row in ranked.to_dict("records")
    ]
    if other is not None:
        columns.append(f"IoU of the {OTHER} %")
        for row in rows:
            row.append(percent(other.get(row[0])))
    if other is not None and compares:
        columns.append("difference, points")
        for row, iou in zip(rows, ranked["iou"], strict=True):
            row.append(points(iou, other.get(row[0])))
    return tuple(columns), [tuple(row) for row in rows]


def draw_bars(values: list[dict[str, Any]], names: list[str], runs: list[str]) -> alt.LayerChart:
    """Return a row a class, a bar a run in it, with its number at the bar's end."""
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y("class:N", sort=names, title=None),
        yOffset=alt.YOffset("run:N", sort=runs),
        tooltip=[
            alt.Tooltip("class:N"),
            alt.Tooltip("run:N"),
            alt.Tooltip("iou:Q", title="IoU", format=".2%"),
        ],
    )
    legend = alt.Legend(orient="top", title=None) if len(runs) > 1 else None
    bars = base.mark_bar().encode(
        x=alt.X("iou:Q", title="IoU", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
        color=alt.Color("run:N", sort=runs, legend=legend),
    )
    texts = base.mark_text(align="left", dx=4, fontSize=10).encode(x="iou:Q", text="label:N")
    height = alt.Step(ROW * (len(runs) + 1) // 2)
    return (bars + texts).properties(width="container", height=height)


def confusion_chart(confusion: pd.DataFrame) -> Chart:
    """Return the confusion matrix: true classes in rows, which add up to one.

    Args:
        confusion: ``confusion.csv``.
    """
    names = [str(name) for name in confusion["actual"].drop_duplicates()]
    values = confusion[["actual", "predicted", "share", "pixels"]].to_dict("records")
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("predicted:N", sort=names, title="predicted class",
                axis=alt.Axis(labelAngle=-50, orient="top")),
        y=alt.Y("actual:N", sort=names, title="true class"),
        tooltip=[
            alt.Tooltip("actual:N", title="true"),
            alt.Tooltip("predicted:N"),
            alt.Tooltip("share:Q", title="share of the true class", format=".2%"),
            alt.Tooltip("pixels:Q", format=","),
        ],
    )  # fmt: skip
    cells = base.mark_rect().encode(
        color=alt.Color(
            "share:Q",
            scale=alt.Scale(domain=[0, 1]),
            legend=alt.Legend(title="share of the true class", format="%", orient="bottom"),
        )
    )
    # Black or white, whichever the cell's colour lets be read, in a light or a dark theme.
    bright = alt.expr.luminance(alt.expr.scale("color", alt.datum.share)) > 0.18
    texts = (
        base.transform_filter(alt.datum.share >= SHOWN)
        .transform_calculate(number="format(100 * datum.share, '.0f')")
        .mark_text(fontSize=11)
        .encode(text="number:N", color=alt.condition(bright, alt.value("#000"), alt.value("#fff")))
    )
    chart = (cells + texts).properties(width=alt.Step(CELL), height=alt.Step(CELL))
    table = confusion.pivot(index="actual", columns="predicted", values="share")
    table = table.loc[names, names]
    return Chart(
        name="confusion",
        title="Confusion matrix",
        summary=f"{len(names)} true classes by {len(names)} predicted ones. {worst_pair(confusion)}",
        spec=chart.to_dict(),
        columns=("true \\ predicted, %", *names),
        rows=[
            (name, *(percent(share) for share in row))
            for name, row in zip(names, table.to_numpy(dtype=float).tolist(), strict=True)
        ],
        wide=True,
    )


def worst_pair(confusion: pd.DataFrame) -> str:
    """Say which class is most often taken for which other."""
    wrong = confusion[confusion["actual"] != confusion["predicted"]]
    if not len(wrong):
        return ""
    row = wrong.loc[wrong["share"].idxmax()]
    share = percent(row["share"], 0)
    return f"Most often mistaken: {share} % of {row['actual']} is taken for {row['predicted']}."
