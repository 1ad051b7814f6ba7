"""A net that learns on the kernel: its convolutions, and what lies between them."""

from collections.abc import Sequence

from torch import nn

from geseg.model import unet
from geseg.model.fieldnorm import FieldNorm
from geseg.model.steerable import Part, SteerableConv2d
from geseg.native import library
from geseg.native.between import fits, pool
from geseg.native.convolution import Convolution
from geseg.native.head import Head


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
        elif isinstance(module, unet.Block):
            module.rectified = rectified
        elif isinstance(module, unet.UNet):
            module.pool = pool
    return True


def rectified(conv: nn.Module, norm: nn.Module, parts: Sequence[Part]) -> Part:
    """What `unet.rectified` gives; while a net learns, norm and ReLU are left to what reads it."""
    if isinstance(conv, SteerableConv2d) and isinstance(norm, FieldNorm) and norm.training:
        of, coefficients = conv.kernelised, conv.coefficients
        fit = fits(coefficients, norm.norm.weight) and conv.bias is None
        if isinstance(of, Convolution) and fit and of.can(coefficients, parts):
            return of.normed(coefficients, norm, parts)
    return unet.rectified(conv, norm, parts)
