"""Steerable convolutions that learn on the kernel, forward and backward, with the coefficients of the dense path."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from geseg.model.fieldnorm import FieldNorm
from geseg.model.group import Group
from geseg.model.steerable import Part, SteerableConv2d, Upsampled
from geseg.model.unet import UNet
from geseg.native import library
from geseg.native.between import NUMPY, by_rows, fits, map_of, new_maps, norm_relu, pool
from geseg.native.head import Head
from geseg.native.layer import Input, SteerableLayer
from geseg.native.plan import SMALL, Plan, factorise


def attach(net: nn.Module) -> bool:
    """Let the kernel compute the steerable convolutions of a net and what lies between them, and its head row by row.

    That is on the CPU, in float32 and float64; what the kernel cannot compute stays with torch. The state of the net,
    the files that it is written to, and what it computes (but for rounding) are the same.

    Returns:
        whether there is a kernel that is faster than torch here, and something for it to compute.
    """
    steerable = any(isinstance(module, SteerableConv2d) for module in net.modules())
    if library.best_set() < library.AVX2 or not steerable:
        return False
    for module in net.modules():
        if isinstance(module, SteerableConv2d) and module.out_size == module.group.order:
            module.kernelised = Convolution(module)
        elif isinstance(module, SteerableConv2d) and module.out_size == module.kernel_size == 1:
            module.kernelised = Head(module)
        elif isinstance(module, FieldNorm):
            module.kernelised = norm_relu
        elif isinstance(module, UNet):
            module.pool = pool
    return True


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
        sizes = {_shape(tensor_of(part), 2 if isinstance(part, Upsampled) else 1) for part in parts}
        return len(sizes) == 1 and self.can_learn(parts) and fits(coefficients, *map(tensor_of, parts))

    def can_learn(self, parts: Sequence[Part]) -> bool:
        """Whether there is a gradient of these, where one is needed."""
        return self.turned is not None or not any(tensor_of(part).requires_grad for part in parts)

    def __call__(self, coefficients: Tensor, bias: Tensor | None, parts: Sequence[Part]) -> Tensor:
        """Convolve; shapes are those of `SteerableConv2d`, with a bias per field."""
        upsampled = tuple(isinstance(part, Upsampled) for part in parts)
        y: Tensor = _Convolve.apply(  # type: ignore[no-untyped-call]
            self, upsampled, coefficients, bias, *map(tensor_of, parts)
        )
        return y

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
        upsampled: tuple[bool, ...],
        coefficients: Tensor,
        bias: Tensor | None,
        *parts: Tensor,
    ) -> Tensor:
        """The convolution of the parts, side by side."""
        parts = tuple(map(by_rows, parts))
        ctx.of, ctx.upsampled, layer = of, upsampled, of.layer(coefficients)
        ctx.save_for_backward(coefficients, *parts)
        images, height, width = _shape(parts[0], 2 if upsampled[0] else 1)
        y = new_maps(parts[0], (images, layer.out_fields * of.plan.out_size, height, width))
        inputs = _inputs(of.plan, parts, upsampled)
        layer(inputs, (images, height, width), map_of(y), threads=torch.get_num_threads())
        return y if bias is None else y.add_(bias.repeat_interleave(of.plan.out_size)[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        """The gradient of the input is a convolution of the slope, whose kernels are turned by 180° and transposed.

        The product of the slope with the output is that of the input with this convolution of the slope, whatever the
        weights: so their gradients are those of its weights, and its planes, which are there already, serve for both.
        """
        of, (coefficients, *parts), slope = ctx.of, ctx.saved_tensors, by_rows(slope)
        _, _, learns, biased, *needed = ctx.needs_input_grad
        of_bias = slope.sum((0, 2, 3)).view(-1, of.plan.out_size).sum(1) if biased else None
        given, shape, threads = Input(map_of(slope), len(coefficients)), _shape(slope), torch.get_num_threads()
        of_weights, of_parts, first = list[np.ndarray](), list[Tensor | None](), 0
        for part, read, wanted in zip(parts, _inputs(of.plan, parts, ctx.upsampled), needed, strict=True):
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
        return None, None, of_all, of_bias, *of_parts


def _halved(full: Tensor, part: Tensor) -> Tensor:
    """The gradient of a part of the input before it was upsampled."""
    half = new_maps(part, part.shape)
    images, channels, height, width = half.shape
    library.halve(
        map_of(full), map_of(half), (images, channels, height, width), NUMPY[part.dtype], torch.get_num_threads()
    )
    return half


def tensor_of(part: Part) -> Tensor:
    """What a part of an input is in memory."""
    return part.low if isinstance(part, Upsampled) else part


def _shape(maps: Tensor, times: int = 1) -> tuple[int, int, int]:
    """Images, height and width, if these are so many times as large."""
    return maps.shape[0], times * maps.shape[2], times * maps.shape[3]


def _inputs(plan: Plan, parts: Sequence[Tensor], upsampled: Sequence[bool]) -> list[Input]:
    return [Input(map_of(part), part.shape[1] // plan.in_size, up) for part, up in zip(parts, upsampled, strict=True)]


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
