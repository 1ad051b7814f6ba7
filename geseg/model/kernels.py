"""Bases of steerable kernels: the only file that imports e2cnn, and keeps it alive on current numpy.

A kernel is steerable if κ(g x) = ρ_out(g) κ(x) ρ_in(g)^-1 for every g of the group (Weiler & Cesa 2019,
arXiv:1911.08251, eq. 2). e2cnn has the analytic solutions; here they are sampled on the pixel grid, once per pair of
representations and kernel size, in float64, with the rings, band limits and normalisation of e2cnn's own `R2Conv`.
Those that U-Nets are made of lie in the package (see `bases`): so what was learned means the same on every machine and
with all versions of what computes them, and nobody waits for e2cnn, which takes seconds to import.

    python -m geseg.model.kernels   # computes those anew
"""

import functools
import itertools
import types
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geseg.errors import ConfigError
from geseg.files import atomic_path
from geseg.model import bases
from geseg.model.bases import Rep
from geseg.model.group import Group


def size(group: Group, rep: Rep) -> int:
    """|ρ|: the number of channels of one field."""
    return group.order if rep == "regular" else 1


@functools.cache
def basis(group: Group, rep_in: Rep, rep_out: Rep, kernel_size: int) -> Float[Tensor, "b out in k k"]:
    """All steerable kernels from one field of `rep_in` to one field of `rep_out`, as a basis of b elements.

    Shapes:
        result: float64[b, |ρ_out|, |ρ_in|, k, k]; each element scaled as e2cnn does, to unit mean square per output

    Raises:
        ConfigError: the kernel size is even (such a basis is empty), or the group is c1 (whose net is a plain one).
    """
    if kernel_size % 2 == 0 or group.is_plain:
        raise ConfigError(f"no steerable kernels of size {kernel_size} for group {group.name}: an odd size is needed")
    kept = bases.kept(group, (rep_in, rep_out, kernel_size))
    return compute(group, rep_in, rep_out, kernel_size) if kept is None else torch.from_numpy(kept)


def compute(group: Group, rep_in: Rep, rep_out: Rep, kernel_size: int) -> Float[Tensor, "b out in k k"]:
    """The same from e2cnn."""
    e2cnn = _mended_e2cnn()
    space = _space(e2cnn, group)
    rep = {"trivial": space.trivial_repr, "regular": space.regular_repr}
    points, wanted, rings, widths, max_frequency = e2cnn.conv.compute_basis_params(kernel_size)
    solutions = space.build_kernel_basis(
        rep[rep_in], rep[rep_out], sigma=widths, rings=rings, maximum_offset=None, maximum_frequency=max_frequency
    )
    attributes = [solution for solution in solutions if wanted(solution)]
    mask = np.array([wanted(solution) for solution in solutions])
    sampled = solutions.sample_masked(points, mask=mask).transpose(2, 0, 1, 3)  # [b, out, in, k * k]
    energy = np.sum(sampled**2, axis=(1, 2, 3)) / np.array([solution["shape"][0] for solution in attributes])
    sampled = sampled / np.sqrt(np.where(energy > 1e-12, energy, 1.0))[:, None, None, None]
    alive = np.sum(sampled**2, axis=(1, 2, 3)) > 1e-2  # some solutions vanish on every point of the grid
    out, in_ = size(group, rep_out), size(group, rep_in)
    return torch.from_numpy(sampled[alive].reshape(-1, out, in_, kernel_size, kernel_size))


def keep() -> None:
    """Write the file of `bases`."""
    pairs = itertools.product(map(Group.parse, bases.GROUPS), (bases.LIFT, bases.INNER, bases.HEAD))
    arrays = {bases.key(group, kind): compute(group, *kind).numpy() for group, kind in pairs}
    with atomic_path(bases.KEPT) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # which takes names for its own option


def _space(e2cnn: types.SimpleNamespace, group: Group) -> Any:  # noqa: ANN401 - e2cnn ships no types
    """e2cnn's name for the group acting on the plane; its constructors refuse N = 1."""
    if group.reflections and group.rotations == 1:
        return e2cnn.gspaces.Flip2dOnR2()
    make = e2cnn.gspaces.FlipRot2dOnR2 if group.reflections else e2cnn.gspaces.Rot2dOnR2
    return make(group.rotations)


@functools.cache
def _mended_e2cnn() -> types.SimpleNamespace:
    """Import e2cnn 0.2.3, the last release, and mend what current numpy broke in it."""
    from e2cnn import gspaces  # noqa: PLC0415 - takes a second: only when a basis is needed
    from e2cnn.kernels import irreps_basis, utils  # noqa: PLC0415
    from e2cnn.nn.modules.r2_conv import r2convolution  # noqa: PLC0415

    mend_copy_false(utils)
    mend_tostring(irreps_basis)
    return types.SimpleNamespace(gspaces=gspaces, conv=r2convolution)


def mend_copy_false(utils: types.ModuleType) -> None:
    """`np.array(x, copy=False)` raises since numpy 2.0 where a copy is needed; `np.asarray` is what was meant."""

    class Numpy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever numpy has
            return getattr(np, name)

        @staticmethod
        def array(values: Any, copy: bool = True, **options: Any) -> Any:  # noqa: ANN401 - numpy's own signature
            return np.array(values, **options) if copy else np.asarray(values, **options)

    utils.__dict__["np"] = Numpy("numpy")


def mend_tostring(irreps_basis: types.ModuleType) -> None:
    """`ndarray.tostring` is gone since numpy 2.3, and four `__hash__` call it; `tobytes` is the same."""

    def hash_of(basis: Any) -> int:  # noqa: ANN401 - e2cnn ships no types
        gamma = basis.gamma.tobytes() if isinstance(basis.gamma, np.ndarray) else basis.gamma
        return hash((basis.in_irrep, basis.out_irrep, basis.mu.tobytes(), gamma))

    for kind in vars(irreps_basis).values():
        if isinstance(kind, type) and "tostring" in getattr(kind.__hash__, "__code__", hash_of.__code__).co_names:
            kind.__hash__ = hash_of  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    keep()
