import numpy as np
import pytest

from geseg.model import bases, kernels
from geseg.model.group import Group
from geseg.native import irreps


@pytest.mark.parametrize("name", bases.GROUPS)
def test_all_elements_act_on_the_blocks_alone_and_on_all_copies_alike(name: str) -> None:
    """With the matrices of e2cnn's regular representation."""
    group = Group.parse(name)
    basis, parts = irreps.of_regular(group)
    np.testing.assert_allclose(basis.T @ basis, np.eye(group.order), atol=1e-12)
    regular = kernels._space(kernels._mended_e2cnn(), group).regular_repr
    for element in regular.group.elements:
        acted = basis.T @ regular(element) @ basis
        for part in parts:
            rows = [slice(part.first + m * part.size, part.first + (m + 1) * part.size) for m in range(part.copies)]
            block = acted[rows[0], rows[0]].copy()
            for row in rows:
                np.testing.assert_allclose(acted[row, row], block, atol=1e-10)
                acted[row, row] = 0
        np.testing.assert_allclose(acted, 0, atol=1e-10)


@pytest.mark.parametrize(("name", "sizes"), [("c2", [1, 1]), ("c4", [1, 2, 1]), ("d4", [1, 1, 2, 1, 1])])
def test_the_irreps_of_small_groups(name: str, sizes: list[int]) -> None:
    parts = irreps.of_regular(Group.parse(name))[1]
    assert [part.size for part in parts] == sizes
    assert sum(part.size * part.copies for part in parts) == Group.parse(name).order
