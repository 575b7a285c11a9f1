"""What a person sees when a command fails: one message and an exit code, never a traceback."""

import errno
import os
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from sgcp.errors import SgcpError, printable

INTERRUPTED = 130
DEBUG_VARIABLE = "SGCP_DEBUG"


class FriendlyGroup(TyperGroup):
    """Show an expected error as one message on stderr; exit code 1, or 130 when interrupted."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, turning expected errors into exit codes."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except SgcpError as error:
            message = str(error)
        except KeyboardInterrupt:
            typer.echo("interrupted; run the command again to go on", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except OSError as error:
            message = explain_os_error(error)
        except Exception as error:
            if DEBUG_VARIABLE in os.environ:
                raise
            text = " ".join(str(error).split())[:300]
            message = (
                f"unexpected {type(error).__name__}: {text}\n"
                f"this is a bug in sgcp; {DEBUG_VARIABLE}=1 shows where, to be reported"
            )
        typer.echo(f"error: {printable(message)}", err=True)
        raise typer.Exit(1)


def explain_os_error(error: OSError) -> str:
    """Say what the system refused and what to do; disks fill and folders are read-only."""
    advice = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some space",
        errno.EFBIG: "the file system or a limit forbids files of this size",
        errno.EACCES: "check the permissions",
        errno.EROFS: "the file system is read-only",
        errno.ENAMETOOLONG: "give a shorter one",
    }.get(error.errno or 0, "")
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error)
    return f"{where}{reason}; {advice} and run the command again" if advice else f"{where}{reason}"
