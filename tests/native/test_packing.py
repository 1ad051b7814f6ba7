"""Weights against the product of matrices that they are, and gradients of the coefficients against its transpose."""

import dataclasses

import numpy as np
import pytest

from geseg.model import bases, kernels
from geseg.model.group import Group
from geseg.native.packing import Packing, _order
from geseg.native.plan import Plan, factorise


def plan_of(name: str, dense: bool) -> Plan:
    """That of a group; if it is dense, of a basis each of whose kernels is a sum of all."""
    group = Group.parse(name)
    plan = factorise(group, kernels.basis(group, *bases.INNER).numpy())
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal(plan.mixing.shape))[0]
    return dataclasses.replace(plan, mixing=plan.mixing @ turned) if dense else plan


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("name", bases.GROUPS)
def test_weights_are_products_and_gradients_their_transposes(name: str, dense: bool) -> None:
    plan, rng = plan_of(name, dense), np.random.default_rng(0)
    packing, (places, scales) = Packing(plan, 3, 2), _order(plan, 3, 2)
    coefficients, slopes = rng.standard_normal((3, 2, len(plan.mixing))), rng.standard_normal(packing.size)
    weights = packing.pack(coefficients)
    np.testing.assert_allclose(weights, (coefficients @ plan.mixing.T).ravel()[places] * scales, atol=1e-12)
    assert np.vdot(weights, slopes) == pytest.approx(np.vdot(coefficients, packing.unpack(slopes)), rel=1e-9)
    assert set(places.tolist()) == set(range(coefficients.size)), "no coefficient is lost"
