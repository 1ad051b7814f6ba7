"""The kernel bases that U-Nets are made of, as they lie in the package: no torch, and no e2cnn, which made them."""

from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float64

from geseg.model.group import Group

Rep = Literal["trivial", "regular"]
"""How the channels of a field mix under the group: "trivial" is one number per pixel, "regular" |G| of them."""
Kind: TypeAlias = tuple[Rep, Rep, int]
"""Of a convolution: from what to what, and its kernel size."""
KEPT = Path(__file__).with_name("bases.npz")
GROUPS = ("d1", "c2", "d2", "c4", "d4", "c8", "d8")
LIFT: Kind = ("trivial", "regular", 3)
INNER: Kind = ("regular", "regular", 3)
HEAD: Kind = ("regular", "trivial", 1)
"""The convolutions of a U-Net: its first one, those between fields, and its head."""


def kept(group: Group, kind: Kind) -> Float64[np.ndarray, "b out in k k"] | None:
    """What `kernels.basis` gives, if it is one of those that are kept.

    Shapes:
        result: float64[b, |ρ_out|, |ρ_in|, k, k]
    """
    if group.name not in GROUPS or kind not in (LIFT, INNER, HEAD):
        return None
    with np.load(KEPT, allow_pickle=False) as file:
        basis: np.ndarray = file[key(group, kind)]
    return basis


def key(group: Group, kind: Kind) -> str:
    """The name of a basis in the file."""
    rep_in, rep_out, kernel_size = kind
    return f"{group.name}-{rep_in}-{rep_out}-{kernel_size}"
