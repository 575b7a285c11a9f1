"""Class maps: ``pipeline/classes/FROM-TO.csv`` says which class of one dataset is which of another.

Columns ``from`` and ``to`` are names; ``ignore`` in ``to``: no class of the other dataset.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from sgcp.core.errors import SgcpError, shorten
from sgcp.core.files import json_digest, read_text
from sgcp.core.layout import shipped
from sgcp.datasets.classes import IGNORE, SemanticClass
from sgcp.datasets.index import Dataset
from sgcp.media.images import UInt8

NONE = "ignore"
MAX_MAP = 2**16  # bytes


def read_class_map(source: str) -> dict[str, str]:
    """Return the class of the other dataset by name, ``NONE`` where it has none.

    ``source``: a file, or the name of one in ``pipeline/classes``.
    """
    path, own = Path(source), shipped() / "pipeline" / "classes"
    if not path.is_file() and path.name == source:
        path = own / f"{source}.csv"
    try:
        lines = read_text(path, MAX_MAP).removeprefix("\ufeff").splitlines()
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    except OSError:
        known = ", ".join(sorted(file.stem for file in own.glob("*.csv")))
        raise SgcpError(f"--map: {source}: no such file. Known by name: {known}") from None
    except (ValueError, csv.Error) as error:
        raise SgcpError(f"--map: {path}: not a CSV file ({error})") from None
    if not rows or rows[0] != ["from", "to"]:
        raise SgcpError(f"--map: {path}: expected the columns `from,to`")
    names: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) != 2 or not all(row):
            raise SgcpError(f"--map: {path}: line {number}: expected two names, got {row}")
        if names.setdefault(row[0], row[1]) != row[1]:
            raise SgcpError(f"--map: {path}: line {number}: {row[0]} has two targets")
    return names


def share_classes(
    dataset: Dataset, classes: tuple[SemanticClass, ...], names: Mapping[str, str]
) -> tuple[Dataset, UInt8, UInt8]:
    """Return a dataset with the classes that it shares with a model, once both are renamed.

    ``classes`` are the model's. Classes that the map ``names`` does not list keep their names. Two
    must be shared at least.

    Returns:
        The dataset, with the map in its protocol; and tables (256,) from the old train ids of its
        labels, and from the model's, to the new ones. ``IGNORE``: of no shared class.
    """
    theirs, ours = ([names.get(item.name, item.name) for item in one]
                    for one in (dataset.classes, classes))  # fmt: skip
    colors = {name: item.color for name, item in zip(theirs, dataset.classes, strict=True)}
    colors |= {item.name: item.color for item in (*dataset.classes, *classes)}
    shared = [name for name in dict.fromkeys(theirs) if name in ours and name != NONE]
    if len(shared) < 2:
        raise SgcpError(
            f"--map: the model's classes ({shorten(dict.fromkeys(ours), 4)}) and the dataset's "
            f"({shorten(dict.fromkeys(theirs), 4)}) do not meet. Choose another map"
        )
    tables = []
    for side in (theirs, ours):
        table = np.full(256, IGNORE, np.uint8)
        table[: len(side)] = [shared.index(one) if one in shared else IGNORE for one in side]
        tables.append(table)
    common = tuple(SemanticClass(i, i, name, colors[name]) for i, name in enumerate(shared))
    protocol = f"{dataset.protocol} mapped {json_digest([names, shared])[:8]}"
    changed = replace(dataset, classes=common, protocol=protocol, void_ids=frozenset({len(shared)}))
    return changed, tables[0], tables[1]
