"""What lies between convolutions that learn on the kernel: the sums that norms need, ReLU, and pooling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from geseg.model.fieldnorm import OverProcesses
from geseg.model.steerable import Part, whole
from geseg.native import library, workers
from geseg.native.library import LINE, Between, Map

NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
"""The number types that the kernel computes with."""
MEASURE, NORMALISE, WEIGH, POOL, UNPOOL = range(5)
"""As in kernel.h."""


def fits(*tensors: Tensor) -> bool:
    """Whether the kernel computes with these: numbers of one type, in the memory of the CPU."""
    kind = tensors[0].dtype
    if kind not in NUMPY or torch.is_autocast_enabled("cpu"):
        return False
    return all(tensor.dtype == kind and tensor.device.type == "cpu" for tensor in tensors)


def by_rows(tensor: Tensor) -> Tensor:
    """The same with the columns of each channel side by side, as the kernel reads them."""
    return tensor if tensor.stride(3) == 1 else tensor.contiguous()


def new_maps(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Memory for maps in which the rows of all channels lie side by side, as the kernel computes them."""
    images, channels, height, width = shape
    return like.new_empty(images, height, channels, width).transpose(1, 2)


def map_of(tensor: Tensor) -> Map:
    """A stack of images as the kernel sees it."""
    return Map(tensor.data_ptr(), *tensor.stride()[:3])


@dataclass(frozen=True, slots=True)
class Normed:
    """Maps of a net that learns, whose norm and ReLU are computed by what reads them.

    Gradients that come back to `maps` are those of what they become.
    """

    maps: Tensor
    factors: Shaped[np.ndarray, "c 4"]
    """For each channel what it is multiplied by, and what is added then; see kernel.h."""

    def full(self) -> Tensor:
        """The maps as they are read."""
        full: Tensor = _Normalise.apply(self.maps, self.factors)  # type: ignore[no-untyped-call]
        return full


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, factors: np.ndarray) -> Tensor:  # noqa: ANN401 - torch's
        """What maps become."""
        full = new_maps(maps, maps.shape)
        _do(NORMALISE, {"in": maps, "out": full}, factors)
        return full

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """It is of what they become already."""
        return slope, None


def factors_of(maps: Tensor, *of_fields: Tensor) -> Shaped[np.ndarray, "c 4"]:
    """For each channel of these maps the numbers of its field."""
    channels, fields = maps.shape[1], len(of_fields[0])
    factors: np.ndarray = np.zeros((channels, 4), NUMPY[maps.dtype])
    for i, values in enumerate(of_fields):
        factors[:, i] = values.numpy().repeat(channels // fields)
    return factors


def measured(maps: Tensor, fields: int, over_processes: OverProcesses) -> tuple[Float64[Tensor, " f"], ...]:
    """The mean and the (biased) variance of each field, over all processes."""
    means, squares = (torch.from_numpy(part) for part in _summed(MEASURE, fields, {"in": maps}))
    mean = over_processes(means.mean((0, 2)))
    within = squares / maps[0, 0].numel()
    return mean, over_processes((within + (means - mean[:, None]).square()).mean((0, 2)))


def weighed(
    maps: Tensor, slope: Tensor, scale: Tensor, shift: Tensor, mean: Tensor
) -> tuple[Float64[Tensor, " f"], ...]:
    """Of the slopes that the ReLU lets through, and of their products with maps - mean, the sums of each field."""
    factors = factors_of(maps, scale, shift, mean)
    sums = _summed(WEIGH, len(mean), {"in": maps, "slope": slope}, factors)
    return tuple(torch.from_numpy(part).sum((0, 2)) for part in sums)


def pool(part: Part) -> Float[Tensor, "b c h w"]:
    """2x2 max-pooling; the last row or column of an odd number of them is left out, as by torch."""
    maps, factors = (part.maps, part.factors) if isinstance(part, Normed) else (whole(part), None)
    if maps.shape[2] % 2 or maps.shape[3] % 2 or not fits(maps):
        return F.max_pool2d(whole(part), 2)
    pooled: Tensor = _Pool.apply(maps, factors)  # type: ignore[no-untyped-call]
    return pooled


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factors: np.ndarray | None) -> Tensor:  # noqa: ANN401
        """The largest of 2x2."""
        x = by_rows(x)
        images, channels, height, width = x.shape
        pooled = new_maps(x, (images, channels, height // 2, width // 2))
        _do(POOL, {"in": x, "out": pooled}, factors, smaller=pooled)
        ctx.save_for_backward(x)
        ctx.factors = factors
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """To where the largest is."""
        (x,) = ctx.saved_tensors
        dx = new_maps(x, x.shape)
        _do(UNPOOL, {"in": x, "slope": by_rows(slope), "back": dx}, ctx.factors, smaller=slope)
        return dx, None


def _do(
    what: int,
    maps: dict[str, Tensor],
    factors: Shaped[np.ndarray, "c 4"] | None = None,
    sums: Float64[np.ndarray, "b c 2"] | None = None,
    smaller: Tensor | None = None,
) -> None:
    """Call the kernel; sizes are those of the smaller maps, where there are two kinds."""
    of_size = maps["in"] if smaller is None else smaller
    images, *sizes = of_size.shape
    between = Between(*sizes)
    for name, tensor in maps.items():
        setattr(between, name, map_of(tensor))
    dtype = NUMPY[of_size.dtype]
    lanes = None if sums is None else np.empty((*sums.shape, LINE), dtype)
    scratch = {"factors": factors, "sums": sums, "lanes": lanes}
    for name, numbers in scratch.items():
        setattr(between, name, None if numbers is None else numbers.ctypes.data)
    library.between(what, between, images, dtype, workers.count())


def _summed(
    what: int, fields: int, maps: dict[str, Tensor], factors: np.ndarray | None = None
) -> tuple[Float64[np.ndarray, "b f p"], Float64[np.ndarray, "b f p"]]:
    """Two sums of each channel of each field."""
    images, channels = maps["in"].shape[:2]
    sums = np.empty((images, channels, 2))
    _do(what, maps, factors, sums)
    of_fields = sums.reshape(images, fields, channels // fields, 2)
    return of_fields[..., 0], of_fields[..., 1]
