"""Ctrl-C and a scheduler's SIGTERM, as a wish to stop that a step can ask for."""

import os
import signal
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Within its block the first signal only asks to stop; a second one ends the process as it always would.

    Attributes:
        received: the signal, once there was one.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> "Interrupt":
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # a shell starts background jobs so, who should not feel its Ctrl-C
                signal.signal(number, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._restore()

    def wanted(self) -> bool:
        """Whether to stop."""
        return self.received is not None

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()
        os.write(2, b"\ngeseg: stops after this photograph; once more to stop at once\n")  # print may be busy

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
