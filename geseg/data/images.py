"""Photographs, labels and masks as files: any kind of pixel in, 8-bit RGB or booleans out, and back."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image, UnidentifiedImageError

from geseg.data.decode import Pixels, decode
from geseg.errors import ImageError
from geseg.files import atomic_path

COMPRESSIBLE = (".ppm", ".pgm", ".pbm")
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp"),
    *COMPRESSIBLE,
    *(suffix + ".gz" for suffix in COMPRESSIBLE),
)
"""Suffixes of images, in lower case; files may have them in upper case."""

OVERLAY_RGB = (0, 255, 255)
"""Cyan: brighter and bluer than the retina, so that it stands out without telling red from green."""


def split_suffix(name: str) -> tuple[str, str]:
    """Split a file's name or path into stem and image suffix in lower case; the suffix is "" where it is no image's.

    >>> split_suffix("im0001.PPM.gz"), split_suffix("eye.v2.jpg"), split_suffix("notes.txt")
    (('im0001', '.ppm.gz'), ('eye.v2', '.jpg'), ('notes.txt', ''))
    """
    for suffix in IMAGE_SUFFIXES:
        stem, end = name[: -len(suffix)], name[-len(suffix) :].lower()
        if end == suffix and stem and not stem.endswith("/"):  # .png alone is a hidden file
            return stem, suffix
    return name, ""


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read a photograph as 8-bit RGB in the orientation in which it is displayed.

    Grey becomes three equal channels, palettes are resolved, alpha is dropped. More than 8 bits are scaled, so that
    white becomes 255, and rounded. 12-bit photographs in 16 bits stay dark where the file does not tell its white
    (PGM and PPM always do). Colour profiles are ignored. Of the pictures in a camera's JPEG (MPO) the first counts;
    several pages or frames in any other file are an error, unless the others are marked as its thumbnails or masks.

    Raises:
        ImageError: the file cannot be read as one image of 8 to 16 bits per channel.
    """
    pixels = _read(path)
    values, white = pixels.values, pixels.white
    if values.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path} has {values.dtype} pixels; expected 8 or 16 bits per channel: convert it")
    values = values if white == 255 else _scale(values, white, 255)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def read_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Read a label or a field of view, whatever two values its author chose.

    Of two values the larger is true, be they {0, 1} or {0, 255}. A single value is true unless it is 0. With more
    values, as JPEG leaves them, true is what exceeds half of the largest. Colours count by their largest channel.

    Raises:
        ImageError: the file cannot be read as one image.
    """
    values = read_pixels(path).max(axis=2)
    low, high = values.min(), values.max()
    if low == high:
        return np.full(values.shape, bool(high > 0))
    two = bool(((values == low) | (values == high)).all())
    return np.asarray(values == high) if two else np.asarray(values > high / 2)


def read_pixels(path: Path) -> Num[np.ndarray, "h w c"]:
    """The pixels of a file (c = 1 or 3) at their full depth, with palette, alpha and orientation resolved.

    White is 255 or 65535, the largest value of the type; floating-point numbers stay as they are.

    Raises:
        ImageError: the file cannot be read as one image.
    """
    pixels = _read(path)
    whole = pixels.white in (255, 65535)
    return pixels.values if whole else _scale(pixels.values, pixels.white, 65535)


def _scale(values: Num[np.ndarray, "h w c"], white: int, top: int) -> Num[np.ndarray, "h w c"]:
    """Whole numbers in [0, white] as rounded ones in [0, top]."""
    table = (np.arange(white + 1) * top + white // 2) // white
    return np.asarray(table.astype(np.min_scalar_type(top))[values])


def _read(path: Path) -> Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on metadata that does not matter here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return decode(path)
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; expected an image") from error
    except Exception as error:  # on damaged files Pillow's plug-ins raise nearly anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = "it has no known format" if isinstance(error, UnidentifiedImageError) else " ".join(reason.split())
        reason = "its compressed pixels are damaged" if reason.startswith("decoder error") else reason
        raise ImageError(f"{path} cannot be read as an image: {reason}; replace or remove it") from error


def write_mask(path: Path, mask: Bool[np.ndarray, "h w"]) -> None:
    """Write a mask as 8-bit grey PNG, 255 where it is true."""
    save_png(path, Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))


def write_probability(path: Path, probability: Float[np.ndarray, "h w"]) -> None:
    """Write probabilities in [0, 1] as 16-bit grey PNG: round(65535 p)."""
    save_png(path, Image.fromarray(np.rint(probability.astype(np.float64) * 65535).astype(np.uint16)))


def write_overlay(path: Path, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> None:
    """Write the photograph with the mask tinted and outlined in cyan, as PNG."""
    inner = np.pad(mask, 1)
    inner = mask & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    opacity = np.where(inner, 0.35, np.where(mask, 0.8, 0.0))[:, :, None]
    mixed = image * (1 - opacity) + np.array(OVERLAY_RGB) * opacity
    save_png(path, Image.fromarray(np.rint(mixed).astype(np.uint8)))


def save_png(path: Path, image: Image.Image) -> None:
    """Write a PNG whole or not at all, whatever the suffix of `path`."""
    with atomic_path(path) as partial:
        image.save(partial, format="PNG")
