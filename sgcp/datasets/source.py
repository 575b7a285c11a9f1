"""Where a dataset comes from: ``pipeline/datasets/DATASET.yaml``, validated."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from sgcp.core.errors import SgcpError
from sgcp.core.files import read_yaml

MANIFEST = "download.json"  # in the raw folder: what it holds and how many files


def _plain_name(name: str) -> str:
    """Refuse a name that leads out of the folder of downloads."""
    if not re.fullmatch(r"[\w][\w. -]{0,199}", name):
        raise ValueError(f"{name[:80]!r} is no plain file name")
    return name


PlainName = Annotated[str, AfterValidator(_plain_name)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")]
SplitName = Annotated[str, Field(pattern=r"^(train|val|test)$")]
Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+")]


class Strict(BaseModel):
    """A part of the description: no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Archive(Strict):
    """One file on the web."""

    file: PlainName
    """Name to keep it under."""
    url: Address
    """Where it lies."""
    size: Annotated[int, Field(ge=1)] | None
    """Bytes, where known; another size is another file."""
    md5: Checksum | None
    """Checksum, where one is published."""


class Edition(Strict):
    """One form in which a dataset is published."""

    archives: list[Archive] = []
    """Files anybody may download."""
    site: Address | None = None
    """Address of a site that wants a log-in."""
    packages: list[PlainName] = []
    """Names of the packages on that site."""
    images: dict[SplitName, Annotated[int, Field(ge=0)]] = {}
    """Published number of images a split; the benchmark insists on that of ``test``."""


class Source(Strict):
    """Where a dataset comes from and under which terms."""

    name: str
    homepage: str | None
    licence: str
    citation: str | None
    editions: dict[str, Edition]


def read_source(path: Path) -> Source:
    """Read a dataset's description.

    Raises:
        SgcpError: missing or not of the expected form.
    """
    try:
        return Source.model_validate(read_yaml(path))
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such file; it comes with the project") from None
    except ValidationError as error:
        finding = error.errors()[0]
        name = ".".join(map(str, finding["loc"]))
        raise SgcpError(f"{path}: {name}: {finding['msg']}; see the committed file") from None
    except ValueError as error:
        raise SgcpError(f"{path}: {error}; see the committed file") from None


def read_edition(path: Path, edition: str) -> Edition:
    """Read one edition of a dataset.

    Raises:
        SgcpError: the file is missing or damaged, or has no such edition.
    """
    editions = read_source(path).editions
    if edition not in editions:
        raise SgcpError(f"{path}: no edition '{edition}'; it lists {', '.join(editions) or 'none'}")
    return editions[edition]
