"""Functions by name: registered ones, and those of the user (``package.module:function``)."""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from sgcp.core.errors import SgcpError


def find_function(name: str, registered: Mapping[str, str], kind: str) -> Callable[..., Any]:
    """Import the function that a name stands for; raise SgcpError if that fails.

    Args:
        name: a key of ``registered``, or ``package.module:function``; the module is installed or
            lies in the current folder.
        registered: ``module:function`` by name.
        kind: of the function, for messages: the setting that names it.
    """
    module, colon, function = registered.get(name, name).partition(":")
    if not colon:
        raise SgcpError(
            f"{kind}: unknown '{name}'. Choose one of {', '.join(registered)}, or name a function "
            "as package.module:function"
        )
    if name not in registered and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a console script does not search it
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, TypeError) as error:  # TypeError: a relative name
        raise SgcpError(
            f"{kind}: '{name}' cannot be imported: {error}. Start sgcp in the folder of "
            "the module, or install it"
        ) from error
    except (Exception, SystemExit) as error:  # a SyntaxError, or whatever the module raises
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SgcpError(f"{kind}: '{name}' fails on import: {reason}. Correct {module}") from error
    if callable(found):
        return found
    raise SgcpError(f"{kind}: '{name}' is no function")


def source_digest(function: Callable[..., Any]) -> str:
    """Return the SHA-256 of the file that defines a function; nothing where there is none."""
    try:
        return hashlib.sha256(Path(inspect.getfile(function)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""
