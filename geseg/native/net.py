"""A whole steerable U-Net on the kernel, from its weights as numpy arrays: neither torch nor onnxruntime."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Float32

from geseg.errors import ModelFileError
from geseg.model import bases
from geseg.model.group import Group
from geseg.native.layer import Before, Input, SteerableLayer, map_of
from geseg.native.library import LINE
from geseg.native.plan import Plan, factorise

EPSILON = 1e-5
"""Of the norms, as torch has it."""
NOT_USED = "num_batches_tracked"
"""Of the norms, while they learn."""
OF_NORM = ("weight", "bias", "running_mean", "running_var")


class _Memory:
    """Memory of maps, which is used again: to let go of some and to ask for some for each size of tiles scatters it."""

    def __init__(self) -> None:
        self._slots = dict[tuple[int, str], Float32[np.ndarray, " n"]]()

    def maps(self, slot: tuple[int, str], channels: int, height: int, width: int) -> Float32[np.ndarray, "1 c h w"]:
        """Maps in a slot's memory. All channels of a row lie side by side, as they are read and written together."""
        pitch = -(-width // LINE) * LINE
        count = height * channels * pitch
        if slot not in self._slots or self._slots[slot].size < count:
            self._slots.pop(slot, None)  # before there is more
            self._slots[slot] = np.empty(count, np.float32)
        rows = self._slots[slot][:count].reshape(1, height, channels, pitch)
        return rows.transpose(0, 2, 1, 3)[..., :width]


class _Level:
    """The maps of one resolution.

    Attributes:
        shape: images, height and width.
        fields: of each of the maps.
        down: what its block on the way down gives; not used on the lowest level.
        pooled: the same with half the height and width.
        up: what its block on the way up gives, which reads `down` meanwhile; of the only block on the lowest level.
    """

    def __init__(self, memory: _Memory, level: int, fields: int, channels: int, shape: tuple[int, int]) -> None:
        height, width = (side >> level for side in shape)
        self.shape, self.fields = (1, height, width), fields
        half = -(-height // 2), -(-width // 2)
        self.down = map_of(memory.maps((level, "down"), channels, height, width))
        self.pooled = map_of(memory.maps((level, "pooled"), channels, *half))
        self.up = map_of(memory.maps((level, "up"), channels, height, width))


class NativeNet:
    """A trained U-Net in evaluation mode, with its norms folded into its convolutions. Callers take turns.

    Args:
        group: any but c1.
        widths: fields per level.
        weights: by the names that they have in `geseg.model.unet.UNet`.
        threads: how many work on it.

    Raises:
        ModelFileError: the weights do not fit the group and the widths.
        ValueError: tiles have another shape than below.

    Shapes:
        input:  float[b, 3, h, w], a normalised image; h and w divisible by 2 to the number of poolings
        output: float32[b, h, w], probabilities in [0, 1]
    """

    def __init__(
        self, group: Group, widths: Sequence[int], weights: Mapping[str, np.ndarray], threads: int = 1
    ) -> None:
        lift, inner = (factorise(group, _basis(group, kind)) for kind in (bases.LIFT, bases.INNER))
        self._widths, self._order, self._threads = tuple(widths), group.order, threads
        above, weights = (3, *widths), {name: weights[name] for name in weights if not name.endswith(NOT_USED)}
        self._down = [
            _block(weights, f"down.{i}", above[i], width, (lift if i == 0 else inner, inner))
            for i, width in enumerate(widths)
        ]
        lower = tuple(reversed(widths))
        self._up = [
            _block(weights, f"up.{i}", width + lower[i], width, (inner, inner)) for i, width in enumerate(lower[1:])
        ]
        head = _get(weights, "head.coefficients", (1, widths[0], 1)) * _basis(group, bases.HEAD).ravel()
        (bias,) = _get(weights, "head.bias", (1,))
        if weights:
            raise ModelFileError(f"{min(weights)} is of no part of a net of {len(widths)} levels")
        last = [*self._down, *self._up][-1][1]
        last.set_head(head.ravel(), float(bias))
        self._levels, self._memory, self._lock = list[_Level](), _Memory(), threading.Lock()

    def __call__(self, tiles: Float[np.ndarray, "b c h w"]) -> Float32[np.ndarray, "b h w"]:
        divisor = 2 ** len(self._up)
        if tiles.ndim != 4 or tiles.shape[1] != 3 or any(side < 1 or side % divisor for side in tiles.shape[2:]):
            raise ValueError(f"tiles have shape {tiles.shape}; expected (b, 3, h, w), h and w divisible by {divisor}")
        tiles = np.ascontiguousarray(tiles, np.float32)
        logits = np.empty((len(tiles), 1, *tiles.shape[2:]), np.float32)
        with self._lock:
            self._prepare(*tiles.shape[2:])
            for i in range(len(tiles)):  # one after the other: the maps of one stay nearer to the processor
                self._segment(tiles[i : i + 1], logits[i : i + 1])
        half = np.float32(0.5)
        return half + half * np.tanh(half * logits[:, 0])  # the sigmoid, without overflow

    def _segment(self, tile: Float32[np.ndarray, "1 c h w"], logits: Float32[np.ndarray, "1 1 h w"]) -> None:
        levels, threads, bottom = self._levels, self._threads, len(self._levels) - 1
        x, result = Input(map_of(tile), 3), map_of(logits)
        for i, (level, (first, second)) in enumerate(zip(levels, self._down, strict=True)):
            maps = (level.down, level.pooled, None) if i < bottom else (level.up, None, None if bottom else result)
            second(Before(first, (x,)), level.shape, *maps, threads=threads)
            x = Input(level.pooled, level.fields)
        for i, (first, second) in zip(range(bottom - 1, -1, -1), self._up, strict=True):
            level, below = levels[i], levels[i + 1]
            skip, low = Input(level.down, level.fields), Input(below.up, below.fields, upsampled=True)
            ends = (level.up, None, None) if i else (None, None, result)
            second(Before(first, (skip, low)), level.shape, *ends, threads=threads)

    def _prepare(self, height: int, width: int) -> None:
        """Have maps for tiles of this size."""
        if not self._levels or self._levels[0].shape[1:] != (height, width):
            self._levels = []  # their memory may be given up for more, which there may not be
            self._levels = [
                _Level(self._memory, level, fields, fields * self._order, (height, width))
                for level, fields in enumerate(self._widths)
            ]


def _basis(group: Group, kind: bases.Kind) -> np.ndarray:
    basis = bases.kept(group, kind)
    assert basis is not None, "all groups but c1 have theirs"
    return basis


def _block(
    weights: dict[str, np.ndarray], name: str, in_fields: int, fields: int, plans: tuple[Plan, Plan]
) -> tuple[SteerableLayer, SteerableLayer]:
    """Both convolutions of a block, each with its norm folded in."""
    layers = []
    for i, (plan, before) in enumerate(zip(plans, (in_fields, fields), strict=True)):
        norm = {part: _get(weights, f"{name}.norms.{i}.norm.{part}", (fields,)) for part in OF_NORM}
        coefficients = _get(weights, f"{name}.convs.{i}.coefficients", (fields, before, len(plan.mixing)))
        scale = norm["weight"] / np.sqrt(norm["running_var"] + EPSILON)
        shift = norm["bias"] - norm["running_mean"] * scale
        layers.append(SteerableLayer(plan, coefficients * scale[:, None, None], shift))
    return layers[0], layers[1]


def _get(weights: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Take an array out of those that are left."""
    found = weights.pop(name, None)
    if found is None or found.shape != shape:
        what = "none" if found is None else str(list(found.shape))
        raise ModelFileError(f"{name} should have shape {list(shape)}, found {what}")
    return found.astype(np.float64)
