"""A steerable convolution with everything that follows it in a U-Net, bound to weights and run by the kernel."""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Shaped

from geseg.native import library, pairs
from geseg.native.library import LINE, MOST_TAPS, ROTATIONS, Map, Part, Product, Sparse
from geseg.native.packing import Packing
from geseg.native.plan import Plan

MOST_SCRATCH = 2**18
"""Bytes that the rows of a strip should take: they stay in the second cache of current processors, with all else."""
FEWEST_LINES = 12
"""Of a strip, about, however many channels there are: a line at either side is computed beside it."""


@dataclass(frozen=True, slots=True)
class Input:
    """A stack of fields: where it is, how many, and what becomes of it as it is read.

    Attributes:
        upsampled: whether it is, to twice its height and width.
        factors: of a norm and the ReLU after it, which come first; see kernel.h.
        slope: the gradient of what they give, if it is the way back through them that is read.
    """

    map: Map
    fields: int
    upsampled: bool = False
    factors: Shaped[np.ndarray, "c 4"] | None = None
    slope: Map | None = None

    @property
    def part(self) -> Part:
        """As the kernel sees it."""
        factors = None if self.factors is None else self.factors.ctypes.data
        return Part(self.map, self.fields, self.upsampled, factors, self.slope or Map())


@dataclass(frozen=True, slots=True)
class Before:
    """A layer in place of maps: its output is used row by row, and never as a whole in memory."""

    layer: "SteerableLayer"
    inputs: Sequence[Input]


def map_of(array: np.ndarray) -> Map:
    """A stack of images as the kernel sees it.

    Shapes:
        array: [images, channels, height, width], columns side by side
    """
    if array.strides[3] != array.itemsize:
        raise ValueError(f"the columns of an array with strides {array.strides} do not lie side by side")
    return Map(array.ctypes.data, *(stride // array.itemsize for stride in array.strides[:3]))


class SteerableLayer:
    """What the kernel needs to compute a steerable convolution, a bias per field, ReLU, and pooling or a head.

    Args:
        plan: of the convolution.
        weights: of its coefficients of basis kernels, as `SteerableConv2d` has them.
        bias: one number per output field, or none.
        dtype: float32 or float64.
        relu: whether negative values become zero.

    Shapes:
        weights: float[out fields, in fields, basis kernels]
    """

    def __init__(
        self,
        plan: Plan,
        weights: Float[np.ndarray, "o i b"],
        bias: Float[np.ndarray, " o"] | None,
        dtype: type = np.float32,
        relu: bool = True,
    ) -> None:
        plan, known = pairs.find(plan)
        self._plan, self._dtype, self._kept = plan, dtype, list[object]()
        self.out_fields, self.in_fields, _ = weights.shape
        layer = self._layer = library.Layer()
        layer.in_size, layer.out_size = len(plan.to_irreps), len(plan.from_irreps)
        layer.in_fields, layer.out_fields = self.in_fields, self.out_fields
        layer.kernel_size, layer.filters = plan.filters.shape[1], len(plan.filters)
        layer.mirrored = plan.reflections
        assert layer.kernel_size <= MOST_TAPS, "larger kernels are learned by no net"
        assert layer.in_size in (1, layer.out_size), "fields are trivial or regular"
        assert layer.out_size >> plan.reflections in ROTATIONS, "fourier.h knows no other groups"
        layer.extras, layer.relu = len(plan.extras), relu
        layer.filter = self._sparse(plan.filters.reshape(len(plan.filters), -1))
        layer.extra = self._sparse(plan.extras)
        if known:
            layer.even, layer.odd, layer.pairing = known.even, known.odd, self._keep(known.pairing)
        bias = np.zeros(self.out_fields) if bias is None else bias
        layer.bias = self._keep(np.asarray(bias, dtype))
        self._packing = Packing(plan, self.out_fields, self.in_fields)
        self._packed: np.ndarray = np.empty(self._packing.size, dtype)
        self._add_products()
        self.set_weights(weights)

    def set_weights(self, weights: Float[np.ndarray, "o i b"]) -> None:
        """Compute with other weights from now on."""
        self._packed[:] = self._packing.pack(weights)

    def set_head(self, weights: Float[np.ndarray, " channels"], bias: float) -> None:
        """Let a 1x1 convolution to one map follow; with it, the maps themselves need not be kept."""
        self._layer.head, self._layer.head_bias = self._keep(np.asarray(weights, self._dtype)), bias

    def __call__(
        self,
        inputs: "Sequence[Input] | Before",
        shape: tuple[int, int, int],
        out: Map | None = None,
        pooled: Map | None = None,
        logits: Map | None = None,
        *,
        threads: int = 1,
        instructions: int = 0,
    ) -> None:
        """Compute the layer.

        Args:
            inputs: what it reads, or a layer that makes its input row by row.
            shape: images, and height and width of the output.
            out: where the maps go.
            pooled: where they go with 2x2 max-pooling; height and width are even then.
            logits: where the output of the head goes.
            threads: how many work on it.
            instructions: the instruction set, by number; 0 is the best one.
        """
        layer, images = self._layer, shape[0]
        if isinstance(inputs, Before):
            before = inputs.layer
            assert before.out_fields == self.in_fields, "what is not there must not be read"
            before._read(inputs.inputs, shape)
            before._layer.out = before._layer.pooled = before._layer.logits = Map()
            layer.before, channels = ctypes.addressof(before._layer), before._channels + self._channels
            layer.height, layer.width = shape[1:]
        else:
            self._read(inputs, shape)
            layer.before, channels = None, self._channels
        layer.strip = self._strip(layer.width, channels)
        layer.out, layer.pooled, layer.logits = out or Map(), pooled or Map(), logits or Map()
        library.run(layer, images, self._dtype, threads, instructions or library.best_set())

    def gradient(
        self,
        inputs: Sequence[Input],
        slope: Input,
        shape: tuple[int, int, int],
        out: Map | None = None,
        *,
        threads: int = 1,
        instructions: int = 0,
    ) -> Float64[np.ndarray, "o i b"]:
        """The gradient of the weights, and on the way the layer itself.

        Args:
            inputs: what the layer read.
            slope: the gradient of its output, without bias and ReLU.
            shape: images, and height and width of the output.
            out: where the output goes, if anywhere.
            threads: how many work on it; they change no bit.
            instructions: the instruction set, by number; 0 is the best one.
        """
        layer = self._layer
        assert slope.fields == self.out_fields, "what is not there must not be read"
        self._read(inputs, shape)
        layer.before, layer.slope = None, slope.part
        layer.out, layer.pooled, layer.logits = out or Map(), Map(), Map()
        layer.strip = self._strip(layer.width, self._channels)
        found = library.learn(
            layer, shape[0], len(self._packed), self._dtype, threads, instructions or library.best_set()
        )
        layer.slope = Part()
        return self._packing.unpack(found)

    @property
    def _channels(self) -> int:
        return int(self.in_fields * self._layer.in_size)

    def _read(self, inputs: Sequence[Input], shape: tuple[int, int, int]) -> None:
        assert sum(i.fields for i in inputs) == self.in_fields, "what is not there must not be read"
        layer, parts = self._layer, [i.part for i in inputs]
        layer.part, layer.parts = (Part * len(parts))(*parts), len(parts)
        _, layer.height, layer.width = shape

    def _strip(self, width: int, channels: int) -> int:
        """Columns of a strip: all, or as many as let its rows stay in the cache."""
        row: int = self._layer.kernel_size * channels * np.dtype(self._dtype).itemsize
        lines = -(-width // LINE)
        strips = math.ceil(lines / max(FEWEST_LINES, MOST_SCRATCH // row // LINE))
        return math.ceil(lines / strips) * LINE

    def _sparse(self, matrix: Float[np.ndarray, "r c"]) -> Sparse:
        rows, columns = np.nonzero(matrix)
        start = np.searchsorted(rows, np.arange(len(matrix) + 1)).astype(np.int32)
        values: np.ndarray = matrix[rows, columns].astype(self._dtype)
        return Sparse(self._keep(start), self._keep(columns.astype(np.int32)), self._keep(values))

    def _add_products(self) -> None:
        plan, address, products = self._plan, self._keep(self._packed), list[Product]()
        for component in plan.components:
            outs = np.add.outer(component.rows, len(plan.from_irreps) * np.arange(self.out_fields)).ravel()
            features = np.add.outer(plan.planes * np.arange(self.in_fields), component.planes).ravel()
            indices = (self._keep(numbers.astype(np.int32)) for numbers in (outs, features))
            products.append(Product(len(outs), len(features), *indices, address))
            address += len(outs) * len(features) * self._packed.itemsize
        self._layer.product, self._layer.products = (Product * len(products))(*products), len(products)

    def _keep(self, array: np.ndarray) -> int:
        """The address of an array that lives as long as this layer."""
        array = np.ascontiguousarray(array)
        self._kept.append(array)
        address: int = array.ctypes.data
        return address
