"""Ctrl-C and a scheduler's SIGTERM, as a wish to stop that a step can ask for."""

import os
import shlex
import signal
import sys
from collections.abc import Collection
from types import FrameType, TracebackType

import typer

from geseg.errors import StoppedError
from geseg.files import printable

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = "\x1b[?25h"
"""The progress bar hides it, and has no time to show it again where the process is killed."""


class Interrupt:
    """Within its block the first signal only asks to stop; a second one ends the process as it always would.

    A step that stops with `StoppedError` leaves one line, with what it keeps and `again`, and the signal's exit code.

    Args:
        unit: what is finished before the work stops.
        again: the command that goes on with the work.
        kill: whether a second Ctrl-C kills the process, as SIGTERM does; KeyboardInterrupt would wait for its threads.

    Attributes:
        received: the signal, once there was one.
    """

    def __init__(self, unit: str = "photograph", again: str = "", kill: bool = False) -> None:
        self.unit, self.again, self.kill = unit, again, kill
        self.received: signal.Signals | None = None
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> "Interrupt":
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # a shell starts background jobs so, who should not feel its Ctrl-C
                signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._restore()
        if isinstance(error, StoppedError) and self.received:
            if not error.told:
                typer.echo(printable(f"geseg: {self.received.name}: {error}; go on with: {self.again}"), err=True)
            raise typer.Exit(128 + self.received) from error

    def wanted(self) -> bool:
        """Whether to stop."""
        return self.received is not None

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()
        if self.kill and self._before[signal.SIGINT] is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if os.isatty(2):  # in a log file it would help nobody; and print may be busy
            os.write(2, f"{SHOW_CURSOR}\ngeseg: stops after this {self.unit}; once more to stop at once\n".encode())

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def typed_again(without: Collection[str] = (), more: str = "") -> str:
    """The command line of this process for another try, as a shell wants it: without some options, with one more."""
    words = [word for word in sys.argv[1:] if word not in without]
    program = "torchrun ... -m geseg" if "TORCHELASTIC_RUN_ID" in os.environ else "geseg"
    return f"{program} {shlex.join([*words, *([more] if more and more not in words else [])])}"
