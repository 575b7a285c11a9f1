"""Charts of a run: curves, classes, confusion; each with its numbers as a table."""

from __future__ import annotations

import altair as alt
import pandas as pd

from sgcp.core.terminal import percent
from sgcp.reporting.page import Cell, Chart, per_cent, points, to_number
from sgcp.reporting.run import Earlier

DOTS = 60  # a curve of at most this many rows marks each
SHOWN = 0.01  # share of a true class from which a cell shows its number
CELL, ROW, NAMES = 32, 24, 170  # pixels: of a cell, of a class's row, for names beside a matrix
THIS, EARLIER = "this run", "earlier run"
BLUE, GREY = "#4c78a8", "#8c959f"  # visible on white and on black
# Title, axis and number format of each curve that training writes.
CURVES = {
    "loss": ("Training loss", "loss", "~g"),
    "miou": ("mIoU while training", "mIoU", ".0%"),
    "pixel_accuracy": ("Pixel accuracy while training", "pixel accuracy", ".0%"),
    "lr": ("Learning rate", "learning rate", "~g"),
}
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
        .properties(width="container", height=180)
    )
    change = f"from {rows[0][1]:.4g} to {rows[-1][1]:.4g}" if rows else "without a value"
    summary = f"{len(rows)} values over the epochs, {change}."
    return Chart(title, summary, drawing, ("epoch", axis), rows)


def class_chart(classes: pd.DataFrame, earlier: Earlier | None) -> Chart:
    """Return bars of IoU a class, best first, beside those of an earlier run.

    Args:
        classes: ``per_class.csv``.
    """
    ranked = classes.sort_values("iou", ascending=False, kind="stable", na_position="last")
    names = [str(name) for name in ranked["class"]]
    shown = {key: title for key, title in CLASS_COLUMNS.items() if key in ranked}
    columns = ["class", *shown.values()]
    rows: list[list[Cell]] = [
        [str(row["class"]), *(per_cent(row[key]) for key in shown)]
        for row in ranked.to_dict("records")
    ]
    iou = [to_number(share) for share in ranked["iou"]]
    other, change = [], [""] * len(names)
    if earlier is not None:
        other = [earlier.scores["iou"].get(name) for name in names]
        columns.append(f"IoU of the {EARLIER} %")
        rows = [[*row, per_cent(share)] for row, share in zip(rows, other, strict=True)]
        if earlier.comparable:
            columns.append("difference, points")
            differences = list(map(points, iou, other))
            rows = [[*row, text] for row, text in zip(rows, differences, strict=True)]
            change = [f" ({text})" for text in differences]
    runs = {THIS: zip(names, iou, change, strict=True)}
    if other:
        runs[EARLIER] = zip(names, other, [""] * len(names), strict=True)
    # A row a class, a bar a run in it, with its number at the bar's end.
    values = [
        {"class": name, "run": run, "iou": share, "text": f"{percent(share)}{difference}"}
        for run, shares in runs.items()
        for name, share, difference in shares
    ]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("iou:Q", title="IoU", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
        y=alt.Y("class:N", sort=names, title=None),
        yOffset=alt.YOffset("run:N", sort=list(runs)),
        tooltip=["class:N", "run:N", alt.Tooltip("iou:Q", title="IoU", format=".2%")],
    )
    colors = alt.Scale(domain=list(runs), range=[BLUE, GREY][: len(runs)])
    legend = alt.Legend(title=None) if other else None
    bars = base.mark_bar().encode(color=alt.Color("run:N", scale=colors, legend=legend))
    numbers = base.mark_text(align="left", dx=4, fontSize=10).encode(text="text:N")
    height = alt.Step(ROW * (len(runs) + 1) // 2, **{"for": "position"})
    drawing = (bars + numbers).properties(width="container", height=height)
    best, worst = (f"{names[n]}, {percent(iou[n])} %" for n in (0, -1))
    summary = f"{len(names)} classes, best first: from {best}, to {worst}."
    return Chart("IoU per class", summary, drawing, columns, rows)


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
        .mark_text(fontSize=12)
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
