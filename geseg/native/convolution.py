"""Steerable convolutions that learn on the kernel, forward and backward, with the coefficients of the dense path."""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from geseg.model.fieldnorm import FieldNorm, OverProcesses
from geseg.model.group import Group
from geseg.model.steerable import Part, SteerableConv2d, Upsampled, whole
from geseg.native import library, workers
from geseg.native.between import NUMPY, Normed, by_rows, factors_of, fits, map_of, measured, new_maps, weighed
from geseg.native.layer import Input, SteerableLayer
from geseg.native.plan import SMALL, Plan, factorise


@dataclass(frozen=True, slots=True)
class Read:
    """What becomes of maps as the kernel reads them: ReLU behind a norm of these factors, and upsampling after that."""

    factors: Shaped[np.ndarray, "c 4"] | None
    upsampled: bool

    def shape(self, maps: Tensor) -> tuple[int, int, int]:
        """Images, height and width then."""
        images, _, height, width = maps.shape
        times = 2 if self.upsampled else 1
        return images, times * height, times * width


def taken(parts: Sequence[Part]) -> tuple[tuple[Tensor, ...], tuple[Read, ...]]:
    """The parts of an input as they are in memory, and as they are read."""
    tensors, reads = list[Tensor](), list[Read]()
    for part in parts:
        low = part.low if isinstance(part, Upsampled) else part
        maps, factors = (low.maps, low.factors) if isinstance(low, Normed) else (whole(low), None)
        tensors.append(maps)
        reads.append(Read(factors, isinstance(part, Upsampled)))
    return tuple(tensors), tuple(reads)


class Convolution:
    """What computes a `SteerableConv2d` on the kernel; copies of the module share it, and callers take turns.

    Args:
        module: whose group and basis it takes.
    """

    def __init__(self, module: SteerableConv2d) -> None:
        sizes = (module.out_size, module.in_size, module.kernel_size, module.kernel_size)
        basis = module.exact_basis.numpy().reshape(-1, *sizes)
        self.plan = _plan(module.group, basis.shape, basis.tobytes())
        self.turned = _turned(self.plan, basis) if module.in_size == module.group.order else None
        self._layers: dict[tuple[bool, tuple[int, ...], torch.dtype], SteerableLayer] = {}

    def __deepcopy__(self, memo: object) -> "Convolution":
        return self  # it holds no state of a module

    def can(self, coefficients: Tensor, parts: Sequence[Part]) -> bool:
        """Whether the kernel computes with these. The gradient of an image is left to torch: nobody trains with it."""
        tensors, reads = taken(parts)
        sizes = {read.shape(maps) for maps, read in zip(tensors, reads, strict=True)}
        return len(sizes) == 1 and self.can_learn(tensors) and fits(coefficients, *tensors)

    def can_learn(self, inputs: Sequence[Tensor]) -> bool:
        """Whether there is a gradient of these, where one is needed."""
        return self.turned is not None or not any(maps.requires_grad for maps in inputs)

    def __call__(self, coefficients: Tensor, bias: Tensor | None, parts: Sequence[Part]) -> Tensor:
        """Convolve; shapes are those of `SteerableConv2d`, with a bias per field."""
        tensors, reads = taken(parts)
        y: Tensor = _Convolve.apply(self, reads, coefficients, bias, *tensors)  # type: ignore[no-untyped-call]
        return y

    def normed(self, coefficients: Tensor, norm: FieldNorm, parts: Sequence[Part]) -> Normed:
        """Convolve, and leave the norm that learns, and the ReLU after it, to what reads the maps."""
        (tensors, reads), (weight, bias) = taken(parts), (norm.norm.weight, norm.norm.bias)
        x, mean, var, scale, shift = _ConvolveAndNorm.apply(  # type: ignore[no-untyped-call]
            self, reads, (norm.norm.eps, norm.over_processes), coefficients, weight, bias, *tensors
        )
        norm.follow(mean, var, x.numel())
        return Normed(x, factors_of(x, scale, shift))

    def layer(self, coefficients: Tensor) -> SteerableLayer:
        """The layer with these coefficients."""
        return self._layer(self.plan, coefficients.detach().numpy(), coefficients.dtype)

    def back(self, coefficients: Tensor) -> SteerableLayer:
        """The layer that gives the gradient of the fields that these coefficients are of."""
        assert self.turned is not None, "see `can`"
        return self._layer(self.turned, coefficients.detach().numpy().transpose(1, 0, 2), coefficients.dtype)

    def _layer(self, plan: Plan, weights: np.ndarray, dtype: torch.dtype) -> SteerableLayer:
        key = plan is self.plan, weights.shape[:2], dtype
        if key in self._layers:
            self._layers[key].set_weights(weights)
        else:
            self._layers[key] = SteerableLayer(plan, weights, None, NUMPY[dtype], relu=False)
        return self._layers[key]


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's
        of: Convolution,
        reads: tuple[Read, ...],
        coefficients: Tensor,
        bias: Tensor | None,
        *parts: Tensor,
    ) -> Tensor:
        """The convolution of the parts, side by side."""
        parts = tuple(map(by_rows, parts))
        ctx.of, ctx.reads = of, reads
        ctx.save_for_backward(coefficients, *parts)
        y = _convolve(of, reads, coefficients, parts)
        return y if bias is None else y.add_(bias.repeat_interleave(of.plan.out_size)[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        """Of the coefficients, the bias and the parts."""
        of, (coefficients, *parts), slope = ctx.of, ctx.saved_tensors, by_rows(slope)
        _, _, learns, biased, *needed = ctx.needs_input_grad
        of_bias = slope.sum((0, 2, 3)).view(-1, of.plan.out_size).sum(1) if biased else None
        given = Input(map_of(slope), len(coefficients))
        of_all, of_parts = _gradients(of, ctx.reads, coefficients, parts, given, slope, learns, needed)
        return None, None, of_all, of_bias, *of_parts


class _ConvolveAndNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's
        of: Convolution,
        reads: tuple[Read, ...],
        how: tuple[float, OverProcesses],
        coefficients: Tensor,
        weight: Tensor,
        bias: Tensor,
        *parts: Tensor,
    ) -> tuple[Tensor, ...]:
        """The convolution x, which stands for ReLU(w x' + b) with x' = (x - m) / s; m and s are those of a field.

        Returns:
            it, and of each field mean, variance, and what x is multiplied by and what is added then.
        """
        parts, (eps, over_processes) = tuple(map(by_rows, parts)), how
        x = _convolve(of, reads, coefficients, parts)
        mean, var = measured(x, len(coefficients), over_processes)
        scale = weight.double() / (var + eps).sqrt()
        shift = bias.double() - mean * scale
        ctx.of, ctx.reads, ctx.over_processes = of, reads, over_processes
        ctx.save_for_backward(coefficients, x, mean, (var + eps).rsqrt(), scale, shift, *parts)
        of_fields = mean.to(x.dtype), var.to(x.dtype), scale, shift
        ctx.mark_non_differentiable(*of_fields)
        return x, *of_fields

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        """With dy where the ReLU lets it through, Ioffe & Szegedy's dx = w / s (dy - mean(dy) - x' mean(dy x')).

        It is not in memory, but computed as the convolution reads it.
        """
        coefficients, x, mean, per_s, scale, shift, *parts = ctx.saved_tensors
        _, _, _, learns, _, _, *needed = ctx.needs_input_grad
        slope, fields = by_rows(slope), len(mean)
        d_bias, product = weighed(x, slope, scale, shift, mean)
        d_weight = product * per_s
        mean_dy, mean_product = (ctx.over_processes(t * fields / x.numel()) for t in (d_bias, d_weight))
        of_x = -scale * mean_product * per_s
        factors = factors_of(x, scale, shift, of_x, -scale * mean_dy - of_x * mean)
        dx = Input(map_of(x), fields, factors=factors, slope=map_of(slope))
        of_all, of_parts = _gradients(ctx.of, ctx.reads, coefficients, parts, dx, slope, learns, needed)
        return None, None, None, of_all, d_weight.to(x.dtype), d_bias.to(x.dtype), *of_parts


def _convolve(of: Convolution, reads: Sequence[Read], coefficients: Tensor, parts: Sequence[Tensor]) -> Tensor:
    layer, shape = of.layer(coefficients), reads[0].shape(parts[0])
    y = new_maps(parts[0], (shape[0], layer.out_fields * of.plan.out_size, *shape[1:]))
    layer(_inputs(of.plan, parts, reads), shape, map_of(y), threads=workers.count())
    return y


def _gradients(
    of: Convolution,
    reads: Sequence[Read],
    coefficients: Tensor,
    parts: Sequence[Tensor],
    given: Input,
    slope: Tensor,
    learns: bool,
    needed: Sequence[bool],
) -> tuple[Tensor | None, list[Tensor | None]]:
    """From the gradient of the output, `given`, that of the coefficients, and of each part that needs one.

    That of the input is a convolution of it, whose kernels are turned by 180° and transposed. The product of a slope
    with the output is that of the input with this convolution of the slope, whatever the weights: so their gradients
    are those of its weights, and its planes, which are there already, serve for both.
    """
    images, _, height, width = slope.shape
    shape, threads = (images, height, width), workers.count()
    of_weights, of_parts, first = list[np.ndarray](), list[Tensor | None](), 0
    for part, read, wanted in zip(parts, _inputs(of.plan, parts, reads), needed, strict=True):
        own = coefficients[:, first : first + read.fields]
        full = new_maps(slope, (shape[0], part.shape[1], *shape[1:])) if wanted else None
        if full is not None and learns:
            found = of.back(own).gradient([given], read, shape, map_of(full), threads=threads)
            of_weights.append(found.transpose(1, 0, 2))
        elif full is not None:
            of.back(own)([given], shape, map_of(full), threads=threads)
        elif learns:
            of_weights.append(of.layer(own).gradient([read], given, shape, threads=threads))
        of_parts.append(_halved(full, part) if full is not None and read.upsampled else full)
        first += read.fields
    of_all = torch.from_numpy(np.concatenate(of_weights, 1)).to(coefficients.dtype) if learns else None
    return of_all, of_parts


def _halved(full: Tensor, part: Tensor) -> Tensor:
    """The gradient of a part of the input before it was upsampled."""
    half = new_maps(part, part.shape)
    images, channels, height, width = half.shape
    library.halve(map_of(full), map_of(half), (images, channels, height, width), NUMPY[part.dtype], workers.count())
    return half


def _inputs(plan: Plan, parts: Sequence[Tensor], reads: Sequence[Read]) -> list[Input]:
    return [
        Input(map_of(part), part.shape[1] // plan.in_size, read.upsampled, read.factors)
        for part, read in zip(parts, reads, strict=True)
    ]


@functools.lru_cache(maxsize=16)
def _plan(group: Group, shape: tuple[int, ...], basis: bytes) -> Plan:
    return factorise(group, np.frombuffer(basis).reshape(shape))


def _turned(plan: Plan, basis: Float64[np.ndarray, "b p p k k"]) -> Plan:
    """The plan of the same convolution with every basis kernel turned by 180° and its ends exchanged.

    Both leave the equation of steerable kernels between regular fields as it is, since regular representations are
    orthogonal: what comes of a basis kernel is a sum of the same ones.
    """
    count = len(basis)
    turned = basis.transpose(0, 2, 1, 3, 4)[..., ::-1, ::-1].reshape(count, -1)
    found: np.ndarray = np.linalg.lstsq(basis.reshape(count, -1).T, turned.T, rcond=None)[0].T
    assert np.abs(found @ basis.reshape(count, -1) - turned).max() < SMALL, "the basis spans all steerable kernels"
    return dataclasses.replace(plan, mixing=plan.mixing @ found.T)
