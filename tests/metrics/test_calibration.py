import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from geseg.metrics.calibration import BINS, ece, reliability


def an_image(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 30, 2))
    probability = rng.choice([rng.random(shape), rng.integers(0, 16, shape) / 15]).astype(np.float32)
    return probability, rng.random(shape) < probability**2, rng.random(shape) < 0.8


@given(seed=st.integers(0, 2**16))
def test_error_and_bins_by_definition(seed: int) -> None:
    """Bin by bin and pixel by pixel."""
    probability, label, fov = an_image(seed)
    r = reliability(probability, label, fov)
    pixels = [(float(p), bool(v)) for p, v in zip(probability[fov], label[fov], strict=True)]
    error = 0.0
    for i in range(BINS):
        last = i == BINS - 1
        inside = [(p, v) for p, v in pixels if i <= p * BINS and (p * BINS < i + 1 or last)]
        assert r.pixels[i] == len(inside)
        if inside:
            mean, share = np.mean([p for p, _ in inside]), np.mean([v for _, v in inside])
            assert r.mean_probability[i] == pytest.approx(mean)
            assert r.vessel_share[i] == pytest.approx(share)
            error += len(inside) / len(pixels) * abs(mean - share)
        else:
            assert math.isnan(r.mean_probability[i])
            assert math.isnan(r.vessel_share[i])
    assert ece(r) == pytest.approx(error) if pixels else math.isnan(ece(r))


def test_the_bins_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random((50, 50), np.float32)  # no value on an edge, which belongs to the lower bin there
    label = rng.random((50, 50)) < probability
    r = reliability(probability, label, np.ones_like(label))
    share, mean = calibration_curve(label.ravel(), probability.ravel().astype(float), n_bins=BINS)
    np.testing.assert_allclose(r.vessel_share, share)
    np.testing.assert_allclose(r.mean_probability, mean)


def test_edges_belong_to_the_upper_bin_and_one_to_the_last() -> None:
    probability = np.array([[0, 1 / 3, 0.5, 1, 1 + 1e-7]], np.float32)  # float32 has 1/3 a little above it
    r = reliability(probability, np.zeros((1, 5), bool), np.ones((1, 5), bool))
    assert {int(i): int(r.pixels[i]) for i in np.flatnonzero(r.pixels)} == {0: 1, 5: 1, 7: 1, 14: 2}


def test_images_add_up() -> None:
    images = [an_image(seed) for seed in range(3)]
    total = sum((reliability(*image) for image in images[1:]), reliability(*images[0]))
    flat = [np.concatenate([part.ravel() for part in parts])[None] for parts in zip(*images, strict=True)]
    together = reliability(*flat)
    np.testing.assert_array_equal(total.pixels, together.pixels)
    np.testing.assert_array_equal(total.vessels, together.vessels)
    assert ece(total) == pytest.approx(ece(together))


def test_best_and_worst() -> None:
    label = np.array([[True, False, True, False]])
    fov = np.ones_like(label)
    assert ece(reliability(label.astype(np.float32), label, fov)) == 0
    assert ece(reliability((~label).astype(np.float32), label, fov)) == 1
    assert ece(reliability(np.full((1, 4), 0.5, np.float32), label, fov)) == 0, "unsure, and rightly so"
    assert math.isnan(ece(reliability(np.full((1, 4), 0.5, np.float32), label, ~fov)))
