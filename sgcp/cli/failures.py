"""What a person sees when a command fails: one message and an exit code, never a traceback."""

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from sgcp.core.errors import DEBUG_VARIABLE, SgcpError, explain_os_error, printable

FAILED, INTERRUPTED, PIPE_CLOSED, TERMINATED = 1, 130, 141, 143  # 128 and the signal's number
RESUMING = ("download", "prepare", "train", "predict", "bundle", "segment")
SOON = 0.01  # seconds until a lost interruption is raised again
LAUNCHED = "TORCHELASTIC_RUN_ID"  # torchrun sets it


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: what is half done is cleared away as after Ctrl-C."""


class FriendlyGroup(TyperGroup):
    """Show an expected error as one message on stderr; exit code 1, or a signal's."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the command line; where nobody reads on, as behind ``| head -1``, end silently."""
        escape_unencodable()
        try:
            return super().main(*args, **settings)
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):
                raise SystemExit(PIPE_CLOSED) from None
            drop_unwritten()
            raise
        except OSError as error:  # help that cannot be written
            show_error(explain_os_error(error))
            drop_unwritten()
            raise SystemExit(FAILED) from None

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Begin a command line; help and errors have colours where the environment wants them."""
        return super().make_context(info_name, args, parent, **{"color": wants_color()} | extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, turning expected errors into exit codes."""
        try:
            with ending_on_sigterm(), raising_again():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except SgcpError as error:
            message = str(error)
        except Terminated:
            typer.echo(f"terminated; {advise_again(ctx)}", err=True)
            raise typer.Exit(TERMINATED) from None
        except KeyboardInterrupt:
            typer.echo(f"interrupted; {advise_again(ctx)}", err=True)
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
        show_error(message)
        raise typer.Exit(FAILED)


def advise_again(ctx: Any) -> str:
    """Say what running an interrupted command again does."""
    resumes = ctx.invoked_subcommand in RESUMING
    return f"run the command again{' to resume' if resumes else ''}"


def show_error(message: str) -> None:
    """Print what went wrong."""
    text = f"{typer.style('error:', fg='red', bold=True)} {printable(message)}"
    typer.echo(text, file=sys.stderr)  # err=True would write UTF-8 where it finds ASCII


def drop_unwritten() -> None:
    """Drop output that cannot be written, as on a full disk; Python would try again at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def escape_unencodable() -> None:
    r"""Print characters that standard output and error cannot encode as ``\u8def``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def wants_color() -> bool | None:
    """Return what the environment says of colours; None: they suit a terminal only."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "unknown"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Raise ``Terminated`` where SIGTERM arrives, in this process; a forked one just ends.

    Under torchrun it ends at once too: a process that waits for one that is gone hears no signal.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or LAUNCHED in os.environ or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    own = os.getpid()

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one is not waited for
        if os.getpid() == own:
            raise Terminated
        os._exit(0)  # by the signal, torch would raise an error in the process that loads data

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def raising_again() -> Iterator[None]:
    """Raise an interruption again where Python printed it and went on.

    It does so in finalizers and in functions that run at a fork, and the interruption is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    show, lost = sys.unraisablehook, list[BaseException]()

    def keep(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            lost.append(unraisable.exc_value)
            signal.setitimer(signal.ITIMER_REAL, SOON)
        else:
            show(unraisable)

    def raise_lost(_number: int, _frame: object) -> None:
        raise type(lost.pop())

    before = signal.signal(signal.SIGALRM, raise_lost)
    sys.unraisablehook = keep
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = show
