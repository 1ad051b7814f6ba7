"""Drawn photographs to measure with, so that anyone can repeat it."""

from itertools import islice, product
from pathlib import Path

import numpy as np
from PIL import Image

from geseg.data import drawn

DRIVE = (584, 565)
"""Height and width of a photograph of DRIVE."""
MIRRORED = 4
"""Photographs of one drawing: as it is, upside down, left to right, and both."""


def write_folder(folder: Path, count: int, height: int, width: int, suffix: str = ".tif") -> Path:
    """Write different photographs of one size, four of each drawing, which takes a second."""
    folder.mkdir(parents=True)
    drawings = (drawn.draw(seed, height, width).image for seed in range(-(-count // MIRRORED)))
    images = (image[::y, ::x] for image in drawings for y, x in product((1, -1), repeat=2))
    for number, image in enumerate(islice(images, count)):
        Image.fromarray(np.ascontiguousarray(image)).save(folder / f"{number:04}{suffix}")
    return folder


def write_large(path: Path, side: int, factor: int = 4) -> Path:
    """Write a square photograph, drawn smaller and stretched: what is measured does not depend on its details."""
    image = Image.fromarray(drawn.draw(0, side // factor, side // factor).image)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize((side, side), Image.Resampling.BICUBIC).save(path)
    return path
