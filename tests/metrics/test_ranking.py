import math

import numpy as np
import pytest

from geseg.metrics.ranking import auc, pooled_auc


def test_auc_is_the_share_of_pairs_in_order() -> None:
    """Against all pairs, counted one by one, ties as a half."""
    rng = np.random.default_rng(0)
    probability = rng.integers(0, 8, (9, 9)).astype(np.float32) / 8
    label, fov = rng.random((9, 9)) < 0.4, rng.random((9, 9)) < 0.8
    vessel, other = probability[fov & label], probability[fov & ~label]
    pairs = [(v > o) + 0.5 * (v == o) for v in vessel for o in other]
    assert auc(probability, label, fov) == pytest.approx(np.mean(pairs))


def test_pooling_compares_pixels_of_different_images() -> None:
    bright, dark = np.array([[0.9, 0.8]], np.float32), np.array([[0.2, 0.1]], np.float32)
    label, fov = np.array([[True, False]]), np.ones((1, 2), bool)
    assert auc(bright, label, fov) == auc(dark, label, fov) == 1
    assert pooled_auc([bright, dark], [label, label], [fov, fov]) == 0.75


@pytest.mark.parametrize("label", [np.zeros((2, 2), bool), np.ones((2, 2), bool)])
def test_one_class_alone_has_no_ranking(label: np.ndarray) -> None:
    assert math.isnan(auc(np.zeros((2, 2), np.float32), label, np.ones((2, 2), bool)))
