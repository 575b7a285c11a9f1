"""Shards: a part of a split for each of several processes, on one machine or on many.

Each shard is a folder of its own beside the final one, ``NAME.shards-N/I``, built, locked and gone
on with like any other; so shards may run at the same time, in any order, over one shared folder.
Whichever finishes last joins them, and only the whole gets the final name.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from sgcp.core.errors import SgcpError
from sgcp.core.files import (
    PARTIAL,
    HeldError,
    building_folder,
    only_writer,
    remove_folder,
    write_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path

Task = TypeVar("Task")

MAX_SHARDS = 10_000
MARK = ".shard"  # in a finished shard: what it was made of


@dataclass(frozen=True)
class Shard:
    """One of ``count`` shards; ``number`` begins at 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def take(self, tasks: Sequence[Task]) -> list[Task]:
        """Return every ``count``-th task: neighbours, often alike, are shared out evenly."""
        return list(tasks[self.number - 1 :: self.count])

    def folder(self, final: Path) -> Path:
        """Return where this shard of a folder is built."""
        return shards_folder(final, self.count) / str(self.number)


def shards_folder(final: Path, count: int) -> Path:
    """Return what holds all shards of a folder."""
    return final.with_name(f"{final.name}.shards-{count}")


def choose_shard(text: str | None) -> Shard | None:
    """Return the shard asked for, or else the one that a launcher such as torchrun gives.

    Args:
        text: ``I/N``, I from 1 to N; None: as the variables RANK and WORLD_SIZE say.

    Returns:
        None for the whole.

    Raises:
        SgcpError: not of this form, or given by both.
    """
    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    launched = bool(rank) and world not in ("", "1")
    if text is None:
        if not launched:
            return None
        if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world) <= MAX_SHARDS):
            raise SgcpError(f"RANK and WORLD_SIZE: '{rank[:20]}' of '{world[:20]}' is no process")
        return Shard(int(rank) + 1, int(world))
    match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MAX_SHARDS:
        raise SgcpError(
            f"--shard: I/N, I from 1 to N and N up to {MAX_SHARDS}, such as 2/8; got '{text[:40]}'"
        )
    if launched:
        raise SgcpError(
            f"--shard: the launcher shares the work out already, this is process {rank} of "
            f"{world}; leave --shard or the launcher out"
        )
    return Shard(int(match[1]), int(match[2]))


def take_own_gpu() -> None:
    """Let torch's ``cuda`` mean this process's own GPU, as the launcher numbers them."""
    import torch

    number = os.environ.get("LOCAL_RANK", "")
    if number.isdecimal() and torch.cuda.is_available():
        torch.cuda.set_device(int(number) % torch.cuda.device_count())


def is_finished(folder: Path, key: str) -> bool:
    """Tell a shard that is whole, and made of what ``key`` says, from any other."""
    try:
        return (folder / MARK).read_text(encoding="utf-8") == key
    except (OSError, UnicodeDecodeError):
        return False


def mark_finished(building: Path, key: str) -> None:
    """Mark a shard that is about to get its name."""
    write_bytes(building / MARK, key.encode(), flush=False)


def join_shards(final: Path, count: int, key: str, names: Sequence[str]) -> bool:
    """Give the files of all shards the final name, if all are there.

    Args:
        names: every file of the whole.

    Returns:
        Whether this process did it; False where a shard is missing or another process joins them.

    Raises:
        SgcpError: a file was taken out of a finished shard, or another run writes ``final``.
    """
    folder = shards_folder(final, count)
    parts = [folder / str(number) for number in range(1, count + 1)]

    def whole() -> bool:
        return all(is_finished(part, key) for part in parts)

    if not whole():
        return False
    with ExitStack() as stack:
        try:
            stack.enter_context(only_writer(folder, patience=0))
        except HeldError:  # by a process that found the whole, too
            return False
        if not whole():  # another process was quicker
            return False
        join_folders(final, parts, key, names)
        joined = folder.with_name(f"{folder.name}.old{PARTIAL}")
        remove_folder(joined)
        folder.rename(joined)  # at once: half of the shards are not to be seen
        remove_folder(joined)
    return True


def join_folders(final: Path, parts: Sequence[Path], key: str, names: Sequence[str]) -> None:
    """Link files of several folders into one, which gets its final name when whole."""
    with building_folder(final, key) as building:
        for part in parts:
            for path in part.rglob("*"):
                target = building / path.relative_to(part)
                if path.is_file() and path.name != MARK and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    link_or_copy(path, target)
        lost = [name for name in names if not (building / name).is_file()]
        if lost:
            raise SgcpError(
                f"{parts[0].parent}: {len(lost)} files, such as {lost[0]}, were taken out of a "
                "finished shard; remove that folder and run the shards again"
            )


def link_or_copy(source: Path, target: Path) -> None:
    """Let ``target`` be the same file, or a whole copy where the file system has no links."""
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:
        partial = target.with_name(target.name + PARTIAL)
        shutil.copyfile(source, partial)
        partial.replace(target)
