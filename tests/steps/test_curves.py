"""The learning curve as a picture and for TensorBoard."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from geseg.steps import curves
from geseg.steps.board import Board
from geseg.steps.curves import HEIGHT, WIDTH, epoch_ticks, nice_ticks


def rows(*dice: float) -> list[dict[str, float]]:
    return [
        {"epoch": i, "loss": 1 / i, "val_dice": value, "learning_rate": 0.01 / i} for i, value in enumerate(dice, 1)
    ]


def drawn(path: Path, curve: list[dict[str, float]]) -> np.ndarray:
    curves.draw(curve, path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def coloured(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Where a picture has a colour, as (y, x)."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.argwhere(np.abs(pixels - wanted).sum(2) < 30)


def test_two_panels_with_the_best_epoch_marked(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "c.png", rows(0.5, 0.7, 0.9, 0.8))
    assert pixels.shape == (HEIGHT, 2 * WIDTH, 3)
    loss, dice = coloured(pixels, curves.LOSS), coloured(pixels, curves.DICE)
    assert loss[:, 1].max() < WIDTH < dice[:, 1].min()
    assert loss[loss[:, 1].argmin(), 0] < loss[loss[:, 1].argmax(), 0], "the loss falls from left to right"
    peak = dice[dice[:, 0].argmin()]
    ring = pixels[peak[0] + 7, peak[1]]
    assert (ring == 255).all(), "the highest point of the curve is a ring with white inside"


def test_a_line_of_its_own_for_each_curve(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a.png", rows(math.nan)).shape == (HEIGHT, WIDTH, 3), "nothing was validated"
    assert len(coloured(drawn(tmp_path / "b.png", rows(0.5)), curves.DICE)) > 10, "one epoch is a dot"
    assert len(coloured(drawn(tmp_path / "c.png", rows(*np.linspace(0.1, 0.9, 300))), curves.LOSS)) > 100
    assert not list(tmp_path.glob(".*")), "whole or not at all"


@pytest.mark.parametrize(
    ("low", "high", "names"),
    [
        (0.5, 0.5, ["0.490", "0.495", "0.500", "0.505", "0.510"]),
        (0.0, 100.0, ["0", "20", "40", "60", "80", "100"]),
        (0.81, 0.84, ["0.810", "0.815", "0.820", "0.825", "0.830", "0.835", "0.840"]),
    ],
)
def test_ticks_are_round_numbers_around_the_values(low: float, high: float, names: list[str]) -> None:
    ticks = nice_ticks(low, high)
    assert [name for _, name in ticks] == names
    assert ticks[0][0] <= low <= high <= ticks[-1][0] + 1e-9


def test_a_flat_line_of_huge_numbers_has_ticks() -> None:
    ticks = nice_ticks(8.9e22, 8.9e22)
    assert ticks[0][0] < 8.9e22 < ticks[-1][0]


@pytest.mark.parametrize("epochs", [1, 2, 11, 12, 13, 60, 9999])
def test_epoch_ticks_are_few_and_within(epochs: int) -> None:
    ticks = epoch_ticks(epochs)
    assert ticks[0] == 1
    assert len(ticks) == len(set(ticks)) <= 13
    assert ticks[-1] <= epochs


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run folder: by name, epochs and values."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_shows_what_is_known_of_an_epoch(tmp_path: Path) -> None:
    board = Board(tmp_path, epoch=0)
    for number, row in enumerate(rows(0.5, 0.75, math.nan), 1):
        board.show(row)
        assert len(scalars(tmp_path)["loss"]) == number, "at once, while the training goes on"
    shown = scalars(tmp_path)
    assert set(shown) == {"loss", "val_dice", "learning_rate"}
    assert shown["loss"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert shown["val_dice"] == [(1, 0.5), (2, 0.75)]
    assert shown["learning_rate"] == [(epoch, pytest.approx(0.01 / epoch)) for epoch in (1, 2, 3)]


def test_tensorboard_forgets_an_epoch_that_is_done_again(tmp_path: Path) -> None:
    """A run that is killed after the line of its third epoch and before its state goes on with the third."""
    one, two, three = rows(0.5, 0.75, 0.625)
    killed = Board(tmp_path, epoch=0)
    for row in (one, two, three):
        killed.show(row)
    board = Board(tmp_path, epoch=2)
    board.show(three | {"val_dice": 0.25})
    assert scalars(tmp_path)["val_dice"] == [(1, 0.5), (2, 0.75), (3, 0.25)]


def test_without_tensorboard_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)  # which makes its import fail
    board = Board(tmp_path, epoch=0)
    board.show(rows(0.5)[0])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """No file may grow beyond 200 bytes here."""
    code = """
import resource, sys
from pathlib import Path
from geseg.errors import OutputError
from geseg.steps.board import Board
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    board = Board(Path(sys.argv[1]), 0)
    board.show({"epoch": 1, "loss": 1.0, "val_dice": 0.5, "learning_rate": 0.1})
    board.show({"epoch": 2, "loss": 1.0, "val_dice": 0.5, "learning_rate": 0.1})
except OutputError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"cannot write \S+/events.out.tfevents.\S+: File too large; choose .*", run.stdout.strip())
    assert run.stderr == ""
    assert len(scalars(tmp_path)["loss"]) == 1, "what was written before can be read"
