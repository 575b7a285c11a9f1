"""``index.csv`` and ``dataset.json``: what a prepared dataset holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sgcp.datasets.classes import SemanticClass, classes_from_json, classes_to_json
from sgcp.errors import SgcpError
from sgcp.files import read_json, write_json, write_text

COLUMNS = ("split", "image", "label", "sequence", "height", "width")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Item:
    """One picture of a split."""

    split: str
    image: Path
    """Below the raw folder."""
    label: Path | None
    """Below the prepared folder; None where no labels are published."""
    sequence: str
    """City (Cityscapes) or recording (CamVid)."""
    height: int
    width: int

    @property
    def stem(self) -> str:
        """The picture's name without folder and ending: its identity in every dataset here."""
        return self.image.stem

    @property
    def submission_stem(self) -> str:
        """What a prediction's name begins with: ``<city>_<seq>_<frame>`` for Cityscapes."""
        return self.stem.removesuffix("_leftImg8bit")


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset: its classes, its provenance, its pictures."""

    name: str
    edition: str
    protocol: str
    """How source labels became classes; stamped into every metrics file."""
    classes: tuple[SemanticClass, ...]
    items: tuple[Item, ...]

    def split(self, name: str, labelled: bool = True) -> list[Item]:
        """Return one split, in the order of the index.

        Raises:
            SgcpError: the split is empty, or has no labels where they are asked for.
        """
        items = [item for item in self.items if item.split == name]
        if not items:
            raise SgcpError(f"{self.name}: split '{name}' is empty; see its index.csv")
        if labelled and any(item.label is None for item in items):
            raise SgcpError(
                f"{self.name}: split '{name}' has pictures without labels, so it cannot be "
                "trained on or scored; choose another split in params.yaml"
            )
        return items

    def provenance(self) -> dict[str, Any]:
        """Return what identifies the data behind a number."""
        return {"dataset": self.name, "edition": self.edition, "protocol": self.protocol}


def write_dataset(folder: Path, dataset: Dataset) -> None:
    """Write ``index.csv`` and ``dataset.json`` into a prepared folder."""
    rows = [
        (i.split, i.image.as_posix(), i.label.as_posix() if i.label else "", i.sequence,
         i.height, i.width)
        for i in dataset.items
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_text(folder / "index.csv", table.to_csv(index=False, lineterminator="\n"))
    counts = {
        split: {
            "images": sum(item.split == split for item in dataset.items),
            "labels": sum(item.split == split and bool(item.label) for item in dataset.items),
        }
        for split in SPLITS
    }
    content = dataset.provenance() | {
        "splits": counts,
        "classes": classes_to_json(dataset.classes),
    }
    write_json(folder / "dataset.json", content)


def read_dataset(folder: Path) -> Dataset:
    """Read a prepared folder.

    Raises:
        SgcpError: not prepared yet, or damaged.
    """
    command = f"sgcp prepare {folder.name}"
    content = read_json(folder / "dataset.json", made_by=command)
    try:
        table = pd.read_csv(
            folder / "index.csv", dtype={"label": str, "sequence": str}, keep_default_na=False
        )
        if tuple(table.columns) != COLUMNS or table.empty:
            raise ValueError(f"index.csv: expected the columns {', '.join(COLUMNS)} and rows")
        items = tuple(_item_from_row(row) for row in table.to_dict("records"))
        return Dataset(
            name=str(content["dataset"]),
            edition=str(content["edition"]),
            protocol=str(content["protocol"]),
            classes=classes_from_json(content["classes"]),
            items=items,
        )
    except (OSError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise SgcpError(f"{folder}: damaged ({error}); run `{command}` again") from None


def _item_from_row(row: dict[Any, Any]) -> Item:
    return Item(
        split=str(row["split"]),
        image=Path(row["image"]),
        label=Path(row["label"]) if row["label"] else None,
        sequence=str(row["sequence"]),
        height=int(row["height"]),
        width=int(row["width"]),
    )


def refuse_overlap(trained: Sequence[str], evaluated: Sequence[str]) -> None:
    """Refuse to score pictures that were trained on.

    Raises:
        SgcpError: naming how many stems the two lists share, and one of them.
    """
    shared = sorted(set(trained) & set(evaluated))
    if shared:
        raise SgcpError(
            f"{len(shared)} of {len(evaluated)} pictures to score were trained on (such as "
            f"{shared[0]}): the number would mean nothing; choose another split in params.yaml"
        )


def check_counts(
    dataset: str, found: Mapping[str, int], expected: Mapping[str, int], allow_missing: bool
) -> None:
    """Compare images found with those published.

    Raises:
        SgcpError: nothing at all; or fewer than published and ``allow_missing`` is off.
    """
    if not any(found.values()):
        raise SgcpError(f"{dataset}: the raw folder holds none of its images; download it again")
    short = [f"{s}: {found[s]} of {expected[s]}" for s in expected if found[s] < expected[s]]
    if short and not allow_missing:
        raise SgcpError(
            f"{dataset}: images are missing ({'; '.join(short)}); complete the download, or go on "
            f"with what is there: `sgcp prepare {dataset} --allow-missing`"
        )
