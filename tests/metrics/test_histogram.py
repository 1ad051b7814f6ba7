import numpy as np

from geseg.metrics.histogram import histogram


def an_image(seed: int, shape: tuple[int, int] = (61, 47)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A map that knows something, its label, and a region."""
    rng = np.random.default_rng(seed)
    label = rng.random(shape) < 0.13
    logits = rng.normal(size=shape) * 3 + 4 * label - 4
    return (1 / (1 + np.exp(-logits))).astype(np.float32), label, rng.random(shape) < 0.8


def test_sums_are_the_histogram_of_all_pixels_together() -> None:
    images = [an_image(seed) for seed in range(3)]
    total = sum((histogram(*image) for image in images[1:]), histogram(*images[0]))
    together = histogram(*(np.concatenate(parts) for parts in zip(*images, strict=True)))
    np.testing.assert_array_equal(total.vessel, together.vessel)
    np.testing.assert_array_equal(total.background, together.background)


def test_every_pixel_of_the_region_is_counted_once() -> None:
    probability = np.array([[0, 1, 0.5], [1, 0.25, 0]], np.float32)
    label = np.array([[False, True, True], [False, True, False]])
    region = np.array([[True, True, True], [True, True, False]])
    h = histogram(probability, label, region)
    assert {int(k): int(h.vessel[k]) for k in np.flatnonzero(h.vessel)} == {16384: 1, 32768: 1, 65535: 1}
    assert {int(k): int(h.background[k]) for k in np.flatnonzero(h.background)} == {0: 1, 65535: 1}
