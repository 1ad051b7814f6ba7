"""Photographs, labels and masks as files: any kind of pixel in, 8-bit RGB or booleans out, and back."""

import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from geseg.errors import ImageError
from geseg.files import atomic_path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".ppm", ".pgm", ".pbm")
"""Suffixes of images, in lower case; files may have them in upper case."""

OVERLAY_RGB = (0, 255, 255)
"""Cyan: brighter and bluer than the retina, so that it stands out without telling red from green."""


def read_image(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read a photograph as 8-bit RGB in the orientation in which it is displayed.

    Grey becomes three equal channels, palettes are resolved, alpha is dropped, 16 bits are divided by 257 and rounded.

    Raises:
        ImageError: the file cannot be read as an image of 8 or 16 bits per channel.
    """
    pixels = read_pixels(path)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ImageError(f"{path} has {pixels.dtype} pixels; expected 8 or 16 bits per channel: convert it")
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def read_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Read a label or a field of view, whatever two values its author chose.

    Of two values the larger is true, be they {0, 1} or {0, 255}. A single value is true unless it is 0. With more
    values, as JPEG leaves them, true is what exceeds half of the largest. Colours count by their largest channel.

    Raises:
        ImageError: the file cannot be read as an image.
    """
    values = read_pixels(path).max(axis=2)
    low, high = values.min(), values.max()
    if low == high:
        return np.full(values.shape, bool(high > 0))
    two = bool(((values == low) | (values == high)).all())
    return np.asarray(values == high) if two else np.asarray(values > high / 2)


def read_pixels(path: Path) -> Num[np.ndarray, "h w c"]:
    """The pixels of a file (c = 1 or 3) at their full depth, with palette, alpha and orientation resolved."""
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
        raise ImageError(f"{path} cannot be read as an image: {reason}; replace or remove it") from error


def decode(path: Path) -> Num[np.ndarray, "h w c"]:
    """What `read_pixels` does, with whatever Pillow raises."""
    with Image.open(path) as image:
        tiles = list(image.tile)
        swapped = [tile._replace(args=swap_bytes(tile.args)) for tile in tiles]
        pixels = resolve(image)
    if swapped != tiles:  # Pillow keeps the high bytes only; in the wrong byte order these are the low ones
        with Image.open(path) as image:
            image.tile = swapped
            pixels = pixels * np.uint16(256) + resolve(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def swap_bytes(args: Any) -> Any:  # noqa: ANN401  # they are whatever a decoder takes
    """The arguments of one of Pillow's decoders, for the other byte order if they are those of 16-bit colour."""
    if isinstance(args, tuple):
        return (swap_bytes(args[0]), *args[1:])
    if isinstance(args, str) and (colour := re.fullmatch(r"(RGB[AX]?;16)([LBN])", args)):
        big = colour[2] == "B" or (colour[2] == "N" and sys.byteorder == "big")
        return colour[1] + ("L" if big else "B")
    return args


def resolve(image: Image.Image) -> Num[np.ndarray, "h w *c"]:
    """The pixels of an open image, with palette, alpha and orientation resolved; grey has no third axis."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB", "F"):
        return np.asarray(image)
    if image.mode.startswith("I"):  # I;16 and its byte orders, and I, Pillow's answer to 16-bit PGM among others
        whole = np.asarray(image).astype(np.int64)
        if whole.min() < 0 or whole.max() >= 2**16:
            raise ValueError(f"it has 32-bit pixels from {whole.min()} to {whole.max()}, expected 16 bits at most")
        return whole.astype(np.uint16)
    return np.asarray(image.convert("L" if image.mode in ("1", "LA", "La") else "RGB"))


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
