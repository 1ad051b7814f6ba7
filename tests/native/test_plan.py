import numpy as np
import pytest

from geseg.model import bases, kernels
from geseg.model.bases import Kind
from geseg.model.group import Group
from geseg.native.plan import Plan, factorise, reduced

KINDS: list[Kind] = [bases.LIFT, bases.INNER, ("regular", "regular", 5), ("trivial", "regular", 1)]


def a_plan(name: str, kind: Kind) -> tuple[Plan, np.ndarray]:
    group = Group.parse(name)
    basis = kernels.basis(group, *kind).numpy()
    return factorise(group, basis), basis


def dense(plan: Plan) -> np.ndarray:
    """The basis kernels that a plan computes: what `factorise` was given."""
    filters, q = plan.filters.reshape(len(plan.filters), -1), len(plan.to_irreps)
    patterns = np.einsum("ps,sx->psx", np.ones((q, len(filters))), filters)
    planes = np.zeros((plan.planes, q, filters.shape[1]))
    for p in range(q):
        planes[p * len(filters) : (p + 1) * len(filters), p] = patterns[p]
    sums = planes[: q * len(filters)].reshape(q * len(filters), -1)
    planes[q * len(filters) :] = (plan.extras @ sums).reshape(-1, q, filters.shape[1])
    hat = np.zeros((len(plan.mixing), len(plan.from_irreps), q, filters.shape[1]))
    for part in plan.components:
        many = len(part.planes)
        for copy, row in enumerate(part.rows):
            mixing = plan.mixing[part.weights + copy * many : part.weights + (copy + 1) * many]
            hat[:, row] = np.einsum("mb,m,mqx->bqx", mixing, part.scales, planes[part.planes])
    kernel = np.einsum("ap,bpqx,qc->bacx", plan.from_irreps, hat, plan.to_irreps)
    return kernel.reshape(*kernel.shape[:3], *plan.filters.shape[1:])


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", bases.GROUPS)
def test_a_plan_is_its_basis(name: str, kind: Kind) -> None:
    plan, basis = a_plan(name, kind)
    np.testing.assert_allclose(dense(plan), basis, atol=1e-12)
    assert plan.filters[0, kind[2] // 2, kind[2] // 2] == np.abs(plan.filters[0]).sum() == 1


MULTIPLIES = [("c4", 36, 144), ("d4", 72, 576), ("c8", 84, 576), ("d8", 168, 2304)]


@pytest.mark.parametrize(("name", "of_irreps", "of_dense"), MULTIPLIES)
def test_it_multiplies_less(name: str, of_irreps: int, of_dense: int) -> None:
    """Per pixel and pair of fields: what README says."""
    plan, basis = a_plan(name, bases.INNER)
    assert sum(len(part.rows) * len(part.planes) for part in plan.components) == of_irreps
    assert basis[0].size == of_dense


def test_other_kernels_are_no_plan() -> None:
    group = Group.parse("d4")
    basis = kernels.basis(group, *bases.INNER).numpy()
    with pytest.raises(ValueError, match=r"not steerable|irreps"):
        factorise(group, np.random.default_rng(0).normal(size=basis.shape))


def test_a_reduced_basis_spans_the_same() -> None:
    rows = np.random.default_rng(0).normal(size=(3, 7))
    found = reduced(np.concatenate([rows, rows[:2] - rows[1:]]))
    assert found.shape == (3, 7)
    assert (found == 0).sum() == 6
    np.testing.assert_allclose(found.T @ np.linalg.lstsq(found.T, rows.T, rcond=None)[0], rows.T, atol=1e-12)
    assert reduced(np.zeros((2, 4))).shape == (0, 4)
