"""The learning curve for TensorBoard, where that is installed."""

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from geseg.errors import OutputError
from geseg.steps.runfolder import BOARD


class Board:
    """Writes a row of the learning curve at a time; without TensorBoard it does nothing.

    TensorBoard's own writer, which torch offers, writes from a thread that prints a traceback when the disk is full.

    Args:
        out: the run folder.
        epoch: how many epochs are done; what an earlier process wrote of later ones is hidden.

    Raises:
        OutputError: the file cannot be written; so does `show`.
    """

    def __init__(self, out: Path, epoch: int) -> None:
        self._event: Any = None
        with suppress(ImportError):
            from tensorboard.compat.proto import event_pb2  # noqa: PLC0415 - it is not everywhere
            from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415

            self._event, self._records = event_pb2.Event, RecordWriter
            # readers take the files of a folder in the order of their names
            self._path = out / BOARD / f"events.out.tfevents.{time.time():017.6f}.{os.getpid()}"
            self._write(file_version="brain.Event:2")
            self._write(step=epoch + 1, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def show(self, row: dict[str, float]) -> None:
        """Write what happened in an epoch, for a viewer to see at once."""
        known = {name: row[name] for name in ("loss", "val_dice", "learning_rate") if not math.isnan(row[name])}
        values = [{"tag": name, "simple_value": value} for name, value in known.items()]  # no Dice without validation
        self._write(step=int(row["epoch"]), summary={"value": values})

    def _write(self, **event: Any) -> None:  # noqa: ANN401 - fields of TensorBoard's message
        if self._event is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                self._records(file).write(self._event(wall_time=time.time(), **event).SerializeToString())
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; choose another place with -o") from error
