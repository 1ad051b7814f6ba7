"""Figures that need no threshold: areas under the ROC curve and under the precision-recall curve.

From histograms, which add up; both in [0, 1], and nan if only one class is present.

- auc: area under the ROC curve, the probability that a vessel pixel ranks above a background pixel, ties counting half
  (Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747); 0.5 by chance.
- aupr: area under the precision-recall curve as average precision: the sum over all thresholds n of (R_n - R_(n-1)) P_n
  with recall R and precision P. There is no interpolation, which would flatter (Davis & Goadrich 2006,
  doi:10.1145/1143844.1143874). By chance it is the share of the vessels.
"""

import math

import numpy as np

from geseg.metrics.histogram import Histogram


def auc(h: Histogram) -> float:
    """Area under the ROC curve in [0, 1]; nan if only one class is present."""
    pairs = int(h.vessel.sum()) * int(h.background.sum())
    below = np.cumsum(h.background) - h.background
    twice = 2 * below + h.background  # so that half a pair is a whole number
    level = np.flatnonzero(h.vessel)
    # in whole numbers of any size: 64 bits hold the pairs of 8 gigapixels
    in_order = sum(int(v) * int(b) for v, b in zip(h.vessel[level], twice[level], strict=True))
    return in_order / (2 * pairs) if pairs else math.nan


def aupr(h: Histogram) -> float:
    """Average precision in [0, 1]; nan if only one class is present."""
    if not h.vessel.any() or not h.background.any():
        return math.nan
    level = np.flatnonzero(h.vessel)  # recall changes at these only
    tp, fp = (np.cumsum(counts[::-1])[::-1][level] for counts in (h.vessel, h.background))
    return float(np.sum(h.vessel[level] * (tp / (tp + fp))) / tp[0])
