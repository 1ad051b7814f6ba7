import numpy as np
import pytest
import torch

from geseg.errors import ConfigError
from geseg.model.group import SYMMETRIES, Element, Group

ORDERS = {"c1": 1, "c2": 2, "c4": 4, "c8": 8, "d1": 2, "d2": 4, "d4": 8, "d8": 16}
EXACT = {"c1": 1, "c2": 2, "c4": 4, "c8": 4, "d1": 2, "d2": 4, "d4": 8, "d8": 8}


@pytest.mark.parametrize("name", ORDERS)
def test_names_go_both_ways(name: str) -> None:
    group = Group.parse(name.upper())
    assert group.name == name
    assert group.order == ORDERS[name]
    assert len(set(group.exact_elements)) == EXACT[name]


@pytest.mark.parametrize("name", ["c3", "d16", "o2", "", "d", "4"])
def test_unknown_names_say_what_is_known(name: str) -> None:
    with pytest.raises(ConfigError, match=f"group '{name}' is not known; choose one of c1, c2, c4, c8, d1"):
        Group.parse(name)


def test_elements_turn_counter_clockwise_after_mirroring() -> None:
    image = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(Element(1, False)(image), [[2, 4], [1, 3]])
    np.testing.assert_array_equal(Element(0, True)(image), [[2, 1], [4, 3]])
    np.testing.assert_array_equal(Element(1, True)(image), [[1, 3], [2, 4]])


def test_arrays_and_tensors_move_alike() -> None:
    image = np.arange(24).reshape(2, 3, 4)
    for element in SYMMETRIES:
        np.testing.assert_array_equal(element(torch.from_numpy(image)).numpy(), element(image))


def test_the_eight_symmetries_differ() -> None:
    image = np.arange(9).reshape(3, 3)
    assert len({element(image).tobytes() for element in SYMMETRIES}) == 8
