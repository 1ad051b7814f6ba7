"""One U-Net topology (Ronneberger et al. 2015, arXiv:1505.04597) for steerable and for plain layers."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from geseg.errors import ConfigError
from geseg.model import kernels
from geseg.model.group import Group
from geseg.model.steerable import Fields, Layers, Part, PlainLayers, SteerableLayers, Upsampled, whole

LEVELS = 4
VESSELS = 0.12
"""Share of the pixels of a retina that are vessel, about: what a net says before it has learned anything."""
GROWTH = 1.75
"""A level has this many times the fields of the level above it, where the widths are found from a parameter count."""


def max_pool(part: Part) -> Float[Tensor, "b c h w"]:
    """The largest of 2x2, which commutes with the group if height and width are even."""
    return F.max_pool2d(whole(part), 2)


def rectified(conv: nn.Module, norm: nn.Module, parts: Sequence[Part]) -> Tensor:
    """A convolution of all parts, its norm, and ReLU.

    ReLU commutes with the group because regular fields permute their channels.
    """
    return F.relu(norm(conv(*parts)), inplace=True)


class Block(nn.Module):
    """Convolution, norm, ReLU, twice, of fields that come in one part or several."""

    def __init__(self, layers: Layers, in_fields: Fields, width: int) -> None:
        super().__init__()
        fields = Fields(width, "regular")
        self.convs = nn.ModuleList(layers.conv(before, fields, 3, bias=False) for before in (in_fields, fields))
        self.norms = nn.ModuleList(layers.norm(width) for _ in range(2))
        self.rectified: Callable[[nn.Module, nn.Module, Sequence[Part]], Part] = rectified
        """Computes convolution, norm and ReLU; a kernel may put its own in this place."""

    def forward(self, *parts: Part) -> Part:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            parts = (self.rectified(conv, norm, parts),)
        return parts[0]


class UNet(nn.Module):
    """Blocks of convolutions with 2x2 max-pooling on the way down, bilinear upsampling and skips on the way up.

    Commutes exactly with the quarter turns and mirrors of its group if height and width are divisible by `divisor`.

    Shapes:
        input:  float[B, 3, H, W], a normalised image; H and W divisible by `divisor`
        output: float[B, 1, H, W], logits
    """

    def __init__(self, layers: Layers, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.pool: Callable[[Part], Tensor] = max_pool
        above = [Fields(3, "trivial"), *(Fields(width, "regular") for width in widths)]
        self.down = nn.ModuleList(Block(layers, before, width) for before, width in zip(above, widths, strict=False))
        self.up = nn.ModuleList(
            Block(layers, Fields(upper + lower, "regular"), upper)
            for upper, lower in reversed(tuple(itertools.pairwise(widths)))
        )
        self.head = layers.conv(Fields(widths[0], "regular"), Fields(1, "trivial"), 1, bias=True)
        begin_balanced(self.head)

    @property
    def divisor(self) -> int:
        """What height and width must be divisible by: 2 to the number of poolings."""
        return int(2 ** len(self.up))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
        x, skips = self.down[0](image), []
        for block in itertools.islice(self.down, 1, None):
            skips.append(x)
            x = block(self.pool(x))
        for block in self.up:
            x = block(skips.pop(), Upsampled(x))
        logits: Tensor = self.head(x)
        return logits


@torch.no_grad()
def begin_balanced(head: nn.Module) -> None:
    """Let half of the fields speak for a vessel and half against it, equally loud, and vessels be as rare as they are.

    Fields are not negative, and equivariant nets have few on top. Where all of them spoke for the same by chance, the
    net could only turn them off: of eight d4 nets of three fields, two learned nothing and two little.
    """
    for name, parameter in head.named_parameters():
        if name == "bias":
            parameter.fill_(math.log(VESSELS / (1 - VESSELS)))
        else:  # one per field, with the spread of He et al. 2015 (arXiv:1502.01852)
            fields = parameter.shape[1]
            signs = torch.tensor([1.0 if field % 2 == 0 else -1.0 for field in range(fields)])
            parameter.copy_((signs * math.sqrt(2 / fields)).view_as(parameter))


def build(group: Group, widths: Sequence[int]) -> UNet:
    """A U-Net with random weights that commutes with `group`; `widths` are the regular fields per level.

    Raises:
        ConfigError: a width is not positive, or there is none.
    """
    if not widths or min(widths) < 1:
        raise ConfigError(f"widths {tuple(widths)} must be positive whole numbers, one per level, such as 4,7,12,20")
    return UNet(PlainLayers() if group.is_plain else SteerableLayers(group), widths)


def count_parameters(net: nn.Module) -> int:
    """How many numbers the optimiser learns."""
    return sum(parameter.numel() for parameter in net.parameters())


def parameters_of(group: Group, widths: Sequence[int]) -> int:
    """`count_parameters(build(group, widths))` without building the net."""
    if group.is_plain:
        lift = hidden = 9
    else:
        lift = len(kernels.basis(group, "trivial", "regular", 3))
        hidden = len(kernels.basis(group, "regular", "regular", 3))
    convs = 3 * lift * widths[0] + hidden * widths[0] ** 2
    convs += sum(hidden * (upper * lower + lower**2) for upper, lower in itertools.pairwise(widths))
    convs += sum(hidden * ((upper + lower) * upper + upper**2) for upper, lower in itertools.pairwise(widths))
    norms = 2 * 2 * (sum(widths) + sum(widths[:-1]))
    return convs + norms + widths[0] + 1


def find_widths(group: Group, parameters: int) -> tuple[int, ...]:
    """Widths that grow evenly from level to level and whose net has `parameters` parameters within 2 %.

    Of all that are near enough, the ones whose growth from level to level is nearest to `GROWTH`.

    Raises:
        ConfigError: no widths come within 2 %: `parameters` is too small for the group.
    """
    candidates = {
        (*even[:-1], even[-1] + extra)
        for first in range(1, 2 + math.isqrt(parameters // 20))
        for growth in (1 + step / 100 for step in range(30, 130))
        for even in [tuple(round(first * growth**level) for level in range(LEVELS))]
        for extra in (0, -1, 1, -2, 2)
        if even[-1] + extra >= even[-2]
    }
    counts = {widths: parameters_of(group, widths) for widths in candidates}
    near = [widths for widths, count in counts.items() if abs(count - parameters) <= 0.02 * parameters]
    if not near:
        closest = min(counts.values(), key=lambda count: abs(count - parameters))
        raise ConfigError(
            f"no widths give group {group.name} {parameters} parameters within 2 % (closest {closest}); "
            "choose another --params, or set --widths by hand"
        )
    return min(near, key=lambda widths: (_unevenness(widths), widths))


def _unevenness(widths: Sequence[int]) -> float:
    return sum(abs(math.log(lower / upper / GROWTH)) for upper, lower in itertools.pairwise(widths))
