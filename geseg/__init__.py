"""Segmentation of thin structures with U-Nets that are equivariant under rotations and reflections.

From Python, `load` opens a model, `Model.segment` gives the probabilities of a photograph, `find_fov` its view.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geseg.data.fov import find_fov as find_fov
    from geseg.steps.models import Model as Model
    from geseg.steps.models import load as load

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "find_fov", "load"]
_HOMES = {"Model": "geseg.steps.models", "find_fov": "geseg.data.fov", "load": "geseg.steps.models"}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import geseg` is free."""
    if name not in _HOMES:
        raise AttributeError(f"module 'geseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
