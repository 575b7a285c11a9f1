"""What a dataset's file defines, and its description in ``pipeline/datasets/DATASET.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sgcp.core.archives import Placement
from sgcp.core.errors import SgcpError
from sgcp.core.files import read_yaml
from sgcp.datasets.foreign_layouts import ForeignLayout
from sgcp.datasets.index import Dataset
from sgcp.datasets.raw import OnlyOnce


class Inputs(NamedTuple):
    """What a dataset is prepared from."""

    raw: Path
    description: Path
    """``pipeline/datasets/DATASET.yaml``."""
    splits: Path


@dataclass(frozen=True)
class DatasetSource:
    """A dataset: where its files belong, how a source is checked, how raw data is prepared."""

    prepare: Callable[[Inputs, Path, Any, int | str], Dataset]
    """Convert raw data into a folder, by settings and number of workers."""
    place: Placement = lambda name: None
    """Where a file of an archive or folder belongs below the raw folder; None: not needed."""
    check: Callable[[Path, OnlyOnce, str], None] = lambda raw, place, edition: None
    """Refuse a source, whose files are now in the raw folder, that is not of this edition."""
    check_part: Callable[[Path, Mapping[Path, str]], None] = lambda source, taken: None
    """Refuse one folder or archive, by the files taken from it."""
    check_file: Callable[[Path], str] = lambda path: ""
    """Return what is wrong with a downloaded file other than a zip."""
    layouts: Sequence[ForeignLayout] = ()
    """Other layouts that a source may have, to explain what it lacks."""
    root_variable: str = ""
    """The environment variable that names an unpacked folder."""
    has_server: bool = False
    """Whether a public server, with Cityscapes' evaluator, scores predictions."""
    generate: Callable[[Path, Any, int | str], None] | None = None
    """Make the raw data, by settings and number of workers, where nothing is downloaded."""
    generator: Sequence[Path] = ()
    """The code that makes it."""


def find_source(dataset: str) -> DatasetSource:
    """Return the dataset that ``sgcp/datasets/DATASET.py`` defines."""
    source: DatasetSource = import_module(f"sgcp.datasets.{dataset}").SOURCE
    return source


# No name leads out of the folder of downloads.
PlainName = Annotated[str, Field(pattern=r"^\w[\w. -]{0,199}$")]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
SplitName = Annotated[str, Field(pattern=r"^(train|val|test)$")]
Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Archive(_Strict):
    """One file on the web, and the name to keep it under."""

    file: PlainName
    url: Address
    size: Annotated[int, Field(ge=1)] | None
    """Bytes, where known; another size is another file."""
    md5: Checksum | None


class Edition(_Strict):
    """One form in which a dataset is published."""

    archives: list[Archive] = []
    """Files anybody may download."""
    site: Address | None = None
    """A site that needs a log-in, with these packages."""
    packages: list[PlainName] = []
    images: dict[SplitName, Annotated[int, Field(ge=0)]] = {}
    """Published number of images a split; the benchmark requires that of ``test``."""


class Description(_Strict):
    """Where a dataset comes from and under which terms."""

    name: str
    homepage: str | None
    licence: str
    citation: str | None
    editions: dict[str, Edition]


def read_description(path: Path) -> Description:
    """Read ``pipeline/datasets/DATASET.yaml``; raise SgcpError if it is missing or damaged."""
    try:
        return Description.model_validate(read_yaml(path))
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such file; it comes with the project") from None
    except ValidationError as error:
        finding = error.errors()[0]
        name = ".".join(map(str, finding["loc"]))
        raise SgcpError(f"{path}: {name}: {finding['msg']}; see the committed file") from None
    except ValueError as error:
        raise SgcpError(f"{path}: {error}; see the committed file") from None


def read_edition(path: Path, edition: str) -> Edition:
    """Read one edition of a dataset; raise SgcpError if the file does not describe it."""
    editions = read_description(path).editions
    if edition not in editions:
        raise SgcpError(f"{path}: no edition '{edition}'; it lists {', '.join(editions) or 'none'}")
    return editions[edition]
