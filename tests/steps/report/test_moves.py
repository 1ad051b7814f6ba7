"""The equivariance panel: a line for each model, and none where nothing was moved."""

import dataclasses
from pathlib import Path

from geseg.steps.evalresult import Beside, EvalResult
from geseg.steps.moving import MOVES, Moved
from geseg.steps.report import moves


def moved(dice: float, difference: float) -> tuple[Moved, ...]:
    zero = MOVES[0].name
    return tuple(Moved(m.name, m.exact, dice, 0.9, 0.0 if m.name == zero else difference, 0.1, 0.02) for m in MOVES)


def test_the_equivariance_panel_has_a_line_for_each_model(scored: EvalResult) -> None:
    beside = Beside(Path("runs/<plain>"), "cpu", moved(0.7, 1e-2))
    panel = moves.panel(dataclasses.replace(scored, moved=moved(0.8, 1e-7), beside=beside))
    assert panel.count("<svg") - panel.count('aria-hidden="true"') == 4
    assert panel.count('class="line s0"') == panel.count('class="line s1"') == 4 + 1  # and the legend
    assert "runs/&lt;plain&gt;, mirror rot 90: 0.7" in panel
    assert panel.count("rot 15: 1e-07") == 1
    assert moves.panel(scored) == ""
