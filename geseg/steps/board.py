"""The learning curve for TensorBoard, where that is installed."""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from geseg.steps.runfolder import BOARD


class Board:
    """Writes a row of the learning curve at a time; without TensorBoard it does nothing.

    Args:
        out: the run folder.
        epoch: how many epochs are done; what an earlier process wrote of later ones is hidden.
    """

    def __init__(self, out: Path, epoch: int) -> None:
        self._writer: Any = None
        with suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - it is not everywhere

            self._writer = SummaryWriter(str(out / BOARD), purge_step=epoch + 1)

    def show(self, row: dict[str, float]) -> None:
        """Write what happened in an epoch, for a viewer to see at once."""
        if self._writer is None:
            return
        for name in ("loss", "val_dice", "learning_rate"):
            if not math.isnan(row[name]):  # as is the Dice without validation images
                self._writer.add_scalar(name, row[name], int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            self._writer.close()
