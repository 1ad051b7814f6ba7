import importlib
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

from geseg.errors import ConfigError
from geseg.model import bases, kernels
from geseg.model.group import Element, Group

GROUPS = ["c2", "c4", "c8", "d1", "d2", "d4", "d8"]


def regular_permutation(group: Group, basis: torch.Tensor, element: Element) -> torch.Tensor:
    """The permutation of the regular channels under `element`, read off the lifting kernels of a trivial field."""
    moved = element(basis)  # [b, |G|, 1, k, k]
    order = group.order
    matches = torch.tensor(
        [[torch.allclose(moved[:, i], basis[:, j], atol=1e-9) for j in range(order)] for i in range(order)]
    )
    assert (matches.sum(0) == 1).all()
    assert (matches.sum(1) == 1).all()
    return matches.double()  # moved[:, i] = basis[:, j]


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_kernels_solve_the_constraint(name: str, kernel_size: int) -> None:
    """κ(g x) = ρ_out(g) κ(x) ρ_in(g)^-1, with ρ a permutation that is the same for all kernels of the group."""
    group = Group.parse(name)
    lifting = kernels.basis(group, "trivial", "regular", kernel_size)
    hidden = kernels.basis(group, "regular", "regular", kernel_size)
    for element in group.exact_elements:
        p = regular_permutation(group, lifting, element)
        torch.testing.assert_close(element(hidden), torch.einsum("ij,bjkhw,lk->bilhw", p, hidden, p), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", GROUPS)
def test_bases_are_independent_and_in_float64(name: str) -> None:
    basis = kernels.basis(Group.parse(name), "regular", "regular", 3)
    assert basis.dtype == torch.float64
    assert torch.linalg.matrix_rank(basis.flatten(1)) == len(basis)


@pytest.mark.parametrize(("name", "size"), [("d4", 2), ("c1", 3)])
def test_no_basis_for_even_kernels_and_for_plain_nets(name: str, size: int) -> None:
    with pytest.raises(ConfigError, match=f"no steerable kernels of size {size} for group {name}: an odd size"):
        kernels.basis(Group.parse(name), "regular", "regular", size)


def fresh(module: str) -> types.ModuleType:
    """A second copy of a module, without the mends."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


def test_the_mend_of_copy_false_is_needed() -> None:
    """When this fails, numpy or e2cnn has been mended: take `mend_copy_false` out."""
    utils = fresh("e2cnn.kernels.utils")
    with pytest.raises(ValueError, match="copy"):
        utils.chi(1)
    kernels.mend_copy_false(utils)
    np.testing.assert_array_equal(utils.chi(1)[:, :, 0, 0], [[1, 0], [0, -1]])


def test_the_mend_of_tostring_is_needed() -> None:
    """When this fails, numpy or e2cnn has been mended: take `mend_tostring` out."""
    if hasattr(np.ndarray, "tostring"):
        pytest.skip(f"numpy {np.__version__} is older than 2.3 and still has tostring")
    kernels.basis(Group.parse("c4"), "regular", "regular", 3)  # mends e2cnn itself, which the copy builds on
    module = fresh("e2cnn.kernels.irreps_basis")
    broken = [kind for kind in vars(module).values() if isinstance(kind, type) and calls_tostring(kind)]
    assert len(broken) == 4
    from e2cnn.group import CyclicGroup

    mirror = CyclicGroup(2)
    solution = module.R2FlipsSolution(mirror, mirror.irrep(1), mirror.irrep(1), axis=np.pi / 2, max_frequency=2)
    with pytest.raises(AttributeError, match="tostring"):
        hash(solution)
    kernels.mend_tostring(module)
    assert hash(solution) == hash(solution)


def calls_tostring(kind: type) -> bool:
    return "tostring" in getattr(vars(kind).get("__hash__"), "__code__", calls_tostring.__code__).co_names


@pytest.mark.parametrize("name", bases.GROUPS)
def test_what_is_kept_is_what_e2cnn_computes(name: str) -> None:
    """If it is not: python -m geseg.model.kernels, and models that were trained before mean something else."""
    for kind in (bases.LIFT, bases.INNER, bases.HEAD):
        kept, computed = kernels.basis(Group.parse(name), *kind), kernels.compute(Group.parse(name), *kind)
        assert kept.dtype == torch.float64
        torch.testing.assert_close(kept, computed, rtol=0, atol=1e-12)


def test_a_net_is_built_without_e2cnn() -> None:
    code = """
import sys
from geseg.model.group import Group
from geseg.model.unet import build, find_widths
d8 = Group.parse("d8")
build(d8, find_widths(d8, 62_500))
assert not {"e2cnn", "scipy", "sympy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
