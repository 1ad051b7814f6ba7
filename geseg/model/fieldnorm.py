"""Batch normalisation of fields, with the statistics and the affine map shared by the channels of a field."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

OverProcesses: TypeAlias = Callable[[Tensor], Tensor]
"""The mean of a tensor over the processes that learn together."""


def _alone(x: Tensor) -> Tensor:
    return x


class _SharedNorm(torch.autograd.Function):
    """`FieldNorm` while it learns: torch's kernels see channels, of which what a field shares is the mean.

    Regrouping the channels of a field into one, so that `nn.BatchNorm2d` did all of it, would cost the memory layout in
    which convolutions, pooling and upsampling are fast (channels last).
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
        over_processes: OverProcesses,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The normalised `x`, and the mean and (biased) variance of each field."""
        per = x.shape[1] // len(weight)
        kept = weight.new_zeros(2, x.shape[1])  # of the type of the weights: without any, a CPU measures in that of x
        measured = torch.ops.aten.batch_norm_update_stats(x, *kept, 0.0)
        channel_mean, channel_var = (t.view(-1, per) for t in measured)
        mean = over_processes(channel_mean.mean(1))
        var = over_processes((channel_var + (channel_mean - mean[:, None]).square()).mean(1))
        m, v, w, b = (t.repeat_interleave(per) for t in (mean, var, weight, bias))
        ctx.save_for_backward(x, m, v, w)
        ctx.per, ctx.eps, ctx.over_processes = per, eps, over_processes
        ctx.mark_non_differentiable(mean, var)
        return F.batch_norm(x, m, v, w, b, eps=eps), mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        """With y = w x' + b and x' = (x - m) / s, Ioffe & Szegedy's gradient; means are over the values of a field.

        dx = w / s (dy - mean(dy) - x' mean(dy x')): the first term is that of a norm whose statistics are constants,
        the other two are again a norm of x.
        """
        x, mean, var, weight = ctx.saved_tensors
        norm_backward = torch.ops.aten.native_batch_norm_backward
        of_constants = norm_backward(grad, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True])
        dx, *sums = of_constants
        d_weight, d_bias = (t.view(-1, ctx.per).sum(1) for t in sums)
        values = x.numel() // len(d_weight)
        scale, shift = (
            -weight * (var + ctx.eps).rsqrt() * ctx.over_processes(t / values).repeat_interleave(ctx.per)
            for t in (d_weight, d_bias)
        )
        dx += F.batch_norm(x, mean, var, scale, shift, eps=ctx.eps)
        return dx, d_weight, d_bias, None, None


class FieldNorm(nn.Module):
    """Batch normalisation with the statistics and the affine map shared by the |ρ| channels of a field.

    Sharing them is what makes it commute with the group, which permutes those channels; with |ρ| = 1 it is
    `nn.BatchNorm2d` (Ioffe & Szegedy 2015, arXiv:1502.03167).

    Attributes:
        processes: how many learn together, each from an equal part of a batch; the statistics are those of all of it.
        over_processes: the mean of a tensor over them.

    Shapes:
        input and output: float[B, fields * |ρ|, H, W]
    """

    def __init__(self, fields: int, channels_per_field: int) -> None:
        super().__init__()
        self.fields, self.channels_per_field = fields, channels_per_field
        self.norm = nn.BatchNorm2d(fields)
        self.processes = 1
        self.over_processes: OverProcesses = _alone

    def forward(self, x: Tensor) -> Tensor:
        norm, per = self.norm, self.channels_per_field
        if per == self.processes == 1:
            normed: Tensor = norm(x)
            return normed
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if not self.training:
            of_field = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            mean, var, weight, bias = (t.repeat_interleave(per) for t in of_field)
            return F.batch_norm(x, mean, var, weight, bias, eps=norm.eps)
        shared: tuple[Tensor, Tensor, Tensor] = _SharedNorm.apply(  # type: ignore[no-untyped-call]
            x, norm.weight, norm.bias, norm.eps, self.over_processes
        )
        normed, mean, var = shared
        self.follow(mean, var, x.numel())
        return normed

    @torch.no_grad()
    def follow(self, mean: Tensor, var: Tensor, numbers: int) -> None:
        """Let the statistics of evaluation follow those of a batch of so many numbers."""
        norm, values = self.norm, self.processes * numbers // self.fields
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.momentum is not None
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((var * (values / (values - 1))).to(norm.running_var.dtype), norm.momentum)

    def scale_and_shift(self) -> tuple[Float[Tensor, " channels"], Float[Tensor, " channels"]]:
        """The affine map per channel that the norm is in evaluation mode."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        return scale.repeat_interleave(self.channels_per_field), shift.repeat_interleave(self.channels_per_field)
