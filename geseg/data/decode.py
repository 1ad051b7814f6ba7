"""Image files to arrays, whatever their format and kind of pixel."""

import io
import re
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num, UInt16
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from geseg.data import pnm, tiff

PNG = b"\x89PNG\r\n\x1a\n"
SEVERAL_OF_ONE = ("MPO",)
"""Formats whose first image is the photograph: cameras add previews, or the other eye of a stereo pair."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a file shows, at its full depth, with palette, alpha and orientation resolved."""

    values: Num[np.ndarray, "h w c"]
    """c is 1 for grey and 3 for RGB; floating-point numbers where the file has them."""
    white: int
    """The value that stands for white; without a meaning for floating-point numbers."""


def decode(path: Path) -> Pixels:
    """Read a file; colour profiles are ignored, as data sets are compared without them.

    Raises:
        Exception: nearly any, from Pillow's plug-ins too; the text tells what is wrong with the file.
    """
    with path.open("rb") as file:
        start = file.read(26)
    if pnm.is_pnm(start[:2]):
        return Pixels(*pnm.read(path))
    if start[:4] in tiff.MAGIC:
        return _decode_tiff(path)
    if start[:8] == PNG and start[24:] == b"\x10\x04":
        return _decode_deep_grey_with_alpha(path)
    with path.open("rb") as file, Image.open(file) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in SEVERAL_OF_ONE:
            raise ValueError(f"it holds {frames} frames, expected one: save the right one as a file of its own")
        tiles = list(image.tile)
        swapped = [tile._replace(args=swap_bytes(tile.args)) for tile in tiles]
        values = _resolve(image)
    if swapped != tiles:  # Pillow keeps the high bytes only; in the wrong byte order these are the low ones
        with path.open("rb") as file, Image.open(file) as image:
            image.tile = swapped
            values = values * np.uint16(256) + _resolve(image)
    return _with_white(values)


def _decode_tiff(path: Path) -> Pixels:
    number, page = tiff.photograph(path)
    if page.is_deep:
        return Pixels(*tiff.read_deep(path, page))
    try:
        # not by its name: Pillow would map grey pixels into memory and forget to turn them
        with path.open("rb") as file, Image.open(file) as image:
            image.seek(number)
            colours = page.tags.get(tiff.COLOURS, ())
            if image.mode == "P" and max(colours, default=256) < 256:  # written by mistake with 8 bits instead of 16
                table = np.array(colours, np.uint8).reshape(3, -1).T
                return _with_white(table[np.asarray(ImageOps.exif_transpose(image))])
            pixels = _with_white(_resolve(image))
    except UnidentifiedImageError as error:
        raise ValueError(f"it is {page}, which is not supported: convert it to 8 bits") from error
    return Pixels(pixels.values, 4095) if page.first(tiff.BITS) == 12 else pixels


def _decode_deep_grey_with_alpha(path: Path) -> Pixels:
    """A PNG with 16 bits of grey and of alpha: to Pillow declared as 8-bit RGBA, as which it would have these bytes."""
    data = path.read_bytes()
    header = data[12:24] + b"\x08\x06" + data[26:29]
    data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    with Image.open(io.BytesIO(data)) as image:
        high, low = np.moveaxis(np.asarray(ImageOps.exif_transpose(image)), -1, 0)[:2]
    return _with_white(high * np.uint16(256) + low)


def _with_white(values: Num[np.ndarray, "h w *c"]) -> Pixels:
    return Pixels(values[:, :, None] if values.ndim == 2 else values, 255 if values.dtype == np.uint8 else 65535)


def swap_bytes(args: Any) -> Any:  # noqa: ANN401  # they are whatever a decoder takes
    """The arguments of one of Pillow's decoders, for the other byte order if they are those of 16-bit colour."""
    if isinstance(args, tuple):
        return (swap_bytes(args[0]), *args[1:])
    if isinstance(args, str) and (colour := re.fullmatch(r"(RGB[AX]?;16)([LBN])", args)):
        big = colour[2] == "B" or (colour[2] == "N" and sys.byteorder == "big")
        return colour[1] + ("L" if big else "B")
    return args


def _resolve(image: Image.Image) -> Num[np.ndarray, "h w *c"]:
    """The pixels of an open image, with palette, alpha and orientation resolved; grey has no third axis."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("L", "RGB", "F"):
        return np.asarray(image)
    if image.mode.startswith("I"):  # I;16 and its byte orders, and I, Pillow's answer to signed numbers among others
        return _sixteen_bits(np.asarray(image).astype(np.int64))
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        exact = ImageCms.Flags.NOOPTIMIZE  # else it interpolates, and errs by up to 13 levels
        return np.asarray(ImageCms.applyTransform(image, ImageCms.buildTransform(lab, rgb, "LAB", "RGB", flags=exact)))
    return np.asarray(image.convert("L" if image.mode in ("1", "LA", "La") else "RGB"))


def _sixteen_bits(whole: Num[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    if whole.min() < 0 or whole.max() >= 2**16:
        raise ValueError(f"it has 32-bit pixels from {whole.min()} to {whole.max()}, expected 16 bits at most")
    return whole.astype(np.uint16)
