"""A layer on a GPU: in irreps with Triton, and densely with cuDNN."""

import copy
from functools import partial

import torch
from torch import Tensor

from geseg.model.group import Group
from geseg.model.steerable import Fields, SteerableConv2d
from geseg.native import tritonlayer
from tests.benchmarks import timing

FIELDS, IMAGES, SIDE = 16, 8, 256
"""Of d4, which are 128 channels."""


def layer_seconds(rounds: int) -> dict[str, list[float]]:
    """Seconds of a 3x3 convolution of d4 in bfloat16 with channels last: forward alone, and with all gradients."""
    fields = Fields(FIELDS, "regular")
    dense = SteerableConv2d(Group.parse("d4"), fields, fields, 3, bias=False).cuda()
    ours = copy.deepcopy(dense)
    ours.kernelised = tritonlayer.GPUConvolution(ours)
    x = torch.randn(IMAGES, FIELDS * 8, SIDE, SIDE, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    x = x.to(memory_format=torch.channels_last)
    sides = {
        f"{name} {what}": partial(act, net, x)
        for what, act in (("forward", forward), ("learn", learn))
        for name, net in (("triton", ours), ("dense", dense))
    }
    return timing.race(sides, rounds, warm_up=3)


def forward(net: SteerableConv2d, x: Tensor) -> None:
    """Wait until it is done."""
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        net(x)
    torch.cuda.synchronize()


def learn(net: SteerableConv2d, x: Tensor) -> None:
    """The same with gradients of input and weights."""
    with torch.autocast("cuda", torch.bfloat16):
        y = net(x)
    torch.autograd.grad(y, [x, net.coefficients], torch.ones_like(y))
    torch.cuda.synchronize()
