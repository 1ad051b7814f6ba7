"""The weights of a model file as numpy arrays; needs no torch."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from geseg.errors import ModelFileError
from geseg.model.modelheader import ModelHeader, read_sealed


def load(path: Path) -> tuple[ModelHeader, dict[str, np.ndarray]]:
    """Read a model: its header, and its weights by their names.

    Raises:
        ModelFileError: the file is missing, no safetensors file, not from geseg, or damaged.
    """
    header, text, seal = read_sealed(path)
    try:
        weights = safetensors.numpy.load_file(path)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, safetensors.SafetensorError) as error:
        raise misfit(path, error) from error
    if seal != digest(text, weights):
        raise misfit(path, ModelFileError("its bytes do not fit its checksum"))
    return header, weights


def misfit(path: Path, error: Exception) -> ModelFileError:
    """What to say of weights that cannot be those of the header."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ModelFileError(f"{path}: the weights do not fit the header ({first}); the file is damaged")


def digest(text: str, weights: Mapping[str, np.ndarray]) -> str:
    """Hexadecimal SHA-256 of a header's text and of all weights: in the order of their names, type, shape and bytes."""
    found = hashlib.sha256(text.encode())
    for name, array in sorted(weights.items()):
        found.update(f"\n{name} torch.{array.dtype} {list(array.shape)}\n".encode())  # as the first files have it
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
