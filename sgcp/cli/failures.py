"""Turn failures of a command into one message on standard error and an exit code."""

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
from sgcp.core.extras import explain_missing

FAILED, INTERRUPTED, PIPE_CLOSED, TERMINATED = 1, 130, 141, 143  # 128 + the signal's number
LAUNCHED = "TORCHELASTIC_RUN_ID"  # set by torchrun


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: clean up as after Ctrl-C."""


class FriendlyGroup(TyperGroup):
    """Print an expected error as one message on stderr; exit with 1 or a signal's code."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """Run the command line; exit silently where the reader is gone, as in ``| head -1``."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # names the encoding lacks: \u8def
        try:
            return super().main(*args, **settings)
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):
                raise SystemExit(PIPE_CLOSED) from None
            _drop_unwritten_output()
            raise
        except OSError as error:  # the help cannot be written
            _print_error(explain_os_error(error))
            _drop_unwritten_output()
            raise SystemExit(FAILED) from None

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn expected errors into exit codes."""
        try:
            with _raising_on_sigterm(), _raising_lost_interrupts():
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, TyperException):
            raise
        except SgcpError as error:
            message = str(error)
        except KeyboardInterrupt as error:
            terminated = isinstance(error, Terminated)
            what = "terminated" if terminated else "interrupted"
            print(f"{what}. Run the command again to continue", file=sys.stderr)
            raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
        except OSError as error:
            message = explain_os_error(error)
        except Exception as error:
            if DEBUG_VARIABLE in os.environ:
                raise
            text = " ".join(str(error).split())[:300]
            missing = explain_missing(error) if isinstance(error, ModuleNotFoundError) else None
            message = missing or (
                f"unexpected {type(error).__name__}: {text}\n"
                f"This is a bug in sgcp. Set {DEBUG_VARIABLE}=1 for a traceback and report it "
                "with the output of `sgcp doctor`"
            )
        _print_error(message)
        raise typer.Exit(FAILED)


def _print_error(message: str) -> None:
    from rich.text import Text

    from sgcp.core.terminal import Lines

    Lines(stderr=True).print(Text.assemble(("error:", "bold red"), f" {printable(message)}"))


def _drop_unwritten_output() -> None:
    """Drop output that a full disk refused: Python would try again, and fail, when it exits."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


@contextmanager
def _raising_on_sigterm() -> Iterator[None]:
    """Raise ``Terminated`` on SIGTERM in this process; a forked worker just exits.

    Under torchrun, SIGTERM ends the process at once: a process that waits for a dead peer would
    never run the handler.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or LAUNCHED in os.environ or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    process = os.getpid()

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
        if os.getpid() == process:
            raise Terminated
        os._exit(0)  # any other code makes torch raise in the parent of a loader process

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _raising_lost_interrupts() -> Iterator[None]:
    """Raise an interrupt again after Python swallowed it in a finalizer or at a fork.

    Python prints an exception raised there and continues, so the command would not end.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or not hasattr(signal, "setitimer"):  # Windows has none
        yield
        return
    show, lost = sys.unraisablehook, list[BaseException]()

    def keep(unraisable: Any) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            lost.append(unraisable.exc_value)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
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
