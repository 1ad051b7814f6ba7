import dataclasses

import numpy as np
import pytest

from geseg.model import bases, kernels
from geseg.model.bases import Kind
from geseg.model.group import Group
from geseg.native import pairs
from geseg.native.pairs import ALONE, BOTH, FIRST, SECOND
from geseg.native.plan import Plan, factorise

PAIRINGS = {
    "c2": [ALONE] * 2,
    "d1": [ALONE] * 2,
    "d2": [ALONE] * 4,
    "c4": [ALONE, FIRST, SECOND, ALONE],
    "d4": [ALONE, ALONE, FIRST, SECOND, FIRST, SECOND, ALONE, ALONE],
    "c8": [ALONE, *[BOTH, SECOND] * 3, ALONE],
    "d8": [ALONE, ALONE, *[BOTH, SECOND] * 6, ALONE, ALONE],
}


def a_plan(name: str, kind: Kind) -> Plan:
    group = Group.parse(name)
    return factorise(group, kernels.basis(group, *kind).numpy())


@pytest.mark.parametrize("name", bases.GROUPS)
def test_no_plane_of_a_3x3_kernel_is_written_twice(name: str) -> None:
    """That it is the same convolution is seen in test_layer.py, by what the kernel computes."""
    plan = a_plan(name, bases.INNER)
    found, known = pairs.find(plan)
    assert known
    assert known.pairing.tolist() == PAIRINGS[name]
    assert len(found.extras) == 0
    for component in found.components:
        assert len(set(component.planes.tolist())) == len(component.planes)


@pytest.mark.parametrize("name", bases.GROUPS)
def test_a_photograph_has_no_pairs(name: str) -> None:
    found, known = pairs.find(plan := a_plan(name, bases.LIFT))
    assert known
    assert known.pairing.tolist() == [ALONE]
    assert found.planes == plan.planes == 6


def test_other_kernels_and_other_sums_stay_as_they_are() -> None:
    larger, plan = a_plan("d4", ("regular", "regular", 5)), a_plan("d4", bases.INNER)
    assert pairs.find(larger) == (larger, None)
    turned = dataclasses.replace(plan, extras=plan.extras[:, ::-1])
    weighted = dataclasses.replace(plan, extras=plan.extras * np.linspace(1, 2, plan.extras.shape[1]))
    for other in (turned, weighted):
        found, known = pairs.find(other)
        assert found is other
        assert known is None
