"""Headers: what JSON holds becomes the dataclass that was written, or a reason why not."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from geseg import headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    name: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: int
    kind: Literal["a", "b"]
    pair: tuple[float, float] | None = None
    inner: tuple[Inner, ...] = ()
    sure: bool = False
    figures: dict[str, float] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)


WHOLE = Outer(
    count=3,
    kind="b",
    pair=(1.0, 2.5),
    inner=(Inner(name="x", share=0.5),),
    sure=True,
    figures={"dice": 0.5},
    more={"list": [1, None, {"a": "b"}]},
)


def test_a_header_comes_back() -> None:
    for header in (WHOLE, Outer(count=0, kind="a")):
        assert headers.build(Outer, headers.parse(json.dumps(dataclasses.asdict(header)))) == header


def test_whole_numbers_are_floats_where_these_are_due_and_figures_may_be_undefined() -> None:
    found = headers.build(Outer, {"count": 1, "kind": "a", "pair": [1, 2], "figures": {"dice": math.nan}})
    assert found.pair == (1.0, 2.0)
    assert isinstance((found.pair or ("",))[0], float)
    assert math.isnan(found.figures["dice"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": "3"}, 'count is "3", expected int'),
        ({"count": 3.0}, "count is 3.0, expected int"),
        ({"count": True}, "count is true, expected int"),
        ({"kind": "c"}, "kind is \"c\", expected Literal['a', 'b']"),
        ({"kind": ["a"]}, "kind is [\"a\"], expected Literal['a', 'b']"),
        ({"pair": [1, 2, 3]}, "pair is [1, 2, 3], expected tuple[float, float]"),
        ({"pair": [1, "2"]}, 'pair is "2", expected float'),
        ({"pair": [1, 10**400]}, "pair is 1000"),
        ({"inner": [{"name": "x"}]}, "missing fields ['share']"),
        ({"inner": {}}, "inner is {}, expected tuple["),
        ({"inner": [[]]}, "inner is [], expected Inner"),
        ({"sure": 1}, "sure is 1, expected bool"),
        ({"figures": {"a": None}}, "figures.a is null, expected float"),
        ({"more": []}, "more is [], expected dict[str, Any]"),
        ({"new": 1, "also": 2}, "unknown fields ['also', 'new']"),
    ],
)
def test_any_other_type_is_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r"expected|fields") as caught:
        headers.build(Outer, {"count": 1, "kind": "a"} | change)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", "it is no JSON object"),
        ('{"a": ' * 100_000, "it is nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
        (" " * (headers.LONGEST + 1), "it has 33554433 characters, expected 33554432 at most"),
    ],
)
def test_any_other_text_is_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        headers.parse(text)


def test_what_json_does_not_have_becomes_null() -> None:
    figures = {"dice": math.nan, "moves": [({"auc": -math.inf},), 0.5], "best": (math.inf, 1, True, None, "nan")}
    plain = {"dice": None, "moves": [[{"auc": None}], 0.5], "best": [None, 1, True, None, "nan"]}
    assert headers.plain(figures) == plain
    assert json.loads(json.dumps(headers.plain(figures), allow_nan=False)) == plain
