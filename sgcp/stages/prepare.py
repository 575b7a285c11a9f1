"""Stage ``prepare``: raw data -> train-id label maps and ``index.csv``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sgcp.core.errors import SgcpError
from sgcp.core.files import building_folder, code_digest, fingerprint
from sgcp.core.machine import keep_freed_memory
from sgcp.core.terminal import say
from sgcp.datasets.index import SPLITS, write_dataset
from sgcp.datasets.source import Inputs, find_source
from sgcp.datasets.stale import refuse_changed_raw, stamp_prepared, stamp_raw

if TYPE_CHECKING:
    from sgcp.core.layout import Layout
    from sgcp.settings import MachineSettings
    from sgcp.settings.base import Section


def prepare(layout: Layout, settings: Section, machine: MachineSettings) -> None:
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
        inputs = Inputs(layout.raw, layout.source, layout.splits)
        prepare_raw = find_source(layout.dataset).prepare
        dataset = prepare_raw(inputs, folder, settings, machine.prepare_workers)
        write_dataset(folder, dataset)
        refuse_changed_raw(layout, dataset, before)
        layout.snapshot.check()
    stamp_prepared(layout, dataset, before)
    counts = ", ".join(
        f"{sum(item.split == split for item in dataset.items)} {split}" for split in SPLITS
    )
    say(f"{layout.prepared}: {counts} ({dataset.edition} edition, protocol {dataset.protocol})")
