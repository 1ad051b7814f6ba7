"""Layers that commute with a group, and the plain layers that take their place in a restricted net."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from geseg.model import kernels
from geseg.model.group import Group


@dataclass(frozen=True, slots=True)
class Fields:
    """A stack of `count` fields, each of |ρ| channels that lie side by side."""

    count: int
    rep: kernels.Rep


class SteerableConv2d(nn.Module):
    """Convolution between stacks of fields that commutes with a group G of rotations and reflections.

    The kernel is a learned combination of the solutions of κ(g x) = ρ_out(g) κ(x) ρ_in(g)^-1 (Weiler & Cesa 2019,
    arXiv:1911.08251), which `kernels.basis` takes from e2cnn once. Exact for quarter turns and reflections; other
    angles hold up to the sampling of the pixel grid. The state is the coefficients alone, in training and evaluation.

    Shapes:
        input:  float[B, in_fields * |ρ_in|, H, W]
        output: float[B, out_fields * |ρ_out|, H, W]
    """

    basis: Tensor

    def __init__(self, group: Group, in_fields: Fields, out_fields: Fields, kernel_size: int, bias: bool) -> None:
        super().__init__()
        exact = kernels.basis(group, in_fields.rep, out_fields.rep, kernel_size)
        self.out_size, self.in_size, self.kernel_size = exact.shape[1], exact.shape[2], kernel_size
        self._exact_basis = exact.flatten(1)  # float64: `basis` is rounded from it once, however often a net is moved
        self.register_buffer("basis", self._exact_basis.to(torch.get_default_dtype()), persistent=False)
        # He et al. 2015 (arXiv:1502.01852): the expanded kernel's squares sum to 2 per output channel
        variance = 2 * exact.shape[1] / (in_fields.count * float(exact.square().sum()))
        shape = (out_fields.count, in_fields.count, len(exact))
        self.coefficients = nn.Parameter(torch.randn(shape) * math.sqrt(variance))
        # one bias per field is all that commutes, as it must be the same for all channels of the field
        self.bias = nn.Parameter(torch.zeros(out_fields.count)) if bias else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SteerableConv2d":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.basis = self._exact_basis.to(self.coefficients)
        return self

    def kernel(self) -> Float[Tensor, "out_channels in_channels k k"]:
        """The plain kernel: what `restrict` puts into an `nn.Conv2d`."""
        out, in_, _ = self.coefficients.shape
        with torch.autocast(self.coefficients.device.type, enabled=False):  # a kernel rounded twice would not commute
            flat = self.coefficients.flatten(0, 1) @ self.basis
        sizes = {"o": out, "i": in_, "p": self.out_size, "q": self.in_size, "h": self.kernel_size}
        return rearrange(flat, "(o i) (p q h w) -> (o p) (i q) h w", **sizes)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.repeat_interleave(self.out_size)
        return F.conv2d(x, self.kernel(), bias, padding=self.kernel_size // 2)


class FieldNorm(nn.Module):
    """Batch normalisation with the statistics and the affine map shared by the |ρ| channels of a field.

    Sharing them is what makes it commute with the group, which permutes those channels; with |ρ| = 1 it is
    `nn.BatchNorm2d` (Ioffe & Szegedy 2015, arXiv:1502.03167).

    Shapes:
        input and output: float[B, fields * |ρ|, H, W]
    """

    def __init__(self, fields: int, channels_per_field: int) -> None:
        super().__init__()
        self.fields, self.channels_per_field = fields, channels_per_field
        self.norm = nn.BatchNorm2d(fields)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        if x.is_contiguous(memory_format=torch.channels_last):  # both views are free, and the kernel is torch's own
            pixels = x.permute(0, 2, 3, 1).reshape(b * h * w, self.fields, self.channels_per_field, 1)
            normed: Tensor = self.norm(pixels)
            return normed.reshape(b, h, w, c).permute(0, 3, 1, 2)
        normed = self.norm(x.reshape(b, self.fields, self.channels_per_field * h, w))
        return normed.reshape(b, c, h, w)

    def scale_and_shift(self) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
        """The affine map per channel that the norm is in evaluation mode."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        return scale.repeat_interleave(self.channels_per_field), shift.repeat_interleave(self.channels_per_field)


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
        conv = nn.Conv2d(in_, out, kernel_size, padding=kernel_size // 2, bias=bias or self.folded)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        return conv

    def norm(self, fields: int) -> nn.Module:
        return nn.Identity() if self.folded else FieldNorm(fields, self.channels_per_field)
