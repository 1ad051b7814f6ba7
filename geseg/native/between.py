"""What lies between convolutions that learn on the kernel: norm with ReLU, and pooling, forward and backward."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor
from torch.autograd.function import once_differentiable

from geseg.model.fieldnorm import OverProcesses, shared_norm
from geseg.native import library
from geseg.native.library import LINE, Between, Map

NUMPY = {torch.float32: np.float32, torch.float64: np.float64}
"""The number types that the kernel computes with."""
MEASURE, NORMALISE, WEIGH, DENORMALISE, POOL, UNPOOL = range(6)
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


def pool(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h//2 w//2"]:
    """2x2 max-pooling; the last row or column of an odd number of them is left out, as by torch."""
    even = x.shape[2] % 2 == x.shape[3] % 2 == 0
    pooled: Tensor = _Pool.apply(x) if even and fits(x) else F.max_pool2d(x, 2)  # type: ignore[no-untyped-call]
    return pooled


def norm_relu(
    x: Float[Tensor, "b c h w"], weight: Tensor, bias: Tensor, eps: float, over_processes: OverProcesses
) -> tuple[Tensor, Tensor, Tensor]:
    """A norm of fields that learns (see `fieldnorm.Norm`), and the ReLU after it."""
    if not fits(x, weight, bias):
        normed, mean, var = shared_norm(x, weight, bias, eps, over_processes)
        return normed.relu(), mean, var
    y: tuple[Tensor, Tensor, Tensor] = _NormReLU.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, eps, over_processes
    )
    return y


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        over_processes: OverProcesses,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """ReLU(w x' + b) with x' = (x - m) / s; m and s are those of a field."""
        x = by_rows(x)
        fields, pixels, z = len(weight), x[0, 0].numel(), new_maps(x, x.shape)
        means, squares = (torch.from_numpy(part) for part in _summed(MEASURE, fields, {"in": x}))
        mean = over_processes(means.mean((0, 2)))
        var = over_processes((squares / pixels + (means - mean[:, None]).square()).mean((0, 2)))
        scale = weight.double() / (var + eps).sqrt()
        shift = bias.double() - mean * scale
        _do(NORMALISE, {"in": x, "out": z}, _factors(x, scale, shift))
        ctx.save_for_backward(x, mean, (var + eps).rsqrt(), scale, shift)
        ctx.over_processes = over_processes
        mean, var = mean.to(x.dtype), var.to(x.dtype)
        ctx.mark_non_differentiable(mean, var)
        return z, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        """With dy where the ReLU lets it through, Ioffe & Szegedy's dx = w / s (dy - mean(dy) - x' mean(dy x'))."""
        x, mean, per_s, scale, shift = ctx.saved_tensors
        maps = {"in": x, "slope": by_rows(slope)}
        fields, values = len(scale), x.numel() // len(scale)
        sums = _summed(WEIGH, fields, maps, _factors(x, scale, shift, mean))
        d_bias, product = (torch.from_numpy(part).sum((0, 2)) for part in sums)
        d_weight = product * per_s
        mean_dy, mean_product = (ctx.over_processes(t / values) for t in (d_bias, d_weight))
        of_x = -scale * mean_product * per_s
        dx = new_maps(x, x.shape)
        factors = _factors(x, scale, shift, of_x, -scale * mean_dy - of_x * mean)
        _do(DENORMALISE, maps | {"back": dx}, factors)
        return dx, d_weight.to(x.dtype), d_bias.to(x.dtype), None, None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401
        """The largest of 2x2."""
        x = by_rows(x)
        images, channels, height, width = x.shape
        pooled = new_maps(x, (images, channels, height // 2, width // 2))
        _do(POOL, {"in": x, "out": pooled}, smaller=pooled)
        ctx.save_for_backward(x, pooled)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # noqa: ANN401
        """To where the largest is."""
        x, pooled = ctx.saved_tensors
        dx = new_maps(x, x.shape)
        _do(UNPOOL, {"in": x, "out": pooled, "slope": by_rows(slope), "back": dx}, smaller=pooled)
        return dx


def _do(
    what: int,
    maps: dict[str, Tensor],
    factors: Float64[np.ndarray, "c 4"] | None = None,
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
    library.between(what, between, images, dtype, torch.get_num_threads())


def _summed(
    what: int, fields: int, maps: dict[str, Tensor], factors: np.ndarray | None = None
) -> tuple[Float64[np.ndarray, "b f p"], Float64[np.ndarray, "b f p"]]:
    """Two sums of each channel of each field."""
    images, channels = maps["in"].shape[:2]
    sums = np.empty((images, channels, 2))
    _do(what, maps, factors, sums)
    of_fields = sums.reshape(images, fields, channels // fields, 2)
    return of_fields[..., 0], of_fields[..., 1]


def _factors(x: Tensor, *of_fields: Tensor) -> Float64[np.ndarray, "c 4"]:
    """For each channel the numbers of its field."""
    channels, fields = x.shape[1], len(of_fields[0])
    factors = np.zeros((channels, 4))
    for i, values in enumerate(of_fields):
        factors[:, i] = values.numpy().repeat(channels // fields)
    return factors
