"""The head of a net that learns: a 1x1 convolution of all channels to one map, on maps that lie row by row."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from geseg.model.steerable import Part, SteerableConv2d, whole
from geseg.native.between import Normed, fits


class Head:
    """Computes a head as products of matrices, a row of all channels at a time; torch would bring them side by side.

    Args:
        module: whose kernel it takes; it gives one channel, of the trivial representation.
    """

    def __init__(self, module: SteerableConv2d) -> None:
        assert module.out_size == module.kernel_size == 1, "a head weighs the channels of a pixel"
        self._basis: Float[Tensor, "1 c"] = module.exact_basis

    def __deepcopy__(self, memo: object) -> "Head":
        return self  # it holds no state of a module

    def can(self, coefficients: Tensor, parts: Sequence[Part]) -> bool:
        """Whether it computes with these: one part, in the memory of the CPU, whose channels become one."""
        maps = parts[0].maps if isinstance(parts[0], Normed) else parts[0]
        return len(parts) == len(coefficients) == 1 and isinstance(maps, Tensor) and fits(coefficients, maps)

    def __call__(self, coefficients: Tensor, bias: Tensor | None, parts: Sequence[Part]) -> Tensor:
        """The weighed sum of the channels; shapes are those of `SteerableConv2d`."""
        maps = whole(parts[0])
        weights = (coefficients[0] @ self._basis.to(coefficients)).flatten()
        bias = coefficients.new_zeros(1) if bias is None else bias
        logits: Tensor = _Weigh.apply(maps, weights, bias)  # type: ignore[no-untyped-call]
        return logits


class _Weigh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weights: Tensor, bias: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        """With each row a matrix of channels by columns."""
        ctx.save_for_backward(maps, weights)
        rows = _rows(maps)
        of_all = weights.expand(len(rows), 1, -1)
        return _maps(torch.baddbmm(bias, of_all, rows), maps.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401
        """Of the maps, each channel's share of the slope; of the weights, its product with the channel."""
        maps, weights = ctx.saved_tensors
        rows, slopes = _rows(maps), _rows(slope)
        of_weights = torch.bmm(rows, slopes.transpose(1, 2)).sum((0, 2))
        return _maps(weights[:, None] * slopes, maps.shape[2]), of_weights, slope.sum().view(1)


def _rows(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "bh c w"]:
    """All rows of all images, which is no copy where they lie so."""
    return maps.transpose(1, 2).flatten(0, 1)


def _maps(rows: Float[Tensor, "bh c w"], height: int) -> Float[Tensor, "b c h w"]:
    return rows.view(-1, height, *rows.shape[1:]).transpose(1, 2)
