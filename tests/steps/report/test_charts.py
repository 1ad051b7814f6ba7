"""The charts on figures: a curve for each data set, with its operating points in words."""

import numpy as np

from geseg.data.patchfile import WholeImage
from geseg.steps.evaluate import EvalResult
from geseg.steps.report import charts
from geseg.steps.scores import tally


def test_links_are_not_inside_of_an_image(scored: EvalResult) -> None:
    """Whose parts nobody hears."""
    rows = charts.dice_of_images(scored)
    assert rows.count("<a ") == 3
    assert ('role="group" class="chart"' in rows, 'role="img"' in rows) == (True, False)


def test_several_data_sets_have_a_curve_each(scored: EvalResult, whole: WholeImage) -> None:
    assert whole.label is not None
    probability = np.where(whole.label, 0.9, 0.2).astype(np.float32)
    tallies = tally(whole, probability, scored.thresholds)
    drawn = charts.curves(scored, {"one": tallies, "<two>": tallies})
    assert drawn.count('class="line s0"') == drawn.count('class="line s1"') == 3 + 1
    assert "&lt;two&gt;, threshold 0.5: 1 − specificity 0.0000, sensitivity 1.0000" in drawn
