"""What a training shows on a terminal."""

import io
import math

import pytest
from rich.console import Console

from geseg.cli.liveview import LONGEST, LiveView, draw, sparkline, time_left
from geseg.steps.learner import Progress
from geseg.steps.trainconfig import Moment


def moment(done: int = 20, minutes_left: float = 12.0, dice: float = 0.7) -> Moment:
    progress = Progress(seconds=60.0)
    for value in (dice - 0.1, dice, dice - 0.02):
        progress.losses = [0.9, 0.7]
        progress.advance(value, batch_size=8)
    progress.losses = [2.0] * (done - 1) + [1.0] if done else []
    return Moment(
        description="d4 of widths 4,7,12,20 (61,482 parameters) on cpu in bf16",
        epochs=12,
        steps=40,
        patches_per_second=38.4,
        minutes_left=minutes_left,
        progress=progress,
    )


def shown(now: Moment, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(draw(now))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_all_that_one_wants_to_know_fits_80_columns() -> None:
    lines = shown(moment())
    assert lines[0] == "d4 of widths 4,7,12,20 (61,482 parameters) on cpu in bf16"
    assert lines[1].split() == ["epoch", "4/12", "━" * 15, "50%", "12", "min", "left"] or "50%" in lines[1]
    assert lines[2] == "loss 1.9500  ▁▁▁  38 patches/s"
    assert lines[3] == "val Dice 0.6800  ▁█▇  best 0.7000, epoch 2"
    assert max(map(len, lines)) <= 80


def test_after_the_last_step_it_validates() -> None:
    assert "validates" in shown(moment(done=40))[1]


def test_between_two_epochs() -> None:
    lines = shown(moment(done=0))
    assert "epoch 3/12" in lines[1]
    assert "100%" in lines[1]
    assert lines[2].startswith("loss 0.8000")


def test_without_validation_there_is_no_dice() -> None:
    assert len(shown(moment(dice=math.nan))) == 3


@pytest.mark.parametrize(
    ("minutes", "words"), [(0.5, "30 s left"), (12.3, "12 min left"), (75, "1 h 15 min left"), (61, "1 h 01 min left")]
)
def test_time_in_words(minutes: float, words: str) -> None:
    assert time_left(moment(minutes_left=minutes)) == words


def test_a_sparkline_of_many_epochs_ends_with_the_last() -> None:
    assert len(sparkline([i / 1000 for i in range(1000)])) <= LONGEST
    assert sparkline([0.0] * 99 + [1.0])[-1] == "█"
    assert sparkline([]) == ""
    assert sparkline([0.5, 0.5]) == "▁▁"


def test_it_goes_when_all_is_done() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, legacy_windows=False)
    with LiveView(console) as view:
        view.show(moment())
        view._live.refresh()
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert "val Dice 0.6800" in written
    assert written.endswith("\x1b[2K"), "the last thing is that its lines are erased"
