"""Photographs of other cameras: segmented at the scale that the net knows, in maps of their own size."""

import numpy as np
import pytest

from geseg.data.drawn import draw
from geseg.steps.segmenting import Segmenter


class Darkness:
    """A net that marks what is dark in green, and remembers the sizes of the tiles that it saw."""

    def __init__(self) -> None:
        self.sizes: set[tuple[int, ...]] = set()

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        self.sizes.add(tiles.shape[2:])
        return np.asarray(1 / (1 + np.exp(5 * tiles[:, 1])), np.float32)


@pytest.mark.parametrize(
    ("learned", "seen"),
    [(None, (448, 448)), ((350.0, 450.0), (448, 448)), ((200.0, 210.0), (224, 224)), ((600.0, 800.0), (624, 624))],
)
def test_the_net_sees_the_scale_that_it_knows(learned: tuple[float, float] | None, seen: tuple[int, int]) -> None:
    """The field of view of this drawing is about 420 pixels wide."""
    drawing, net = draw(3, 448, 448), Darkness()
    probability = Segmenter(net, 8, learned).image(drawing.image, drawing.fov)
    assert net.sizes == {seen}
    assert probability.shape == (448, 448)
    native = Segmenter(Darkness(), 8, None).image(drawing.image, drawing.fov)
    agree = ((probability > 0.5) == (native > 0.5))[drawing.fov].mean()
    assert agree > (0.85 if seen[0] < 448 else 0.95)


def test_a_scaled_photograph_turns_with_its_map() -> None:
    drawing = draw(4, 300, 419)
    segmenter = Segmenter(Darkness(), 8, (150.0, 200.0))
    straight = segmenter.image(drawing.image, drawing.fov)
    for turns in (1, 2, 3):
        image, fov = np.rot90(drawing.image, turns), np.rot90(drawing.fov, turns)
        turned = segmenter.image(np.ascontiguousarray(image), np.ascontiguousarray(fov))
        np.testing.assert_allclose(turned, np.rot90(straight, turns), atol=1e-4)
    mirrored = segmenter.image(np.ascontiguousarray(drawing.image[:, ::-1]), np.ascontiguousarray(drawing.fov[:, ::-1]))
    np.testing.assert_allclose(mirrored, straight[:, ::-1], atol=1e-4)
