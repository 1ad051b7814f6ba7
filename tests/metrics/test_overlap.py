import decimal
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
    if len(set(truth)) == len(set(called)) == 2:
        assert overlap.mcc(c) == pytest.approx(metrics.matthews_corrcoef(truth, called), abs=1e-12)


@pytest.mark.parametrize("figure", [overlap.dice, overlap.iou, overlap.sensitivity])
def test_without_a_vessel_the_figures_are_undefined(figure) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert math.isnan(figure(Counts(tp=0, fp=0, fn=0, tn=9)))
    assert math.isnan(overlap.specificity(Counts(tp=9, fp=0, fn=0, tn=0)))
    assert math.isnan(overlap.accuracy(Counts(0, 0, 0, 0)))


HUGE = st.integers(0, 10**15)


@given(tp=HUGE, fp=HUGE, fn=HUGE, tn=HUGE)
def test_the_correlation_of_huge_counts_is_exact_and_in_range(tp: int, fp: int, fn: int, tn: int) -> None:
    """The margins of one photograph multiply to more than 64 bits hold."""
    mcc = overlap.mcc(Counts(tp, fp, fn, tn))
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    if margins == 0:
        assert math.isnan(mcc)
        return
    assert -1 <= mcc <= 1
    with decimal.localcontext(prec=80):
        exact = decimal.Decimal(tp * tn - fp * fn) / decimal.Decimal(margins).sqrt()
    assert mcc == pytest.approx(float(exact), rel=1e-15)


def test_the_correlation_ends_at_one() -> None:
    assert overlap.mcc(Counts(tp=367158232, fp=0, fn=0, tn=336531293)) == 1, "in floats it would be a little more"
    assert overlap.mcc(Counts(tp=0, fp=367158232, fn=336531293, tn=0)) == -1
    assert overlap.mcc(Counts(tp=1, fp=2, fn=2, tn=4)) == 0


@pytest.mark.parametrize("c", [Counts(0, 0, 3, 5), Counts(3, 5, 0, 0), Counts(0, 5, 0, 3), Counts(5, 0, 3, 0)])
def test_without_a_margin_there_is_no_correlation(c: Counts) -> None:
    assert math.isnan(overlap.mcc(c))


def test_the_threshold_separates() -> None:
    label = np.array([[True, True, False, False]])
    probability = np.array([[0.34, 0.36, 0.29, 0.1]], np.float32)
    threshold, dice = overlap.choose_threshold([probability], [label], [np.ones_like(label)])
    assert threshold == 0.34
    assert dice == 1


@pytest.mark.parametrize(("spurious", "expected"), [(1, 0.5), (100, 0.61)])
def test_a_threshold_leaves_one_half_only_for_more_than_chance(spurious: int, expected: float) -> None:
    """Of 1,000 vessel pixels all are sure; as many others as given have a probability of .6."""
    label = np.arange(2000)[None] < 1000
    probability = np.where(label, 0.9, 0.1).astype(np.float32)
    probability[0, 1000 : 1000 + spurious] = 0.6
    threshold, dice = overlap.choose_threshold([probability], [label], [np.ones_like(label)])
    assert threshold == expected
    assert dice >= 1 - overlap.TOLERANCE


def test_a_threshold_is_scored_as_a_mask_is() -> None:
    """On probabilities that meet thresholds exactly, too."""
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 101, (40, 50)) / 100).astype(np.float32) for _ in range(3)]
    labels, fovs = [m + rng.normal(0, 0.2, m.shape) > 0.55 for m in maps], [rng.random(m.shape) < 0.7 for m in maps]
    threshold, found = overlap.choose_threshold(maps, labels, fovs)
    assert found == pytest.approx(overlap.mean_dice(maps, labels, fovs, threshold), abs=1e-12)
    for step in range(5, 96):
        assert overlap.mean_dice(maps, labels, fovs, step / 100) <= found + overlap.TOLERANCE


def test_with_no_vessels_at_all_the_threshold_is_one_half() -> None:
    nothing = np.zeros((2, 2), bool)
    threshold, dice = overlap.choose_threshold([np.zeros((2, 2), np.float32)], [nothing], [~nothing])
    assert threshold == 0.5
    assert math.isnan(dice)
