"""Stage ``prepare``: raw data -> train-id label maps and ``index.csv``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from sgcp.core.errors import SgcpError
from sgcp.core.files import building_folder, code_digest, fingerprint, read_json, read_text
from sgcp.core.memory import keep_freed_memory
from sgcp.core.terminal import say
from sgcp.datasets.camvid import prepare_camvid
from sgcp.datasets.cityscapes import prepare_cityscapes
from sgcp.datasets.custom import prepare_own
from sgcp.datasets.index import SPLITS, Dataset, write_dataset
from sgcp.datasets.source import MANIFEST, read_edition
from sgcp.datasets.stale import refuse_changed_raw, stamp_prepared
from sgcp.datasets.stamps import stamp_raw

if TYPE_CHECKING:
    from pathlib import Path

    from sgcp.core.layout import Layout
    from sgcp.settings import CamVidPrepare, MachineSettings, PrepareSettings

MAX_SPLIT = 2**20  # bytes of a list of stems


def prepare(
    layout: Layout, settings: CamVidPrepare | PrepareSettings, machine: MachineSettings
) -> None:
    """Convert ``layout.raw`` into ``layout.prepared``.

    Raises:
        SgcpError: the raw data is missing, incomplete or damaged.
    """
    if not layout.raw.is_dir():
        raise SgcpError(f"{layout.raw}: not found; run `sgcp download {layout.dataset}` first")
    keep_freed_memory()  # a sixth of the time at 1024x2048 (benchmarks/scaling.py)
    splits = fingerprint(layout.splits) if layout.splits.is_dir() else ""
    code = code_digest("datasets", "media")
    key = json.dumps([settings.model_dump(mode="json"), fingerprint(layout.raw), splits, code])
    before = stamp_raw(layout)
    with building_folder(layout.prepared, key) as folder:
        dataset = convert(layout, settings, machine, folder)
        write_dataset(folder, dataset)
        refuse_changed_raw(layout, dataset, before)
        layout.snapshot.check()
    stamp_prepared(layout, dataset, before)
    counts = ", ".join(
        f"{sum(item.split == split for item in dataset.items)} {split}" for split in SPLITS
    )
    say(f"{layout.prepared}: {counts} ({dataset.edition} edition, protocol {dataset.protocol})")


def convert(
    layout: Layout,
    settings: CamVidPrepare | PrepareSettings,
    machine: MachineSettings,
    folder: Path,
) -> Dataset:
    """Call the converter of this dataset."""
    workers = machine.prepare_workers
    if layout.dataset == "camvid":
        splits = {split: read_split(layout.splits / f"{split}.txt") for split in SPLITS}
        protocol: str = settings.protocol  # type: ignore[union-attr]
        return prepare_camvid(layout.raw, folder, splits, protocol, settings.allow_missing, workers)
    if layout.dataset == "custom":
        return prepare_own(layout.raw, folder, settings.allow_missing, workers)
    if layout.dataset == "sample":
        made = read_json(layout.raw / MANIFEST, made_by="sgcp download sample")
        edition, expected = "procedural", {split: made.get(split, 0) for split in SPLITS}
        if not all(type(count) is int for count in expected.values()):
            raise SgcpError(f"{layout.raw / MANIFEST}: damaged; run `sgcp download sample` again")
    else:
        edition = "fine"
        expected = read_edition(layout.source, edition).images
    return prepare_cityscapes(
        layout.raw, folder, layout.dataset, edition, expected, settings.allow_missing, workers
    )


def read_split(path: Path) -> list[str]:
    """Read the stems of a published split.

    Raises:
        SgcpError: missing, empty, a stem given twice, or one that is no plain file name.
    """
    try:
        stems = read_text(path, MAX_SPLIT).split()
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such file; it comes with the project") from None
    except ValueError as error:
        raise SgcpError(f"{path}: no list of stems ({error}); it comes with the project") from None
    if not stems:
        raise SgcpError(f"{path}: an empty split")
    if odd := [stem for stem in stems if not re.fullmatch(r"\w[\w.-]*", stem)]:
        raise SgcpError(f"{path}: {odd[0][:80]!r} is no stem of an image's name")
    if len(set(stems)) < len(stems):
        raise SgcpError(f"{path}: a stem stands there twice")
    return stems
