"""From a trained steerable net to the same function on plain layers."""

import torch
from torch import nn

from geseg.model.fieldnorm import FieldNorm
from geseg.model.steerable import PlainLayers, SteerableConv2d
from geseg.model.unet import Block, UNet


@torch.no_grad()
def restrict(net: UNet) -> UNet:
    """The plain U-Net that computes what `net` computes in evaluation mode, each norm folded into its convolution.

    Its logits equal those of `net` up to rounding; it is as wide as the fields of `net` have channels, and it is in
    evaluation mode and holds no graph. The net given is left as it is.
    """
    plain = UNet(PlainLayers(_channels_per_field(net), folded=True), net.widths).to(next(net.parameters()))
    for source, target in zip([*net.down, *net.up], [*plain.down, *plain.up], strict=True):
        assert isinstance(source, Block)
        assert isinstance(target, Block)
        for conv, norm, folded in zip(source.convs, source.norms, target.convs, strict=True):
            assert isinstance(norm, FieldNorm)
            assert isinstance(folded, nn.Conv2d)
            assert folded.bias is not None
            scale, shift = norm.scale_and_shift()
            folded.weight.copy_(_kernel(conv) * scale[:, None, None, None])
            folded.bias.copy_(shift)
    assert isinstance(plain.head, nn.Conv2d)
    assert plain.head.bias is not None
    assert isinstance(net.head.bias, torch.Tensor)
    plain.head.weight.copy_(_kernel(net.head))
    plain.head.bias.copy_(net.head.bias)
    return plain.eval().requires_grad_(False)


def _channels_per_field(net: UNet) -> int:
    block = net.down[0]
    assert isinstance(block, Block)
    norm = block.norms[0]
    assert isinstance(norm, FieldNorm)
    return norm.channels_per_field


def _kernel(conv: nn.Module) -> torch.Tensor:
    if isinstance(conv, SteerableConv2d):
        return conv.kernel()
    assert isinstance(conv, nn.Conv2d)
    return conv.weight
