"""The compiled kernel: its structures (see kernel.h), and how its work is shared among threads."""

import ctypes
import functools
import hashlib
import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, Structure, c_double, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

SETS = {1: "portable", 2: "AVX2", 3: "AVX-512"}
"""The instruction sets by number."""
AVX2 = 2
"""From this one on the kernel is faster than what else computes convolutions."""
LINE, MOST_TAPS, MOST_OUTS = 16, 15, 6
"""As in kernel.h."""
ROTATIONS = (1, 2, 4, 8)
"""Of groups, as fourier.h knows them."""
NAME = "libgeseg.so"
THREADS = "geseg-kernel"
"""How the names of its threads begin; they stay for the next layer."""
LEARNING_JOBS = 16
"""Into how many parts the gradient of a batch is divided, however many threads there are, since sums are rounded."""
FEWEST_ROWS = 16
"""A thread that works on fewer of them spends its time on the rows around them."""


class Map(Structure):
    """Where a stack of images with channels is in memory; distances are in numbers."""

    _fields_ = (("data", c_void_p), ("image", c_int64), ("channel", c_int64), ("row", c_int64))


class Part(Structure):
    """A stack of fields that a layer reads."""

    _fields_ = (
        ("map", Map),
        *((name, c_int32) for name in ("fields", "upsampled")),
        ("factors", c_void_p),
        ("slope", Map),
    )


class Sparse(Structure):
    """A sparse matrix, row by row."""

    _fields_ = (("start", c_void_p), ("column", c_void_p), ("value", c_void_p))


class Product(Structure):
    """A matrix of weights, and the planes that are its columns and rows."""

    _fields_ = (
        ("outs", c_int32),
        ("features", c_int32),
        ("out", c_void_p),
        ("feature", c_void_p),
        ("weight", c_void_p),
    )


class Layer(Structure):
    """A whole layer."""

    _fields_ = (
        ("before", c_void_p),
        *((name, c_int32) for name in ("height", "width", "in_size", "out_size", "in_fields", "out_fields")),
        ("mirrored", c_int32),
        *((name, c_int32) for name in ("kernel_size", "filters", "extras", "parts", "products", "strip")),
        ("part", POINTER(Part)),
        *((name, Sparse) for name in ("filter", "extra")),
        *(("pairing", c_void_p), ("even", c_double), ("odd", c_double)),
        *(("product", POINTER(Product)), ("bias", c_void_p)),
        *(("relu", c_int32), ("head", c_void_p), ("head_bias", c_double)),
        *((name, Map) for name in ("out", "pooled", "logits")),
        ("slope", Part),
    )


class Between(Structure):
    """What lies between convolutions while a net learns; see kernel.h for what is in it."""

    _fields_ = (
        *((name, c_int32) for name in ("channels", "height", "width")),
        *((name, Map) for name in ("in", "out", "slope", "back")),
        *((name, c_void_p) for name in ("factors", "sums", "lanes")),
    )


@functools.cache
def load() -> ctypes.CDLL | None:
    """The kernel, or None where it was not built for this machine, or from other sources."""
    folder = Path(__file__).parent
    try:
        library = ctypes.CDLL(str(folder / NAME))
        library.geseg_sources.restype = ctypes.c_char_p
    except (OSError, AttributeError):
        return None
    sources = b"".join(path.read_bytes() for path in sorted(folder.glob("[!.]*.[ch]")))  # none are in a wheel
    if sources and library.geseg_sources().decode() != hashlib.sha256(sources).hexdigest():
        return None  # they changed since, and perhaps the structures above with them
    library.geseg_scratch.restype = c_int64
    library.geseg_scratch.argtypes = [POINTER(Layer)]
    of_rows = [POINTER(Layer), c_int32, c_int32, c_int32, c_void_p, c_int32]
    of_between = [POINTER(Between), *[c_int32] * 5]
    of_halves = [POINTER(Map), POINTER(Map), *[c_int32] * 7]
    for number in ("float", "double"):
        all_kinds = {"rows": of_rows, "slopes": [*of_rows, c_void_p], "halve": of_halves, "between": of_between}
        for name, kinds in all_kinds.items():
            function = getattr(library, f"geseg_{name}_{number}")
            function.restype, function.argtypes = None, kinds
    return library


def best_set() -> int:
    """The number of the best instruction set of this processor; 0 where there is no kernel."""
    library = load()
    return library.geseg_best_set() if library else 0


def run(layer: Layer, images: int, dtype: type, threads: int, instructions: int) -> None:
    """Compute a layer for a stack of images.

    Nothing of what follows is checked here: what is not so reads or writes memory that belongs to others.

    Args:
        layer: as kernel.h has it, with all that its addresses are of kept alive by the caller.
        images: how many, one or more.
        dtype: float32 or float64, of all numbers of the layer and its maps.
        threads: how many work on it, one or more.
        instructions: the instruction set, by number, of those up to `best_set()`.
    """
    rows = _function("rows", dtype)
    size = _load().geseg_scratch(layer) * np.dtype(dtype).itemsize

    def work(image: int, first: int, last: int) -> None:
        rows(layer, image, first, last, _scratch(size), instructions)

    _share(work, _jobs(layer.height, images, 2 * threads), threads)


def learn(
    layer: Layer, images: int, weights: int, dtype: type, threads: int, instructions: int
) -> Float[np.ndarray, " weights"]:
    """The gradient of so many weights, as they lie in memory; the number of threads changes no bit of it."""
    slopes = _function("slopes", dtype)
    size = _load().geseg_scratch(layer) * np.dtype(dtype).itemsize
    jobs = _jobs(layer.height, images, LEARNING_JOBS)
    parts: np.ndarray = np.empty((len(jobs), weights), dtype)

    def work(image: int, first: int, last: int, part: np.ndarray) -> None:
        slopes(layer, image, first, last, _scratch(size), instructions, part.ctypes.data)

    _share(work, [(*job, part) for job, part in zip(jobs, parts, strict=True)], threads)
    total: np.ndarray = parts.sum(0)
    return total


def halve(source: Map, target: Map, shape: tuple[int, int, int, int], dtype: type, threads: int) -> None:
    """The gradient of maps before they were upsampled from that of the maps after.

    Args:
        source: the gradient of maps of twice the height and width.
        target: where that of the maps goes.
        shape: images, channels, height and width of the target.
        dtype: float32 or float64.
        threads: how many work on it.
    """
    function, (images, channels, height, width) = _function("halve", dtype), shape

    def work(image: int, first: int, last: int) -> None:
        function(source, target, image, channels, height, width, first, last, best_set())

    _share(work, _jobs(height, images, 2 * threads), threads)


def between(what: int, of: Between, images: int, dtype: type, threads: int) -> None:
    """Do what kernel.h lists under a number, with all channels of so many images.

    What is summed is summed by channel, so that the number of threads changes no bit.
    """
    function = _function("between", dtype)
    parts = min(of.channels, math.ceil(2 * threads / images))
    ends = [of.channels * part // parts for part in range(parts + 1)]

    def work(image: int, first: int, last: int) -> None:
        function(of, what, image, first, last, best_set())

    _share(work, [(image, *span) for image in range(images) for span in itertools.pairwise(ends)], threads)


def _load() -> ctypes.CDLL:
    library = load()
    assert library is not None, "whoever calls this has looked"
    return library


def _function(name: str, dtype: type) -> Callable[..., None]:
    found: Callable[..., None] = getattr(_load(), f"geseg_{name}_{'float' if dtype == np.float32 else 'double'}")
    return found


def _share(work: Callable[..., None], jobs: Sequence[tuple[Any, ...]], threads: int) -> None:
    """Do the work of all jobs, each thread taking the next one that is left."""
    left = iter(jobs)

    def take() -> None:
        for job in left:
            work(*job)

    def help_within(gate: threading.RLock) -> None:
        if gate.acquire(blocking=False):  # else it is closed already
            try:
                take()
            finally:
                gate.release()

    gates = [threading.RLock() for _ in range(min(threads, len(jobs)) - 1)]
    futures = []
    try:
        for gate in gates:
            futures.append(_pool(threads).submit(help_within, gate))
        take()
        for future in futures:
            future.result()
    except BaseException:  # an error or an interrupt frees memory that those which have begun still read and write
        _close(left, gates)
        raise


def _close(left: Iterator[tuple[Any, ...]], gates: Sequence[threading.RLock]) -> None:
    """Leave no job to helpers, and close their gates once they are out, however often Ctrl-C is pressed meanwhile.

    Futures would not tell: a submit that fails or is interrupted returns none, but its helper may be at work.
    """
    try:
        for _ in left:
            pass
        for gate in gates:
            gate.acquire()
    except BaseException:
        _close(left, gates)
        raise


def _jobs(height: int, images: int, count: int) -> list[tuple[int, int, int]]:
    """Image, first row, end: about `count` jobs, or more, of spans that begin with even rows."""
    spans = _spans(height, math.ceil(count / images))
    return [(image, *span) for image in range(images) for span in spans]


def _spans(height: int, count: int) -> Sequence[tuple[int, int]]:
    """At most `count` spans of rows that begin with even ones."""
    count = max(1, min(count, height // FEWEST_ROWS))
    ends = [height * i // count // 2 * 2 for i in range(count)] + [height]
    return list(itertools.pairwise(ends))


_own = threading.local()


def _scratch(size: int) -> int:
    """The address of so many bytes that belong to this thread."""
    if getattr(_own, "size", 0) < size:
        _own.size, _own.memory = size, np.empty(size + 64, np.uint8)
    address: int = _own.memory.ctypes.data
    return address + -address % 64


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, THREADS)


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads stay behind in the parent
