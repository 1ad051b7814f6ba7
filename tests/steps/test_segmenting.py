"""Network and tiling together commute with the group at every size of image, in float64 to 1e-9."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geseg.inference.tiling import Net, segment
from geseg.inference.torch_engine import TorchEngine
from geseg.model.group import Element, Group
from geseg.model.unet import UNet

Untrained = Callable[[str], UNet]
SMALL = {"sizes": (8, 12, 16), "overlap": 4}
"""Tiles for images of a few dozen pixels, which then take one, several, or two placements of one."""


def worst(net: Net, image: np.ndarray, elements: tuple[Element, ...], **tiles: object) -> float:
    whole = segment(image, net, 4, **tiles)  # type: ignore[arg-type]
    moved = (np.ascontiguousarray(element(image)) for element in elements)
    parts = zip(moved, elements, strict=True)
    return max(float(np.abs(segment(m, net, 4, **tiles) - e(whole)).max()) for m, e in parts)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["c4", "d4", "c8", "d8", "d1"])
@settings(max_examples=15)
@given(h=st.integers(1, 40), w=st.integers(1, 40), seed=st.integers(0, 99))
def test_at_every_size(untrained: Untrained, name: str, h: int, w: int, seed: int) -> None:
    net, image = TorchEngine(untrained(name), "cpu"), np.random.default_rng(seed).normal(size=(3, h, w))
    assert worst(net, image, Group.parse(name).exact_elements, **SMALL) < 1e-9


@pytest.mark.parametrize(("h", "w"), [(1, 1), (7, 133), (127, 129), (200, 141)])
def test_with_tiles_of_real_size(untrained: Untrained, h: int, w: int) -> None:
    net, image = TorchEngine(untrained("d4"), "cpu"), np.random.default_rng(0).normal(size=(3, h, w))
    assert worst(net, image, Group.parse("d4").exact_elements) < 1e-9


@pytest.mark.parametrize(("h", "w"), [(16, 16), (37, 22), (9, 11)])
def test_a_plain_net_fails_the_same_test(untrained: Untrained, h: int, w: int) -> None:
    net, image = TorchEngine(untrained("c1"), "cpu"), np.random.default_rng(0).normal(size=(3, h, w))
    assert worst(net, image, Group.parse("d4").exact_elements, **SMALL) > 1e-3
