"""The U-Net of geseg, built from e2cnn's own modules alone: what it is compared with."""

import functools
import itertools
import types
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geseg.model import kernels
from geseg.model.group import Group
from geseg.model.steerable import SteerableConv2d
from geseg.model.unet import UNet

NOT_LEARNED = ("_basisexpansion", "indices_", "bias_expansion")


class E2cnnBlock(nn.Module):
    """R2Conv, InnerBatchNorm, ReLU, twice."""

    def __init__(self, enn: types.ModuleType, before: Any, after: Any) -> None:  # noqa: ANN401 - e2cnn ships no types
        super().__init__()
        layers: list[nn.Module] = []
        for in_type in (before, after):
            layers.append(enn.R2Conv(in_type, after, 3, padding=1, bias=False, initialize=False))
            layers += [enn.InnerBatchNorm(after), enn.ReLU(after, inplace=True)]
        self.layers = enn.SequentialModule(*layers)

    def forward(self, x: Any) -> Any:  # noqa: ANN401 - a GeometricTensor
        return self.layers(x)


class E2cnnUNet(nn.Module):
    """The topology of `geseg.model.unet.UNet`; shapes as there, but a GeometricTensor between the modules."""

    def __init__(self, group: Group, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        enn, space = mended_modules(), kernels._space(kernels._mended_e2cnn(), group)
        self._colours = enn.FieldType(space, [space.trivial_repr] * 3)
        fields = [enn.FieldType(space, [space.regular_repr] * width) for width in widths]
        above = [self._colours, *fields]
        self.down = nn.ModuleList(E2cnnBlock(enn, before, after) for before, after in zip(above, fields, strict=False))
        self.pools = nn.ModuleList(enn.PointwiseMaxPool(field, 2, 2) for field in fields[:-1])
        pairs = list(reversed(tuple(itertools.pairwise(fields))))
        self.upsamplings = nn.ModuleList(enn.R2Upsampling(lower, 2, mode="bilinear") for _, lower in pairs)
        self.up = nn.ModuleList(E2cnnBlock(enn, upper + lower, upper) for upper, lower in pairs)
        self.head = enn.R2Conv(fields[0], enn.FieldType(space, [space.trivial_repr]), 1, bias=True, initialize=False)

    def forward(self, image: Tensor) -> Tensor:
        enn = mended_modules()
        x, skips = self.down[0](enn.GeometricTensor(image, self._colours)), []
        for pool, block in zip(self.pools, itertools.islice(self.down, 1, None), strict=True):
            skips.append(x)
            x = block(pool(x))
        for upsampling, block in zip(self.upsamplings, self.up, strict=True):
            x = block(enn.tensor_directsum([skips.pop(), upsampling(x)]))
        logits: Tensor = self.head(x).tensor
        return logits

    def state_dict(self, *args: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - torch's own signature
        """What training changes; e2cnn counts its constant bases, too, which nobody would average."""
        state: dict[str, Any] = super().state_dict(*args, **options)
        return {name: value for name, value in state.items() if not any(part in name for part in NOT_LEARNED)}

    @classmethod
    def like(cls, group: Group, net: UNet) -> "E2cnnUNet":
        """A net of the weights of a steerable one that is newly built: it computes the same."""
        theirs = cls(group, net.widths)
        ours = [module for module in net.modules() if isinstance(module, SteerableConv2d)]
        for source, target in zip(ours, _convolutions(theirs), strict=True):
            target.weights.data.copy_(source.coefficients.data.flatten())
            if source.bias is not None:
                target.bias.data.copy_(source.bias.data)
        return theirs


def _convolutions(net: E2cnnUNet) -> list[Any]:
    return [module for module in net.modules() if isinstance(module, mended_modules().R2Conv)]


@functools.cache
def mended_modules() -> types.ModuleType:
    """`e2cnn.nn`, with what `geseg.model.kernels` mends and what 1x1 convolutions need on current torch besides."""
    kernels._mended_e2cnn()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in e2cnn
        from e2cnn import nn as enn
        from e2cnn.nn.modules.r2_conv import basisexpansion_singleblock as single

    class Stead(types.ModuleType):
        """numpy or torch with masks of type bool where e2cnn wants uint8, which torch no longer fills by."""

        def __init__(self, module: types.ModuleType, boolean: object) -> None:
            super().__init__(module.__name__)
            self._module, self.uint8 = module, boolean

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the module has
            return getattr(self._module, name)

    single.__dict__.update(np=Stead(np, np.bool_), torch=Stead(torch, torch.bool))
    module: types.ModuleType = enn
    return module
