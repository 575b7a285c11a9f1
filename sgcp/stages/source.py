"""Where a dataset comes from: ``pipeline/datasets/DATASET.yaml``, validated."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sgcp.errors import SgcpError

MANIFEST = "download.json"  # in the raw folder: what it holds and how many files


class Strict(BaseModel):
    """A part of the description: no unknown keys, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Archive(Strict):
    """One file on the web."""

    file: str
    """Name to keep it under."""
    url: str
    """Where it lies."""
    size: int | None
    """Bytes, where known; another size is another file."""
    md5: str | None
    """Checksum, where one is published."""


class Edition(Strict):
    """One form in which a dataset is published."""

    archives: list[Archive] = []
    """Files anybody may download."""
    site: str | None = None
    """Address of a site that wants a log-in."""
    packages: list[str] = []
    """Names of the packages on that site."""
    images: dict[str, int] = {}
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
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        return Source.model_validate(content)
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such file; it comes with the project") from None
    except ValidationError as error:
        finding = error.errors()[0]
        name = ".".join(map(str, finding["loc"]))
        raise SgcpError(f"{path}: {name}: {finding['msg']}; see the committed file") from None
    except (YAMLError, ValueError, KeyError, OverflowError, RecursionError) as error:
        raise SgcpError(f"{path}: not valid YAML ({' '.join(str(error).split())[:120]})") from None


def read_edition(path: Path, edition: str) -> Edition:
    """Read one edition of a dataset.

    Raises:
        SgcpError: the file is missing or damaged, or has no such edition.
    """
    editions = read_source(path).editions
    if edition not in editions:
        raise SgcpError(f"{path}: no edition '{edition}'; it lists {', '.join(editions) or 'none'}")
    return editions[edition]
