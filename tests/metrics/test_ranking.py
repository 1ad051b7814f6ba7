"""Areas under curves, against scikit-learn and against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from geseg.metrics.histogram import LEVELS, Histogram, histogram
from geseg.metrics.ranking import auc, aupr

Image = tuple[np.ndarray, np.ndarray, np.ndarray]


def an_image(seed: int, levels: int = 0) -> Image:
    """Probabilities that know something, of a few levels if asked, with a label and a field of view."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(3, 40, 2))
    label = rng.random(shape) < 0.2
    probability = np.clip(rng.normal(0.3 + 0.3 * label, 0.2), 0, 1)
    probability = np.rint(probability * levels) / levels if levels else probability
    return probability.astype(np.float32), label, rng.random(shape) < 0.8


@given(seed=st.integers(0, 2**16), levels=st.sampled_from([0, 1, 2, 7, 255]))
def test_areas_are_those_of_scikit_learn_on_the_rounded_probabilities(seed: int, levels: int) -> None:
    images = [an_image(seed, levels), an_image(seed + 1, levels)]
    scores, truth = (np.concatenate([image[i][image[2]] for image in images]) for i in (0, 1))
    if truth.any() and not truth.all():
        h = histogram(*images[0]) + histogram(*images[1])
        rounded = np.rint(scores.astype(float) * (LEVELS - 1))
        assert auc(h) == pytest.approx(roc_auc_score(truth, rounded), abs=1e-12)
        assert aupr(h) == pytest.approx(average_precision_score(truth, rounded), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_rounding_to_16_bits_hardly_shows(seed: int) -> None:
    """Probabilities as a network gives them, crowded at 0 and 1."""
    rng = np.random.default_rng(seed)
    label = rng.random((200, 200)) < 0.13
    p = (1 / (1 + np.exp(4 - 4 * label - 3 * rng.normal(size=label.shape)))).astype(np.float32)
    h = histogram(p, label, np.ones_like(label))
    assert auc(h) == pytest.approx(roc_auc_score(label.ravel(), p.ravel()), abs=1e-5)
    assert aupr(h) == pytest.approx(average_precision_score(label.ravel(), p.ravel()), abs=2e-4)


def test_by_definition() -> None:
    """Against all pairs, ties as a half, and all thresholds, counted one by one."""
    probability, label, fov = an_image(0, levels=8)
    scores, truth = probability[fov], label[fov]
    pairs = [(v > o) + 0.5 * (v == o) for v in scores[truth] for o in scores[~truth]]
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        found = float((called & truth).sum() / truth.sum())
        area += (found - recall) * float((called & truth).sum() / called.sum())
        recall = found
    h = histogram(probability, label, fov)
    assert (auc(h), aupr(h)) == (pytest.approx(np.mean(pairs)), pytest.approx(area))


def test_pooling_compares_pixels_of_different_images() -> None:
    bright, dark = np.array([[0.9, 0.8]], np.float32), np.array([[0.2, 0.1]], np.float32)
    label, fov = np.array([[True, False]]), np.ones((1, 2), bool)
    one, other = histogram(bright, label, fov), histogram(dark, label, fov)
    assert [auc(one), auc(other), aupr(one), aupr(other)] == [1, 1, 1, 1]
    assert (auc(one + other), aupr(one + other)) == (0.75, (1 + 2 / 3) / 2)


@pytest.mark.parametrize("times", [10**5, 10**8])
def test_a_hundred_thousand_photographs(times: int) -> None:
    """As many pairs of pixels as no 64 bits hold."""
    h = histogram(*an_image(0))
    many = Histogram(h.vessel * times, h.background * times)
    assert (auc(many), aupr(many)) == (pytest.approx(auc(h), rel=1e-12), pytest.approx(aupr(h), rel=1e-12))
    assert int(many.vessel.sum()) * int(many.background.sum()) > 2**63 or times < 10**8


@pytest.mark.parametrize("value", [False, True])
def test_one_class_alone_has_no_order(value: bool) -> None:
    probability, label, fov = an_image(0)
    h = histogram(probability, np.full_like(label, value), fov)
    assert math.isnan(auc(h))
    assert math.isnan(aupr(h))
