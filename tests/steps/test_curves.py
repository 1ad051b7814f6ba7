"""The learning curve as a picture and for TensorBoard."""

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    curve = rows(*np.linspace(0.1, 0.9, 300))
    curve[7]["loss"] = math.nan
    curve[8]["loss"] = math.inf
    assert len(coloured(drawn(tmp_path / "c.png", curve), curves.LOSS)) > 100, "what is no number leaves a gap"
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


@pytest.mark.parametrize("epochs", [1, 2, 11, 12, 13, 60, 9999])
def test_epoch_ticks_are_few_and_within(epochs: int) -> None:
    ticks = epoch_ticks(epochs)
    assert ticks[0] == 1
    assert len(ticks) == len(set(ticks)) <= 13
    assert ticks[-1] <= epochs


class Writer:
    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step, self.scalars = folder, purge_step, list[tuple[str, float, int]]()
        written.append(self)

    def add_scalar(self, name: str, value: float, epoch: int) -> None:
        self.scalars.append((name, value, epoch))

    def flush(self) -> None: ...

    close = flush


written: list[Writer] = []


def test_tensorboard_gets_what_is_known_of_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    subject = Board(tmp_path, epoch=4)
    subject.show(rows(0.5, 0.75)[1])
    subject.show(rows(0.5, math.nan)[1])
    subject.close()
    assert (written[-1].folder, written[-1].purge_step) == (str(tmp_path / "tensorboard"), 5)
    loss, dice, rate = ("loss", 0.5, 2), ("val_dice", 0.75, 2), ("learning_rate", 0.005, 2)
    assert written[-1].scalars == [loss, dice, rate, loss, rate]


def test_without_tensorboard_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # which makes its import fail
    subject = Board(tmp_path, epoch=0)
    subject.show(rows(0.5)[0])
    subject.close()
    assert not list(tmp_path.iterdir())
