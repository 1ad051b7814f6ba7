import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from geseg.metrics import overlap
from geseg.metrics.overlap import Counts, count


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 20, 2))
    return rng.random(shape, np.float32), rng.random(shape) < 0.3, rng.random(shape) < 0.7


def test_counts_by_hand() -> None:
    probability = np.array([[0.9, 0.5, 0.4, 0.1, 0.9]], np.float32)
    label = np.array([[True, False, True, False, True]])
    fov = np.array([[True, True, True, True, False]])
    c = count(probability, label, fov)
    assert c == Counts(tp=1, fp=1, fn=1, tn=1)
    assert c + c == Counts(2, 2, 2, 2)
    assert count(probability, label, fov, 0.51) == Counts(tp=1, fp=0, fn=1, tn=2)


@given(seed=st.integers(0, 2**16), threshold=st.floats(0.1, 0.9))
def test_figures_are_those_of_scikit_learn(seed: int, threshold: float) -> None:
    probability, label, fov = scene(seed)
    if not fov.any():
        return
    truth, called = label[fov], probability[fov] >= threshold
    c = count(probability, label, fov, threshold)
    if truth.any():
        assert overlap.dice(c) == pytest.approx(metrics.f1_score(truth, called))
        assert overlap.iou(c) == pytest.approx(metrics.jaccard_score(truth, called))
        assert overlap.sensitivity(c) == pytest.approx(metrics.recall_score(truth, called))
    if not truth.all():
        assert overlap.specificity(c) == pytest.approx(metrics.recall_score(~truth, ~called))
    assert overlap.accuracy(c) == pytest.approx(metrics.accuracy_score(truth, called))


@pytest.mark.parametrize("figure", [overlap.dice, overlap.iou, overlap.sensitivity])
def test_without_a_vessel_the_figures_are_undefined(figure) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert math.isnan(figure(Counts(tp=0, fp=0, fn=0, tn=9)))
    assert math.isnan(overlap.specificity(Counts(tp=9, fp=0, fn=0, tn=0)))
    assert math.isnan(overlap.accuracy(Counts(0, 0, 0, 0)))


def test_the_best_threshold_separates() -> None:
    label = np.array([[True, True, False, False]])
    probability = np.array([[0.34, 0.36, 0.29, 0.1]], np.float32)
    threshold, dice = overlap.best_threshold([probability], [label], [np.ones_like(label)])
    assert 0.29 < threshold <= 0.34
    assert dice == 1


def test_with_no_vessels_at_all_the_threshold_is_one_half() -> None:
    nothing = np.zeros((2, 2), bool)
    threshold, dice = overlap.best_threshold([np.zeros((2, 2), np.float32)], [nothing], [~nothing])
    assert threshold == 0.5
    assert math.isnan(dice)
