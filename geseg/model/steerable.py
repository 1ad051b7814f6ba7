"""Layers that commute with a group, and the plain layers that take their place in a restricted net."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from geseg.model import kernels
from geseg.model.bases import Rep
from geseg.model.fieldnorm import FieldNorm
from geseg.model.group import Group


@dataclass(frozen=True, slots=True)
class Fields:
    """A stack of `count` fields, each of |ρ| channels that lie side by side."""

    count: int
    rep: Rep


@runtime_checkable
class Deferred(Protocol):
    """Maps that are computed by what reads them, if it can, and are never in memory then."""

    def full(self) -> Tensor:
        """The maps as they are read."""
        ...


Part: TypeAlias = Tensor | Deferred
"""Of the input of a convolution."""


def whole(part: Part) -> Tensor:
    """The maps themselves, for what reads no others."""
    return part if isinstance(part, Tensor) else part.full()


@dataclass(frozen=True, slots=True)
class Upsampled:
    """Maps of half the height and width of a convolution that reads them upsampled, which commutes with the group.

    Bilinear, with corners that are not aligned.
    """

    low: Part

    def full(self) -> Tensor:
        """The maps as they are read."""
        return F.interpolate(whole(self.low), scale_factor=2.0, mode="bilinear", align_corners=False)


class Kernelised(Protocol):
    """Computes steerable convolutions in another way than densely (see `geseg.native.training`)."""

    def can(self, coefficients: Tensor, parts: Sequence[Part]) -> bool:
        """Whether it computes with tensors of this kind; else the dense path does."""
        ...

    def __call__(self, coefficients: Tensor, bias: Tensor | None, parts: Sequence[Part]) -> Tensor:
        """What `SteerableConv2d` gives for these parts of the input."""
        ...


class SteerableConv2d(nn.Module):
    """Convolution between stacks of fields that commutes with a group G of rotations and reflections.

    The kernel is a learned combination of the solutions of κ(g x) = ρ_out(g) κ(x) ρ_in(g)^-1 (Weiler & Cesa 2019,
    arXiv:1911.08251), which `kernels.basis` takes from e2cnn once. Exact for quarter turns and reflections; other
    angles hold up to the sampling of the pixel grid. The state is the coefficients alone, in training and evaluation.

    Shapes:
        input:  float[B, in_fields * |ρ_in|, H, W], in one part or several
        output: float[B, out_fields * |ρ_out|, H, W]
    """

    basis: Tensor

    def __init__(self, group: Group, in_fields: Fields, out_fields: Fields, kernel_size: int, bias: bool) -> None:
        super().__init__()
        exact = kernels.basis(group, in_fields.rep, out_fields.rep, kernel_size)
        self.group, self.exact_basis = group, exact.flatten(1)
        """The basis in float64: `basis` is rounded from it once, however often a net is moved."""
        self.out_size, self.in_size, self.kernel_size = exact.shape[1], exact.shape[2], kernel_size
        self.register_buffer("basis", self.exact_basis.to(torch.get_default_dtype()), persistent=False)
        # He et al. 2015 (arXiv:1502.01852): the expanded kernel's squares sum to 2 per output channel
        variance = 2 * exact.shape[1] / (in_fields.count * float(exact.square().sum()))
        shape = (out_fields.count, in_fields.count, len(exact))
        self.coefficients = nn.Parameter(torch.randn(shape) * math.sqrt(variance))
        # one bias per field is all that commutes, as it must be the same for all channels of the field
        self.bias = nn.Parameter(torch.zeros(out_fields.count)) if bias else None
        self.kernelised: Kernelised | None = None
        """What computes it in place of the dense convolution, where there is something that can."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SteerableConv2d":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.basis = self.exact_basis.to(self.coefficients)
        return self

    def kernel(self) -> Float[Tensor, "out_channels in_channels k k"]:
        """The plain kernel: what `restrict` puts into an `nn.Conv2d`."""
        out, in_, _ = self.coefficients.shape
        with torch.autocast(self.coefficients.device.type, enabled=False):  # a kernel rounded twice would not commute
            flat = self.coefficients.flatten(0, 1) @ self.basis
        sizes = {"o": out, "i": in_, "p": self.out_size, "q": self.in_size, "h": self.kernel_size}
        return rearrange(flat, "(o i) (p q h w) -> (o p) (i q) h w", **sizes)

    def forward(self, *parts: Part) -> Tensor:
        if self.kernelised is not None and self.kernelised.can(self.coefficients, parts):
            return self.kernelised(self.coefficients, self.bias, parts)
        bias = None if self.bias is None else self.bias.repeat_interleave(self.out_size)
        return convolve(parts, self.kernel(), bias)


class PlainConv2d(nn.Conv2d):
    """An ordinary convolution that keeps height and width, and takes its input in parts as `SteerableConv2d` does."""

    def forward(self, *parts: Part) -> Tensor:
        return convolve(parts, self.weight, self.bias)


def convolve(
    parts: Sequence[Part], kernel: Float[Tensor, "out_channels in_channels k k"], bias: Tensor | None
) -> Float[Tensor, "b out_channels h w"]:
    """Convolve stacks of channels as if they were concatenated, which would copy the largest maps there and back."""
    size, start, total = kernel.shape[-1], 0, None
    for part in map(whole, parts):
        own = kernel[:, start : start + part.shape[1]]
        term = F.conv2d(part, own, bias if total is None else None, padding=size // 2)
        total = term if total is None else total + term
        start += part.shape[1]
    assert total is not None, "a convolution has an input"
    assert start == kernel.shape[1], "the parts are all channels"
    return total


@runtime_checkable
class Layers(Protocol):
    """What a U-Net is made of; the same topology is built from steerable or from plain layers."""

    def conv(self, in_fields: Fields, out_fields: Fields, kernel_size: int, bias: bool) -> nn.Module:
        """A convolution that keeps height and width."""
        ...

    def norm(self, fields: int) -> nn.Module:
        """The norm after a convolution to `fields` regular fields."""
        ...


@dataclass(frozen=True, slots=True)
class SteerableLayers:
    """Layers that commute with a group other than c1."""

    group: Group

    def conv(self, in_fields: Fields, out_fields: Fields, kernel_size: int, bias: bool) -> nn.Module:
        return SteerableConv2d(self.group, in_fields, out_fields, kernel_size, bias)

    def norm(self, fields: int) -> nn.Module:
        return FieldNorm(fields, self.group.order)


@dataclass(frozen=True, slots=True)
class PlainLayers:
    """Ordinary layers: a field is `channels_per_field` free channels (1 in a plain net, |G| in a restricted one).

    With `folded`, the norm is part of the convolution, which then always has a bias.
    """

    channels_per_field: int = 1
    folded: bool = False

    def conv(self, in_fields: Fields, out_fields: Fields, kernel_size: int, bias: bool) -> nn.Module:
        in_, out = (f.count * (self.channels_per_field if f.rep == "regular" else 1) for f in (in_fields, out_fields))
        conv = PlainConv2d(in_, out, kernel_size, bias=bias or self.folded)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        return conv

    def norm(self, fields: int) -> nn.Module:
        return nn.Identity() if self.folded else FieldNorm(fields, self.channels_per_field)
