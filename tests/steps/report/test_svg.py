"""Drawing: what is escaped, how axes are chosen, where points lie."""

import math

import pytest

from geseg.steps.report.svg import Plane, Scale, around, element, text, unit


def test_names_are_escaped_wherever_they_stand() -> None:
    assert text("<b>\"&'\n\u202e") == "&lt;b&gt;&quot;&amp;&#x27;\\n\\u202e"
    assert element("a", "x", title='"><script>', data_name="\udcff") == (
        '<a title="&quot;&gt;&lt;script&gt;" data-name="\\udcff">x</a>'
    )


def test_an_axis_fills_its_chart_and_ends_on_round_numbers() -> None:
    scale = around([0.7312, 0.8499, math.nan], "Dice")
    assert (scale.low, scale.high) == (pytest.approx(0.7), pytest.approx(0.85))
    assert [name for _, name in scale.ticks] == ["0.70", "0.75", "0.80", "0.85"]
    assert around([1.0, 1.0], "Dice").high == 1
    short = around([0.8, 0.8001], "Dice", least=0.05)
    assert short.high - short.low == pytest.approx(0.05)
    for most in (0.3, 5.1, 37.0, 99.9):
        axis = around([0.0, most], "flipped", ceiling=100.0)
        assert axis.low == 0
        assert axis.high >= most
        assert len(axis.ticks) <= 7
    assert around([math.nan], "Dice").low == 0


def test_places_on_a_plane() -> None:
    plane = Plane(x=unit("x"), y=Scale(low=1e-4, high=1, logarithmic=True), width=100, height=100)
    assert (plane.px(0), plane.px(1)) == (48, 88)
    assert plane.py(1e-2) == pytest.approx((plane.py(1) + plane.py(1e-4)) / 2)
    assert plane.py(1e-9) == plane.py(1e-4)
    assert plane.line([(0, 1), (0.001, 1), (math.nan, 1), (1, 1)], "s0").count("M") == 2
    assert plane.mark((math.nan, 1), "dot", "s0", "") == ""
