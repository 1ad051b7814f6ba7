"""A look into an ONNX file before onnxruntime opens it, bounded in time and memory: a file from a stranger is data.

Messages and their numbers as in onnx/onnx.proto of ONNX 1.18, written as https://protobuf.dev/programming-guides/encoding
says. What geseg never writes is refused: data in other files, graphs inside of graphs, operators that are programs.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["model", "graph", "node", "attribute", "tensor", "entry"]
INSIDE: dict[tuple[Kind, int], Kind] = {
    ("model", 7): "graph",
    ("model", 14): "entry",
    ("graph", 1): "node",
    ("graph", 5): "tensor",
    ("node", 5): "attribute",
    ("attribute", 5): "tensor",
    ("attribute", 10): "tensor",
}
"""Which fields of a message are messages, of those that are looked into."""
REFUSED: dict[tuple[Kind, int], str] = {
    ("model", 20): "training graphs",
    ("model", 25): "functions",
    ("graph", 15): "sparse weights",
    ("attribute", 6): "graphs inside of its graph",
    ("attribute", 11): "graphs inside of its graph",
    ("attribute", 22): "sparse weights",
    ("attribute", 23): "sparse weights",
    ("tensor", 13): "weights in another file",
}
OPERATORS = {
    *("Conv", "Relu", "MaxPool", "Resize", "Concat", "Sigmoid", "BatchNormalization", "Identity", "Constant", "Cast"),
    *("Shape", "Gather", "Slice", "Squeeze", "Unsqueeze", "Add", "Sub", "Mul", "Div", "Floor"),
}
"""What a U-Net is made of, with what exporters compute sizes with: none loops, or makes much of little."""
MOST_BYTES = 2**29
"""Of a file: the weights of a net of some ten million parameters, with kernels expanded."""
MOST_BESIDE, MOST_FIELDS, MOST_AXES = 2**20, 2**15, 8
"""Bytes that are no weights, for which onnxruntime takes many times the memory; parts of messages; axes of weights."""


@dataclass(slots=True)
class Look:
    """What was found in a file.

    Attributes:
        entries: the metadata.
        spans: where the entries are in the file.
        weights: bytes of it that are weights.
        fields: how many fields were seen.
    """

    entries: dict[str, str] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    weights: int = 0
    fields: int = 0


def look(data: bytes) -> Look:
    """Look through an ONNX file.

    Raises:
        ValueError: it is none, or holds what geseg never writes.
    """
    found = Look()
    _message(memoryview(data), "model", found)
    if len(data) - found.weights > MOST_BESIDE:
        raise ValueError(f"it has {len(data) - found.weights} bytes beside its weights, expected {MOST_BESIDE} at most")
    return found


def digest(data: bytes, without: tuple[int, int]) -> str:
    """Hexadecimal SHA-256 of a file without a part of it."""
    start, end = without
    whole = hashlib.sha256(data[:start])
    whole.update(data[end:])
    return whole.hexdigest()


def _message(data: memoryview, kind: Kind, found: Look) -> None:
    """Look through one message and those inside."""
    dims = list[int]()
    start = 0
    for number, value, end in _fields(data):
        found.fields += 1
        if found.fields > MOST_FIELDS:
            raise ValueError(f"it has more than {MOST_FIELDS} parts")
        if (kind, number) in REFUSED:
            raise ValueError(f"it has {REFUSED[kind, number]}, which geseg never writes")
        inner = INSIDE.get((kind, number))
        if inner == "entry":
            _entry(_bytes(value), found, (start, end))
        elif inner is not None:
            _message(_bytes(value), inner, found)
        elif kind == "node":
            _check_node(number, value)
        elif kind == "tensor" and number == 1:
            dims += [value] if isinstance(value, int) else _numbers(value)
            if len(dims) > MOST_AXES:
                raise ValueError(f"it has weights of more than {MOST_AXES} axes")
        elif kind == "tensor":
            _check_tensor(number, value, found)
        start = end
    if kind == "tensor" and math.prod(dims) > len(data):
        raise ValueError(f"it has weights of shape {dims} in {len(data)} bytes")


def _check_node(number: int, value: int | memoryview) -> None:
    if number == 4 and (name := bytes(_bytes(value)).decode()) not in OPERATORS:
        raise ValueError(f"it has the operator {name!r}, which geseg never writes")
    if number == 7 and (name := bytes(_bytes(value)).decode()) not in ("", "ai.onnx"):
        raise ValueError(f"it has operators of {name!r}, which geseg never writes")


def _check_tensor(number: int, value: int | memoryview, found: Look) -> None:
    if number == 14 and value != 0:
        raise ValueError(f"it has {REFUSED['tensor', 13]}, which geseg never writes")
    if number == 9:
        found.weights += len(_bytes(value))


def _entry(data: memoryview, found: Look, span: tuple[int, int]) -> None:
    texts = {number: bytes(_bytes(value)).decode() for number, value, _ in _fields(data)}
    key = texts.get(1, "")
    if key in found.entries:
        raise ValueError(f"it has two entries {key!r} in its metadata")
    found.entries[key], found.spans[key] = texts.get(2, ""), span


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview, int]]:
    """Number, value and end of each field of a message; a value is a whole number or bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire not in (0, 1, 2, 5) or not 0 < number < 2**29:
            raise ValueError("its parts are damaged")
        if wire == 0:
            whole, at = _varint(data, at)
            yield number, whole, at
            continue
        length, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        start, at = at, at + length
        if at > len(data):
            raise ValueError("it is cut short")
        yield number, data[start:at], at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A whole number of 7 bits per byte, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * place
        if byte < 128:
            return value, at + place + 1
    raise ValueError("its numbers are damaged")


def _numbers(data: memoryview) -> list[int]:
    numbers, at = list[int](), 0
    while at < len(data) and len(numbers) <= MOST_AXES:
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("its parts are damaged")
    return value
