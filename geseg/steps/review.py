"""How far the mask of a photograph can be trusted: figures, and reasons for somebody to look at it.

The limits come from the 53 training photographs of DRIVE, CHASEDB1, STARE and HRF, and from copies of them that were
blurred and darkened; each says what was measured. Those 53 raise no alarm, nor do the 20 test photographs of DRIVE, on
which nothing was chosen. For anything but colour photographs of the fundus the reasons mean nothing.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from geseg.data.quality import Quality

LEAST_REDNESS = 0.9
"""Measured 0.982 to 1. Grey and red-free photographs and pages of text have 0, a landscape 0.02, noise 0.5."""
LEAST_BRIGHTNESS = 60
"""Of 255. Measured 127 to 255; with a fifth of the light 25 to 51, with three tenths 38 to 76."""
LEAST_SHARPNESS = 1.5
"""Measured 1.75 to 3.06. Blurred by a Gaussian whose sigma is 0.6 % of the width of the view, 3 pixels in DRIVE and 20
in HRF, 1.00 to 1.41; by 0.4 %, at which the vessel share hardly changes, 1.11 to 1.67."""
LEAST_SOLIDITY = 0.97
"""Measured 0.989 to 0.999."""
FILL = (0.75, 0.95)
"""Measured 0.784, a disc, to 0.908, cut at two sides. Where no view is found all of the photograph is taken, with 1."""
LARGEST_ASPECT = 1.6
"""Measured 1 to 1.4."""
VESSEL_SHARE = (0.045, 0.16)
"""Measured 0.059 to 0.130, on photographs that a model trained on all four was validated on 0.080 to 0.126. Blurred by
0.8 % 0 to 0.051; on black, white, noise and a landscape 0 to 0.011, on a page of text 0.30."""

BLOCK = 1 << 17
"""Probabilities that are counted at once, as each takes 24 bytes for it, which the processor's cache then holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is said of every mask, decided by the photograph, the model and the threshold alone."""

    fov: str
    """Where the field of view comes from: "found", as `predict` finds it in every photograph."""
    fov_share: float
    """Of the photograph, in (0, 1]."""
    scale: float
    """What the photograph was scaled by for the net; 1 is its own size."""
    vessel_share: float
    """Of the field of view, in [0, 1]: pixels whose probability is at least the threshold."""
    entropy_bits: float
    """Mean over the field of view of the binary entropy of the probabilities, in bits: 0 sure, 1 undecided."""
    review: tuple[str, ...]
    """Why somebody should look at this mask; mostly empty."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Trust":
        """Read what `to_json` gave; TypeError or KeyError if it is something else."""
        return cls(**values | {"review": tuple(values["review"])})


def judge(
    seen: Quality,
    fov: Bool[np.ndarray, "h w"],
    probability: Float32[np.ndarray, "h w"],
    threshold: float,
    scale: float,
) -> Trust:
    """The figures of a photograph, of which `quality.measure` has `seen` its part; `fov` has at least one pixel."""
    inside = probability[fov]
    vessel_share = float((inside >= threshold).mean())
    return Trust(
        fov="found",
        fov_share=round(float(fov.mean()), 6),
        scale=round(scale, 6),
        vessel_share=round(vessel_share, 6),
        entropy_bits=round(entropy_bits(inside), 6),
        review=reasons(seen, vessel_share),
    )


def entropy_bits(probability: Float32[np.ndarray, " n"]) -> float:
    """Mean of -p log2 p - (1-p) log2(1-p) of probabilities in [0, 1], rounded to the 16 bits of a probability map.

    It is summed over the histogram, so that the order of the pixels does not matter to the last bit.
    """
    counts = np.zeros(65536, np.int64)
    for start in range(0, len(probability), BLOCK):
        rounded = np.rint(probability[start : start + BLOCK].astype(np.float64) * 65535)
        counts += np.bincount(rounded.astype(np.int64), minlength=65536)
    p = np.arange(1, 65535) / 65535
    entropy = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    return float(counts[1:-1] @ entropy / counts.sum())


def reasons(seen: Quality, vessel_share: float) -> tuple[str, ...]:
    """Why somebody should look at a mask, in words that stay the same from one version to the next."""
    low, high = VESSEL_SHARE
    found = {
        "not a colour photograph of a fundus": seen.redness < LEAST_REDNESS,
        "too dark": seen.brightness < LEAST_BRIGHTNESS,
        "blurred": seen.sharpness < LEAST_SHARPNESS,
        "field of view doubtful": seen.solidity < LEAST_SOLIDITY
        or not FILL[0] <= seen.fill <= FILL[1]
        or seen.aspect > LARGEST_ASPECT,
        "vessel share unusual": not low <= vessel_share <= high,
    }
    return tuple(reason for reason, holds in found.items() if holds)
