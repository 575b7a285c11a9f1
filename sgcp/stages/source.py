"""What ``download`` and ``prepare`` both know of a dataset's source."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sgcp.errors import SgcpError

MANIFEST = "download.json"  # in the raw folder: what was asked for and how many files came


def read_source(path: Path) -> dict[str, Any]:
    """Read where a dataset's archives lie.

    Raises:
        SgcpError: missing or not of the expected form.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        if not isinstance(content["editions"], dict):
            raise TypeError("editions")
    except FileNotFoundError:
        raise SgcpError(f"{path}: no such file; it comes with the project") from None
    except (YAMLError, KeyError, TypeError) as error:
        raise SgcpError(f"{path}: damaged ({' '.join(str(error).split())[:120]})") from None
    return dict(content)
