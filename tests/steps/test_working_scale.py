"""Photographs of other cameras: segmented at the scale that the net knows, in maps of their own size."""

import numpy as np
import pytest

from geseg.data.drawn import draw
from geseg.data.normalise import normalise, statistics
from geseg.data.patchfile import SampleRecord, WholeImage
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


def stripes(width: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph whose vessels are all as wide, and its field of view of 840 pixels."""
    y, x = np.ogrid[:896, :896]
    fov = np.hypot(y - 447.5, x - 447.5) < 420
    vessel = ((x + 40) % 60 < width) | (y < 0)
    return np.where(fov, np.where(vessel, 40, 150), 0)[:, :, None].repeat(3, 2).astype(np.uint8), fov


@pytest.mark.parametrize(
    ("width", "seen"),
    [(6, {(432, 432), (480, 480)}), (12, {(432, 432), (528, 528)}), (20, {(432, 432)})],
)
def test_vessels_are_brought_to_the_width_that_the_net_knows(width: int, seen: set[tuple[int, int]]) -> None:
    """The net looks at the scale of the narrowest field of view first; where that is the answer, only once.

    Then the whole photograph, in tiles of 480, or reduced to what one tile takes.
    """
    image, fov = stripes(width)
    net = Darkness()
    segmenter = Segmenter(net, 8, (400.0, 840.0), calibre=8.0)
    probability = segmenter.image(image, fov)
    assert net.sizes == seen
    assert probability.shape == (896, 896)
    assert ((probability > 0.5) == (image[:, :, 1] == 40))[fov].mean() > 0.93


def test_a_reduced_photograph_turns_with_its_map() -> None:
    image, fov = stripes(12)
    segmenter = Segmenter(Darkness(), 8, (400.0, 840.0), calibre=8.0)
    straight = segmenter.image(image, fov)
    for turns in (1, 2, 3):
        turned = segmenter.image(np.rot90(image, turns).copy(), np.rot90(fov, turns).copy())
        np.testing.assert_allclose(turned, np.rot90(straight, turns), atol=1e-4)
    mirrored = segmenter.image(image[:, ::-1].copy(), fov[:, ::-1].copy())
    np.testing.assert_allclose(mirrored, straight[:, ::-1], atol=1e-4)


def sample(width: int) -> WholeImage:
    image, fov = stripes(width)
    mean, contrast = (tuple(values.tolist()) for values in statistics(image))
    words = {"dataset": "stripes", "id": "1", "stem": "1", "person": "1", "split": "val", "fov": "found"}
    sizes = {"height": 896, "width": 896, "diameter": 840.0, "patches": 0, "labelled": False}
    hashes = dict.fromkeys(("image_sha256", "label_sha256", "fov_sha256", "second_sha256"), "")
    return WholeImage(SampleRecord(**words, **sizes, **hashes, mean=mean, contrast=contrast), image, None, fov)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [6, 12, 20])
def test_an_image_of_a_patch_file_has_the_scale_of_its_photograph(width: int) -> None:
    segmenter, (image, fov) = Segmenter(Darkness(), 8, (400.0, 840.0), calibre=8.0), stripes(width)
    whole = sample(width)
    np.testing.assert_array_equal(segmenter.whole(whole)[fov], segmenter.image(image, fov)[fov])
    scales = segmenter.scales_of(whole)
    assert segmenter.run(segmenter.ready(image, fov)).by == scales[1]
    planes = segmenter.planes(normalise(np.moveaxis(image, -1, 0).astype(np.float32), *statistics(image)), scales)
    np.testing.assert_allclose(planes[fov], segmenter.image(image, fov)[fov], atol=1e-5)


def test_the_width_that_a_net_has_learned_is_that_at_its_scale() -> None:
    """A photograph that is reduced to be learned from shows narrower vessels then."""
    for low, high, expected in ((840.0, 840.0, 12), (420.0, 840.0, 12), (420.0, 420.0, 6)):
        width = Segmenter(Darkness(), 8, (low, high)).width_in(sample(12))
        assert width is not None
        assert width == pytest.approx(expected, rel=0.25)
    blind = Segmenter(lambda tiles: np.zeros_like(tiles[:, 0]), 8, (840.0, 840.0))
    assert blind.width_in(sample(12)) is None
