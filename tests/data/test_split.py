"""People and not images are held out; what one data set lends does not depend on the others."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geseg.data.samples import Sample, Split
from geseg.data.split import draw, hold_out
from geseg.errors import LayoutError


def sample(dataset: str, person: int, eye: str = "L", split: Split = "train") -> Sample:
    name = f"{person:02}{eye}"
    return Sample(
        dataset=dataset, id=name, person=f"{person:02}", split=split, image=Path(f"{name}.png"), label=None, fov=None
    )


def people(samples: list[Sample], split: Split) -> set[tuple[str, str]]:
    return {(sample.dataset, sample.person) for sample in samples if sample.split == split}


@given(
    count=st.integers(0, 40),
    fraction=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32),
    tested=st.integers(0, 3),
)
def test_a_fraction_of_the_people_validates(count: int, fraction: float, seed: int, tested: int) -> None:
    before = [sample("a", person, eye) for person in range(count) for eye in "LR"]
    before += [sample("a", 90 + person, split="test") for person in range(tested)]
    after = hold_out(before, fraction, seed)
    train, val = people(after, "train"), people(after, "val")
    assert not train & val, "nobody is on both sides"
    assert len(train | val) == count
    assert [(s.id, s.split) for s in after if s.split == "test"] == [
        (s.id, s.split) for s in before if s.split == "test"
    ]
    assert len(val) == (0 if fraction == 0 or count < 2 else min(max(1, round(fraction * count)), count - 1))


def test_other_data_sets_and_the_order_change_nothing() -> None:
    one, other = [sample("a", person) for person in range(10)], [sample("b", person) for person in range(20)]
    alone, together = hold_out(one, 0.2, 0), hold_out((one + other)[::-1], 0.2, 0)
    assert people(alone, "val") <= people(together, "val")
    assert len(people(together, "val")) == 2 + 4


def test_the_seed_decides() -> None:
    samples = [sample("a", person) for person in range(20)]
    held_out = {frozenset(people(hold_out(samples, 0.2, seed), "val")) for seed in range(20)}
    assert len(held_out) > 15
    assert hold_out(samples, 0.2, 3) == hold_out(samples, 0.2, 3)


def test_a_data_set_with_validation_samples_lends_no_more() -> None:
    samples = [sample("a", 1, split="val"), sample("a", 2), sample("a", 3)]
    assert hold_out(samples, 0.2, 0) == samples


def test_a_person_in_two_splits() -> None:
    samples = [sample("a", 1, "L"), sample("a", 1, "R", split="test")]
    with pytest.raises(LayoutError) as caught:
        hold_out(samples, 0.2, 0)
    assert str(caught.value) == (
        "person 01 of a is in train (01L.png) and in test (01R.png): the images of a person must share a split"
    )


def test_draws_are_those_of_every_machine() -> None:
    assert draw(0, "drive", "21") == 0x1A03FDAD378ADBE297BA43BD699E32F3
    assert len({draw(0, "a", "bc"), draw(0, "ab", "c"), draw(1, "a", "bc")}) == 3


def test_names_that_are_no_text_are_drawn_like_others() -> None:
    """File names on Linux are any bytes; Python has those that are not UTF-8 as surrogates."""
    assert draw(0, "eyes", "M\udcfcller") != draw(0, "eyes", "Muller")
