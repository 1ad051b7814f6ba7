"""Steerable convolutions in irreps on a GPU, forward and backward, with the coefficients of the dense path.

Needs Triton, which comes with torch's CUDA builds. Nothing uses it by itself: where cuDNN's dense convolutions are
faster they have to stay (see README.md of this folder).
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from geseg.model.steerable import Part, SteerableConv2d, whole
from geseg.native import tritonkernels
from geseg.native.convolution import Convolution, taken
from geseg.native.plan import Plan

PIXELS = 64
"""Of a tile."""
LEAST, MOST = 16, 64
"""Fields, or outputs, of a tile; fewer than 16 Triton does not multiply."""
PARTS = 64
"""Of the pixels of a batch, at most, in the gradient of the weights: enough to keep a GPU busy."""
KINDS = (torch.float32, torch.bfloat16)
"""The number types of maps; weights are rounded to that of the maps that they multiply."""


def attach(net: nn.Module) -> None:
    """Let Triton compute the steerable convolutions of a net, but for its head, wherever its tensors are on a GPU."""
    for module in net.modules():
        if isinstance(module, SteerableConv2d) and module.out_size == module.group.order:
            module.kernelised = GPUConvolution(module)


@dataclass(frozen=True, slots=True)
class Tables:
    """A plan as the kernels read it.

    Attributes:
        terms: int32[terms, 3], channel of a field, rows down, columns to the right; those of a solution lie together.
        factors: float32[terms], what it is multiplied by.
        solutions: int32[solutions, 4], first and last term, weights before its own (per pair of fields), component.
        components: int32[components, 5], first and last solution; in an output field the channel of the first copy of
            the irrep and the distance to the next one; copies.
    """

    terms: Tensor
    factors: Tensor
    solutions: Tensor
    components: Tensor

    @property
    def all(self) -> tuple[Tensor, ...]:
        """In the order of the kernels' arguments."""
        return self.terms, self.factors, self.solutions, self.components

    @classmethod
    def of(cls, plan: Plan, device: torch.device) -> "Tables":
        """The tables of a plan."""
        middle = plan.filters.shape[1] // 2
        terms, solutions, components = (list[tuple[int, ...]]() for _ in range(3))
        factors, before = list[float](), 0
        for kernels, component in zip(responses(plan), plan.components, strict=True):
            first, copies = len(solutions), len(component.rows)
            for kernel in kernels:
                places = np.argwhere(kernel)
                solutions.append((len(terms), len(terms) + len(places), before, len(components)))
                terms += [(channel, row - middle, column - middle) for channel, row, column in places.tolist()]
                factors += kernel[tuple(places.T)].tolist()
                before += copies
            step = component.rows[1] - component.rows[0] if copies > 1 else 0
            components.append((first, len(solutions), component.rows[0], step, copies))
        numbers = (torch.tensor(rows, dtype=torch.int32, device=device) for rows in (terms, solutions, components))
        where, of_solutions, of_components = numbers
        return cls(where, torch.tensor(factors, device=device), of_solutions, of_components)


def responses(plan: Plan) -> Iterator[Float[np.ndarray, "b q k k"]]:
    """The kernel of each solution on the channels of a field, in irreps, component by component."""
    size = plan.filters.shape[1]
    single = np.einsum("pq,sij->psqij", np.eye(plan.in_size), plan.filters).reshape(-1, plan.in_size, size, size)
    sums = np.einsum("eqs,sij->eqij", plan.extras.reshape(-1, plan.in_size, len(plan.filters)), plan.filters)
    planes = np.concatenate([single, sums])
    for component in plan.components:
        yield planes[component.planes] * component.scales[:, None, None, None]


class GPUConvolution:
    """What computes a `SteerableConv2d` with Triton, in float32 or bfloat16; sums are float32.

    Args:
        module: whose group and basis it takes.
    """

    def __init__(self, module: SteerableConv2d) -> None:
        self._of = Convolution(module)
        self.plan = self._of.plan
        self.constants = functools.lru_cache(functools.partial(Constants.of, self._of))

    def __deepcopy__(self, memo: object) -> "GPUConvolution":
        return self  # it holds no state of a module

    def can(self, coefficients: Tensor, parts: Sequence[Part]) -> bool:
        """Whether Triton computes with these. The gradient of an image is left to torch: nobody trains with it."""
        placed = coefficients.device.type == "cuda" or triton.knobs.runtime.interpret
        inputs, _ = taken(parts)
        fit = all(t.dtype in KINDS and t.device == coefficients.device for t in (coefficients, *inputs))
        return placed and fit and self._of.can_learn(inputs)

    def __call__(self, coefficients: Tensor, bias: Tensor | None, parts: Sequence[Part]) -> Tensor:
        """Convolve; shapes are those of `SteerableConv2d`, with a bias per field."""
        fixed = self.constants(coefficients.device)
        x = torch.cat(list(map(whole, parts)), 1)
        fields = rearrange(x, "n (f q) h w -> n h w q f", q=self.plan.in_size)
        irreps = torch.einsum("nhwqf,rq->nhwrf", fields, fixed.to_irreps.to(x.dtype))
        y: Tensor = _Products.apply(self, coefficients, irreps)  # type: ignore[no-untyped-call]
        y = torch.einsum("nhwrf,pr->nfphw", y, fixed.from_irreps.to(y.dtype)).flatten(1, 2)
        return y if bias is None else y + bias.repeat_interleave(self.plan.out_size)[:, None, None]


@dataclass(frozen=True, slots=True)
class Constants:
    """What is fixed in a convolution, on a device; see `Plan`.

    `turned` is the mixing of the convolution that gives the gradient of the input, None where that is an image.
    """

    tables: Tables
    to_irreps: Tensor
    from_irreps: Tensor
    mixing: Tensor
    turned: Tensor | None

    @classmethod
    def of(cls, conv: Convolution, device: torch.device) -> "Constants":
        """Those of a convolution."""
        turned = None if conv.turned is None else conv.turned.mixing
        arrays = conv.plan.to_irreps, conv.plan.from_irreps, conv.plan.mixing, turned
        tensors = (None if a is None else torch.tensor(a, dtype=torch.float32, device=device) for a in arrays)
        return cls(Tables.of(conv.plan, device), *tensors)  # type: ignore[arg-type]


class _Products(torch.autograd.Function):
    """From irreps of the input to those of the output, both [image, row, column, channel of a field, field]."""

    @staticmethod
    def forward(ctx: Any, of: GPUConvolution, coefficients: Tensor, x: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        x = x.contiguous()
        ctx.of = of
        ctx.save_for_backward(coefficients, x)
        return _multiply(of, x, coefficients, of.constants(x.device).mixing)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        """The gradient of the input is a convolution of the slope, as `convolution.Convolution` has it."""
        of, (coefficients, x) = ctx.of, ctx.saved_tensors
        slope = slope.to(x.dtype).contiguous()
        of_weights = _correlate(of, x, slope) if ctx.needs_input_grad[1] else None
        of_x = None
        if ctx.needs_input_grad[2]:
            of_x = _multiply(of, slope, coefficients.transpose(0, 1), of.constants(x.device).turned)
        return None, of_weights, of_x


def _multiply(of: GPUConvolution, x: Tensor, coefficients: Tensor, mixing: Tensor | None) -> Tensor:
    assert mixing is not None, "see `can`"
    fixed, (images, height, width, in_size, in_fields) = of.constants(x.device), x.shape
    out_fields, out_size = len(coefficients), of.plan.out_size
    with torch.autocast(x.device.type, enabled=False):
        weights = pack(of.plan, coefficients.float() @ mixing.T).to(x.dtype)
    y = x.new_empty(images, height, width, out_size, out_fields)
    most = max(len(component.rows) for component in of.plan.components) * out_fields
    pixels, tile = images * height * width, _tile(most)
    grid = triton.cdiv(pixels, PIXELS), len(of.plan.components), triton.cdiv(most, tile)
    sizes = pixels, height, width, in_size, in_fields, out_size, out_fields
    tritonkernels.multiply[grid](
        x, weights, y, *fixed.tables.all, *sizes, PIXELS=PIXELS, FIELDS=_tile(in_fields), OUTS=tile
    )
    return y


def _correlate(of: GPUConvolution, x: Tensor, slope: Tensor) -> Tensor:
    """The gradient of the coefficients, float32."""
    fixed, (images, height, width, in_size, in_fields) = of.constants(x.device), x.shape
    out_size, out_fields = slope.shape[3:]
    pixels, components = images * height * width, of.plan.components
    of_part = triton.cdiv(pixels, PARTS * PIXELS) * PIXELS
    parts = triton.cdiv(pixels, of_part)
    weights = sum(len(c.rows) * len(c.planes) for c in components) * in_fields * out_fields
    sums = torch.empty(parts, weights, device=x.device)
    most = max(len(component.rows) for component in components) * out_fields
    fields, outs = _tile(in_fields), _tile(most)
    grid = len(fixed.tables.solutions), triton.cdiv(in_fields, fields) * triton.cdiv(most, outs), parts
    sizes = pixels, height, width, in_size, in_fields, out_size, out_fields, weights, of_part
    tritonkernels.correlate[grid](x, slope, sums, *fixed.tables.all, *sizes, PIXELS=PIXELS, FIELDS=fields, OUTS=outs)
    return unpack(of.plan, sums.sum(0), out_fields, in_fields) @ fixed.mixing


def pack(plan: Plan, weights: Float[Tensor, "o i w"]) -> Float[Tensor, " all"]:
    """Weights as the kernels read them: by component, solution, input field, and copy in an output field."""
    found = []
    for component in plan.components:
        copies, many = len(component.rows), len(component.planes)
        own = weights[:, :, component.weights : component.weights + copies * many]
        found.append(rearrange(own, "o i (copy many) -> (many i copy o)", copy=copies))
    return torch.cat(found)


def unpack(plan: Plan, packed: Float[Tensor, " all"], out_fields: int, in_fields: int) -> Float[Tensor, "o i w"]:
    """The transpose of `pack`, for gradients: components of an irrep share weights."""
    weights, start = packed.new_zeros(out_fields, in_fields, len(plan.mixing)), 0
    for component in plan.components:
        copies, many = len(component.rows), len(component.planes)
        end = start + copies * many * out_fields * in_fields
        sizes = {"many": many, "i": in_fields, "copy": copies, "o": out_fields}
        own = rearrange(packed[start:end], "(many i copy o) -> o i (copy many)", **sizes)
        weights[:, :, component.weights : component.weights + copies * many] += own
        start = end
    return weights


def _tile(count: int) -> int:
    """How many of so many a tile has: a power of two."""
    return min(MOST, max(LEAST, 1 << (count - 1).bit_length()))
