"""Files: read bounded and strictly, written whole or not at all, one writer at a time."""

import errno
import hashlib
import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, ScalarNode
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import YAMLError

from sgcp.core.errors import SgcpError, printable

PARTIAL = ".partial"
KEY_FILE = ".key.partial"
LOCK = ".lock"
PATIENCE = 10.0  # seconds to wait for another process that writes to the same place
MAX_JSON = 32 * 2**20  # bytes
MAX_YAML = 256 * 2**10  # bytes; pure Python reads about 100 KB a second


class EncodingError(ValueError):
    """Text in another encoding than UTF-8."""


class HeldError(SgcpError):
    """Another process writes to the same place."""


def read_text(path: Path, limit: int) -> str:
    """Read a UTF-8 text file of at most ``limit`` bytes.

    Raises:
        FileNotFoundError: there is no such file.
        EncodingError: not UTF-8.
        ValueError: too long, or not a regular file.
    """
    if path.exists() and not path.is_file():
        raise ValueError("is a folder or device, not a file")
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"longer than {limit:,} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f"{error.reason} at byte {error.start}, line {line}"
        raise EncodingError(f"not UTF-8 text ({where})") from None


def parse_json(text: str) -> Any:
    """Parse JSON strictly, for files and answers from others.

    Raises:
        ValueError: not JSON, nested too deep, a key given twice, a number that is not finite, or
            text that is not Unicode.
    """
    try:
        content = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    if "\\ud" in text.lower():  # an escaped half of a surrogate pair cannot be written again
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:80]!r} is given twice")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file of the project, with anchors and merge keys, as DVC reads it.

    ``1e-5`` is a number and keys cannot repeat. Raise FileNotFoundError, or ValueError for a file
    that is too long, not YAML, or has values that JSON does not have.
    """
    return parse_yaml(read_text(path, MAX_YAML))


def parse_yaml(text: str) -> Any:
    """Parse YAML as ``read_yaml``."""
    return json.loads(_yaml_to_json(text))


# Values that do not fit their tag (ruamel), or that JSON lacks: dates, sets, loops (json).
_ODD_YAML = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class _UniqueKeys(Composer):  # beside a merge too, where ruamel accepts a repeated key
    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        keys = Counter(key.value for key, _ in node.value if isinstance(key, ScalarNode))
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise ComposerError(None, None, f"duplicate key {repeated[0]!r}", node.start_mark)
        return node


@lru_cache(maxsize=4)  # training compares params.yaml after every epoch; parsing takes 0.2 s
def _yaml_to_json(text: str) -> str:
    try:
        yaml = YAML(typ="safe", pure=True)
        yaml.Composer = _UniqueKeys
        return json.dumps(yaml.load(text))
    except YAMLError as error:
        raise ValueError(f"not valid YAML: {' '.join(str(error).split())[:300]}") from None
    except _ODD_YAML as error:
        raise ValueError(f"not valid YAML ({type(error).__name__}: {str(error)[:200]})") from None


def write_bytes(path: Path, content: bytes, flush: bool = True) -> None:
    """Write a file under a temporary name, then rename it.

    ``flush`` waits for the disk before the renaming; needless for one of many files in a
    ``building_folder``, which waits once for all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        with partial.open("wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them, or none.

    The last is missing for the moment in which the others get their names, so that a kill in it
    leaves an incomplete set, never old beside new. A folder where a file belongs is refused.
    """
    for path in contents:
        if path.is_dir():
            raise SgcpError(f"{path}: is a folder where a file belongs; move it away")
    partials = {path: path.with_name(path.name + PARTIAL) for path in contents}
    try:
        for path, content in contents.items():
            write_bytes(partials[path], content)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        raise
    list(contents)[-1].unlink(missing_ok=True)
    for path, partial in partials.items():
        partial.replace(path)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, whole or not at all; refuse text with a file name that is not UTF-8."""
    try:
        encoded = content.encode("utf-8")
    except UnicodeEncodeError as error:
        near = printable(content[max(0, error.start - 40) : error.end])
        raise SgcpError(f"{path}: cannot hold a name that is no UTF-8, '{near}'; rename") from None
    write_bytes(path, encoded)


def to_json(content: Any, ascii_only: bool = False) -> str:
    """Return indented JSON; NaN is refused, for JSON has none."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=ascii_only) + "\n"


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, whole or not at all."""
    write_text(path, to_json(content))


def read_json(path: Path, made_by: str) -> dict[str, Any]:
    """Read a JSON object; raise SgcpError, which advises to run ``made_by``, if there is none."""
    try:
        content = parse_json(read_text(path, MAX_JSON))
    except FileNotFoundError:
        raise SgcpError(f"{path}: not found; run `{made_by}` first") from None
    except ValueError as error:
        raise SgcpError(f"{path}: not valid JSON ({error}); run `{made_by}` again") from None
    if not isinstance(content, dict):
        raise SgcpError(f"{path}: not a JSON object; run `{made_by}` again")
    return content


@contextmanager
def only_writer(target: Path, patience: float | None = None) -> Iterator[None]:
    """Hold ``target`` for this process.

    The lock is an empty file beside ``target``, which stays. It ends with its process, killed or
    not, and so do the workers of that process (``follow_parent``). Raise HeldError if another
    process still holds it after ``patience`` seconds; None: ``PATIENCE``.
    """
    path = target.with_name(f".{target.name}{LOCK}")
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while try_lock(descriptor) is False:
            if time.monotonic() > deadline:
                raise HeldError(
                    f"{target}: another sgcp is writing there. Wait for it, or stop it "
                    f"(`fuser {path}` prints its process)."
                )
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool | None:
    """Return whether an open file is locked now, until closed; None: its disk has no locks."""
    from filelock import lock_descriptor

    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        return None


@contextmanager
def building_folder(final: Path, key: str) -> Iterator[Path]:
    """Build a folder beside its final name and rename it when whole.

    After a kill, the next build with the same ``key`` finds the finished files and resumes;
    the files in it are whole, as long as each was written with ``write_bytes``. An error empties
    it, since a bad input is about to be replaced. Raise SgcpError if a file stands where the folder
    belongs, or another process builds it.
    """
    if final.is_file():
        raise SgcpError(f"{final}: is a file where a folder belongs; move it away")
    building = final.with_name(final.name + PARTIAL)
    with only_writer(final):
        key_file = building / KEY_FILE
        if not (key_file.is_file() and key_file.read_text(encoding="utf-8") == key):
            remove_folder(building)
            write_text(key_file, key)
        try:
            yield building
        except Exception:
            with suppress(OSError):  # the first error is the one to read
                remove_folder(building)
            raise
        for litter in building.rglob(f"*{PARTIAL}"):  # of a killed run, and the key
            if not litter.is_dir():  # a user's folder may be called so
                litter.unlink()
        flush_disks()
        replace_folder(building, final)


def flush_disks() -> None:
    """Wait until everything written is on the disk, where the system offers to."""
    if hasattr(os, "sync"):
        os.sync()


def replace_folder(new: Path, final: Path) -> None:
    """Give ``new`` its final name, moving a folder of that name out of the way first."""
    old = final.with_name(f"{final.name}.old{PARTIAL}")
    remove_folder(old)
    if final.is_symlink() or final.exists():
        final.rename(old)
    new.rename(final)
    remove_folder(old)


def remove_folder(path: Path) -> None:
    """Remove a folder or a link to one, if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def fingerprint(folder: Path) -> str:
    """Digest names, sizes and times below a folder: equal while the files are untouched."""
    digest = hashlib.sha256()
    # A folder at a time: fifty thousand files cost a third of a second, and no memory.
    for place, folders, names in os.walk(folder, followlinks=True):  # as globs do
        folders.sort()
        for path in filter(os.path.isfile, (os.path.join(place, name) for name in sorted(names))):
            stat = os.stat(path)
            digest.update(os.fsencode(os.path.relpath(path, folder)))  # a name may be no UTF-8
            digest.update(f"\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def json_digest(content: Any) -> str:
    """Digest JSON content, independent of the order of its keys."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(*parts: str) -> str:
    """Digest folders of this package, such as ``models``: other code resumes nothing of its own."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for part in parts:
        if not (package / part).is_dir():
            raise FileNotFoundError(package / part)
        for path in sorted((package / part).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
