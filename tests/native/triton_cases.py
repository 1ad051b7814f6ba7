"""What Triton's interpreter computes of steerable convolutions, against the dense path: python triton_cases.py CASE.

A process of its own, since Triton has to know before it sees the kernels whether it is to interpret them, and reads
their source, which the checks of shapes would change.
"""

import copy
import sys
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import interpreter

from geseg.model import bases
from geseg.model.group import Group
from geseg.model.losses import dice_bce
from geseg.model.steerable import Fields, Part, SteerableConv2d, Upsampled
from geseg.model.unet import build
from geseg.native import tritonkernels, tritonlayer


def a_pair(name: str, rep: bases.Rep = "regular", kernel_size: int = 3, fields: int = 3) -> list[SteerableConv2d]:
    """The same convolution densely and in Triton."""
    torch.manual_seed(0)
    dense = SteerableConv2d(Group.parse(name), Fields(fields, rep), Fields(2, "regular"), kernel_size, bias=True)
    assert dense.bias is not None
    torch.nn.init.normal_(dense.bias)
    other = copy.deepcopy(dense)
    other.kernelised = tritonlayer.GPUConvolution(other)
    return [dense, other]


def check_learned(pair: Sequence[SteerableConv2d], parts: Sequence[Part], tolerance: float) -> None:
    """Outputs, and gradients of all that has one."""
    tensors = [part.low if isinstance(part, Upsampled) else part for part in parts]
    conv = pair[1]
    assert conv.kernelised is not None
    assert conv.kernelised.can(conv.coefficients, parts), "else both were the dense path"
    found, slope = [], None
    for net in pair:
        y = net(*parts)
        slope = torch.randn_like(y) if slope is None else slope
        leaves = [*net.parameters(), *(tensor for tensor in tensors if tensor.requires_grad)]
        found.append([y, *torch.autograd.grad(y, leaves, slope)])
    check_same(*found, tolerance)


def check_same(one: Sequence[Tensor], other: Sequence[Tensor], tolerance: float) -> None:
    """But for a share of the largest number of all."""
    largest = max(float(b.detach().abs().max()) for b in other)
    for a, b in zip(one, other, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        torch.testing.assert_close(a, b, atol=tolerance * largest, rtol=0)


def groups() -> None:
    """Of several kinds, in and out of the image's edge; more than one tile of pixels and part of a batch."""
    for name, (rep, height) in product(("c4", "d4", "c8"), (("trivial", 9), ("regular", 3))):
        pair = a_pair(name, rep)
        for shape in ((1, 1), (height, 8)):
            x = torch.randn(3, 3 * pair[0].in_size, *shape, requires_grad=rep == "regular")
            check_learned(pair, [x], 1e-5)


def kernels() -> None:
    """Of 1x1 and 5x5, and more fields than a tile has."""
    for name, size, fields in (("d2", 1, 3), ("c2", 5, 2), ("d1", 3, 70)):
        pair = a_pair(name, kernel_size=size, fields=fields)
        check_learned(pair, [torch.randn(1, fields * pair[0].in_size, 4, 5, requires_grad=True)], 1e-5)


def bfloat16() -> None:
    """Sums are float32: what is lost is what rounding inputs, weights and outputs loses, as in the dense path."""
    mend_products()
    dense, other = a_pair("d4")
    x, slope = torch.randn(1, 24, 4, 5), torch.randn(1, 16, 4, 5)
    found = []
    for net, dtype in ((dense, torch.float32), (other, torch.bfloat16)):
        leaf = x.to(dtype).requires_grad_()
        y = net.to(dtype)(leaf)
        assert y.dtype == dtype
        found.append([t.float() for t in (y, *torch.autograd.grad(y, [leaf, net.coefficients], slope.to(dtype)))])
    check_same(*found, 0.01)


def mend_products() -> None:
    """Let the interpreter of Triton 3.9 multiply bfloat16 as what it is: it takes the bits for whole numbers."""
    multiply = interpreter.InterpreterBuilder.create_dot

    def create_dot(self: Any, a: Any, b: Any, *others: Any) -> Any:  # noqa: ANN401 - Triton has no types
        a, b = (self.cast_impl(x, tl.float32) if x.dtype.scalar == tl.bfloat16 else x for x in (a, b))
        return multiply(self, a, b, *others)

    interpreter.InterpreterBuilder.create_dot = create_dot


def nets() -> None:
    """All gradients of a whole net, with upsampled parts."""
    torch.manual_seed(0)
    dense = build(Group.parse("c4"), (1, 2))
    other = copy.deepcopy(dense)
    tritonlayer.attach(other)
    image = torch.randn(1, 3, 6, 4)
    label = torch.rand(1, 1, 6, 4).round()
    for net in (dense, other):
        dice_bce(net(image), label, torch.ones_like(label)).backward()
    check_same(*([p.grad for p in net.parameters()] for net in (other, dense)), 1e-4)


def compiled() -> None:
    """For two generations of GPUs, as far as this can be seen without one; not in the interpreter."""
    tables = {"terms": "*i32", "factors": "*fp32", "solutions": "*i32", "components": "*i32"}
    sizes = ("pixels_in_all", "height", "width", "in_size", "in_fields", "out_size", "out_fields")
    tiles = {"PIXELS": tritonlayer.PIXELS, "FIELDS": tritonlayer.LEAST, "OUTS": 2 * tritonlayer.LEAST}
    shared = tables | dict.fromkeys(sizes, "i32") | dict.fromkeys(tiles, "constexpr")
    parts = dict.fromkeys(("all_weights", "pixels_of_part"), "i32")
    for architecture, kind in product((80, 90), ("bf16", "fp32")):
        maps = dict.fromkeys(("x", "weights", "y"), f"*{kind}"), dict.fromkeys(("x", "slopes"), f"*{kind}")
        for kernel, own in (
            (tritonkernels.multiply, maps[0] | shared),
            (tritonkernels.correlate, maps[1] | {"sums": "*fp32"} | shared | parts),
        ):
            source = ASTSource(kernel, {name: own[name] for name in kernel.arg_names}, tiles)
            assembly = triton.compile(source, target=GPUTarget("cuda", architecture, 32)).asm
            assert ("mma" in assembly["ptx"]) == (kind == "bf16"), "on tensor cores"
            assert assembly["cubin"]


if __name__ == "__main__":
    {case.__name__: case for case in (groups, kernels, bfloat16, nets, compiled)}[sys.argv[1]]()
