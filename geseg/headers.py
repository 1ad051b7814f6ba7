"""Headers of files that strangers may have made: JSON texts, read into dataclasses whose fields are what they say.

And back: what JSON does not have becomes what it has (`plain`).
"""

import dataclasses
import functools
import json
import math
import sys
import types
import typing
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")
LONGEST = 2**25
"""Characters of a header; a patch file of 40,000 photographs has about as many."""


def parse(text: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: the text is something else, too long, or nested too deeply.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters, expected {LONGEST} at most")
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    return values


def build(kind: type[T], values: dict[str, Any]) -> T:
    """Make a dataclass from what JSON keeps of it; lists become tuples again.

    Raises:
        ValueError: a field is unknown, is missing, or is of another type than the dataclass says.
    """
    hints, needed = _fields(typing.cast("Any", kind))
    if unknown := values.keys() - hints.keys():
        raise ValueError(f"unknown fields {sorted(unknown)}")
    if missing := needed - values.keys():
        raise ValueError(f"missing fields {sorted(missing)}")
    return kind(**{name: check(hints[name], value, name) for name, value in values.items()})


def plain(value: Any) -> Any:  # noqa: ANN401 - dicts, lists and tuples of any depth
    """The same with None for nan and infinite numbers, which JSON does not have; tuples become lists."""
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache
def _fields(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:  # noqa: ANN401
    """The types of all fields, and which have no default."""
    missing = dataclasses.MISSING
    fields = dataclasses.fields(kind)
    needed = frozenset(f.name for f in fields if f.default is missing and f.default_factory is missing)
    return typing.get_type_hints(kind), needed


def check(hint: Any, value: Any, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """A value as the type that `hint` says; ValueError if it is of another one. `name` is for the message."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or (hint in (int, str, bool) and type(value) is hint):
        return value
    if hint is float and type(value) in (int, float) and not abs(value) > sys.float_info.max:
        return float(value)  # nan, which figures may be; what must be a number has limits to check
    if origin in (Union, types.UnionType):  # of None and one other type
        return None if value is None else check(next(one for one in inner if one is not types.NoneType), value, name)
    if origin is Literal and isinstance(value, str) and value in inner:
        return value
    if origin is dict and isinstance(value, dict):
        return {key: check(inner[1], entry, f"{name}.{key}") for key, entry in value.items()}
    if origin is tuple and isinstance(value, list):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(check(one, entry, name) for one, entry in zip(kinds, value, strict=True))
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return build(typing.cast("type[Any]", hint), value)
    shown = json.dumps(value)
    raise ValueError(f"{name} is {shown if len(shown) < 80 else shown[:77] + '...'}, expected {_words(hint)}")


def _words(hint: Any) -> str:  # noqa: ANN401
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
