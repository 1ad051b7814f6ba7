"""Figures that need no threshold."""

import math

import numpy as np
from jaxtyping import Bool, Float


def auc(probability: Float[np.ndarray, "h w"], label: Bool[np.ndarray, "h w"], fov: Bool[np.ndarray, "h w"]) -> float:
    """Area under the ROC curve inside the field of view, in [0, 1]; nan if only one class is present.

    The probability that a vessel pixel ranks above a background pixel, ties counting half (Hanley & McNeil 1982).
    """
    return pooled_auc([probability], [label], [fov])


def pooled_auc(
    probabilities: list[Float[np.ndarray, "h w"]],
    labels: list[Bool[np.ndarray, "h w"]],
    fovs: list[Bool[np.ndarray, "h w"]],
) -> float:
    """`auc` over the pixels of all images together."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - takes a second to import

    scores = np.concatenate([p[fov] for p, fov in zip(probabilities, fovs, strict=True)])
    truth = np.concatenate([label[fov] for label, fov in zip(labels, fovs, strict=True)])
    if truth.all() or not truth.any():
        return math.nan
    return float(roc_auc_score(truth, scores))
