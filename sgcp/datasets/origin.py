"""Where raw data came from, and what changed there since."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgcp.core.errors import SgcpError, printable
from sgcp.core.files import json_digest, read_json
from sgcp.datasets.links import Placement, wanted_files
from sgcp.datasets.source import MANIFEST

if TYPE_CHECKING:
    from sgcp.core.layout import Layout


def describe_sources(
    archives: Sequence[Path], root: Path | None, place: Placement
) -> dict[str, Any]:
    """Say where raw data comes from: a folder, archives, or, empty, the web.

    A user's own folder grows, so its files count too: each with its place in the raw data. An
    archive counts by size and time.
    """
    if root is not None:
        files = {str(to): str(path) for to, path in wanted_files(root, place).items()}
        return {"root": printable(root.expanduser().absolute()), "files": json_digest(files)}
    states = {path.resolve(): path.stat() for path in archives if path.is_file()}
    known = {printable(path): [s.st_size, s.st_mtime_ns] for path, s in states.items()}
    return {"archives": known} if archives else {}


def recall_sources(layout: Layout) -> tuple[Path | None, list[Path]]:
    """Return the folder or archives of an earlier download, if they still exist.

    They may have changed since: a download that names no source looks at them again.
    """
    try:
        origin = read_json(layout.origin, made_by=f"sgcp download {layout.dataset}")
        root = Path(origin["root"]) if "root" in origin else None
        archives = [Path(name) for name in origin.get("archives", {})]
    except (SgcpError, TypeError):  # damaged, or of unknown origin
        return None, []
    if root is not None:
        return (root, []) if root.is_dir() else (None, [])
    return None, archives if all(path.is_file() for path in archives) else []


def read_manifest(layout: Layout, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what an earlier download left in the raw folder; empty, unless it is of this kind."""
    if not (layout.raw / MANIFEST).is_file():
        return {}
    try:
        manifest = read_json(layout.raw / MANIFEST, made_by=f"sgcp download {layout.dataset}")
    except SgcpError:  # damaged: get it anew
        return {}
    return manifest if manifest.items() >= identity.items() else {}


def is_complete(layout: Layout, identity: dict[str, Any], origin: dict[str, Any]) -> bool:
    """Tell whether every file of an earlier download is there that is what is asked for now.

    Args:
        identity: what the raw folder must hold.
        origin: where it must have come from; empty: anywhere.
    """
    manifest = read_manifest(layout, identity)
    if not manifest:
        return False
    try:
        if origin and read_json(layout.origin, f"sgcp download {layout.dataset}") != origin:
            return False
    except SgcpError:  # damaged, or of unknown origin: get it anew
        return False
    present = sum(path.is_file() for path in layout.raw.rglob("*")) - 1
    return bool(present == manifest.get("files"))


def list_files(raw: Path) -> dict[str, str | int]:
    """Return the files of a raw folder, each with its link's target, or its size."""
    paths = (Path(place, name) for place, _, names in os.walk(raw) for name in names)
    return {
        str(path.relative_to(raw)): os.readlink(path) if path.is_symlink() else path.stat().st_size
        for path in paths
        if path.name != MANIFEST
    }


def describe_change(before: dict[str, str | int], after: dict[str, str | int]) -> str:
    """Count what came, went and changed between two lists of a raw folder's files."""
    shared = before.keys() & after.keys()
    counts = {
        "new": len(after.keys() - shared),
        "gone": len(before.keys() - shared),
        "changed": sum(before[name] != after[name] for name in shared),
    }
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f" ({words})" if before and words else ""
