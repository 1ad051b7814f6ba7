"""Image files to arrays, whatever their format and kind of pixel."""

import io
import logging
import re
import struct
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np
from jaxtyping import Num, UInt16
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from geseg.data import limits, pngcheck, pnm, tiff

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "JPEG2000")
"""Of Pillow's, what photographs come in, whatever they are named; others are also rarely tested, or run programs."""
SEVERAL_OF_ONE = ("MPO",)
"""Formats whose first image is the photograph: cameras add previews, or the other eye of a stereo pair."""
COUNTED = 2**20
"""Bytes of a file whose frames are counted; Pillow reads through all of them for that."""

logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it remarks on damaged files on stderr


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a file shows, at its full depth, with palette, alpha and orientation resolved."""

    values: Num[np.ndarray, "h w c"]
    """c is 1 for grey and 3 for RGB; finite floating-point numbers where the file has them."""
    white: int
    """The value that stands for white; without a meaning for floating-point numbers."""


def decode(file: BufferedReader) -> Pixels:
    """Read an open file; colour profiles are ignored, as data sets are compared without them.

    Raises:
        Exception: nearly any, from Pillow's plug-ins too; the text tells what is wrong with the file.
    """
    start = file.read(26)
    if pnm.is_pnm(start[:2]):
        return Pixels(*pnm.read(file))
    limits.check_bytes(file.seek(0, io.SEEK_END))
    if start[:4] in tiff.MAGIC:
        return _decode_tiff(file)
    if start[:8] == pngcheck.SIGNATURE:
        pngcheck.check(file)
        if start[24:] == b"\x10\x04":
            return _decode_deep_grey_with_alpha(file)
    with _open(file) as image:
        _refuse_frames(image, file)
        _refuse_deep_colours(image, file)
        tiles = list(image.tile)
        swapped = [tile._replace(args=swap_bytes(tile.args)) for tile in tiles]
        values = _resolve(image)
    if swapped != tiles:  # Pillow keeps the high bytes only; in the wrong byte order these are the low ones
        with _open(file) as image:
            image.tile = swapped
            values = values * np.uint16(256) + _resolve(image)
    return _with_white(values)


def _open(file: BufferedReader, formats: Sequence[str] = FORMATS) -> ImageFile.ImageFile:
    """By its contents, not by its name: Pillow would map grey pixels into memory and forget to turn them."""
    file.seek(0)
    try:
        image = Image.open(file, formats=list(formats))
    except Image.DecompressionBombError as error:
        raise ValueError(f"it has {limits.beyond()}") from error
    limits.check_pixels(*image.size)
    return image


def _refuse_frames(image: Image.Image, file: BufferedReader) -> None:
    if image.format in SEVERAL_OF_ONE or not getattr(image, "is_animated", False):
        return
    place = file.tell()
    frames = getattr(image, "n_frames", 1) if file.seek(0, io.SEEK_END) <= COUNTED else "several"
    file.seek(place)
    raise ValueError(f"it holds {frames} frames, expected one: save the right one as a file of its own")


def _refuse_deep_colours(image: Image.Image, file: BufferedReader) -> None:
    """Of a JPEG 2000 with more than 8 bits per colour, whose white Pillow rounds up to 256, which it keeps as 0.

    The depths are in the marker SIZ (ISO/IEC 15444-1, A.5.1): behind how many colours there are, the first of three
    bytes for each is one less than its bits.
    """
    if image.format != "JPEG2000" or len(image.getbands()) == 1:
        return
    place = file.tell()
    file.seek(0)
    siz = file.read().partition(b"\xff\x4f\xff\x51")[2]
    file.seek(place)
    count = int.from_bytes(siz[36:38])
    bits = max((1 + (depth & 0x7F) for depth in siz[38 : 38 + 3 * count : 3]), default=0)
    if bits > 8:
        raise ValueError(f"it is a JPEG 2000 with {bits} bits per colour, expected 8: save it as PNG or TIFF")


def _decode_tiff(file: BufferedReader) -> Pixels:
    number, page = tiff.photograph(file)
    limits.check_pixels(page.first(tiff.WIDTH), page.first(tiff.HEIGHT))
    try:
        if page.is_deep:
            return Pixels(*tiff.read_deep(file, page))
        with _open(file, ["TIFF"]) as image:
            image.seek(number)
            colours = page.tags.get(tiff.COLOURS, ())
            whole = len(colours) == 3 * 2 ** page.first(tiff.BITS)
            if image.mode == "P" and whole and max(colours) < 256:  # written by mistake with 8 bits instead of 16
                table = np.array(colours, np.uint8).reshape(3, -1).T
                return _with_white(table[np.asarray(image)])
            pixels = _with_white(_resolve(image))
    except UnidentifiedImageError as error:
        raise ValueError(f"it is {page}, {tiff.UNSUPPORTED}") from error
    return Pixels(pixels.values, 4095) if page.first(tiff.BITS) == 12 else pixels


def _decode_deep_grey_with_alpha(file: BufferedReader) -> Pixels:
    """A PNG with 16 bits of grey and of alpha: to Pillow declared as 8-bit RGBA, as which it would have these bytes."""
    file.seek(0)
    data = file.read()
    header = data[12:24] + b"\x08\x06" + data[26:29]
    data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    with _open(BufferedReader(io.BytesIO(data))) as image:
        image.load()
        high, low = np.moveaxis(np.asarray(image), -1, 0)[:2]
        return _with_white(tiff.orient(high * np.uint16(256) + low, _orientation(image)))


def _with_white(values: Num[np.ndarray, "h w *c"]) -> Pixels:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("it has pixels that are no numbers (NaN or infinite)")
    values = np.ascontiguousarray(values if values.ndim == 3 else values[:, :, None])
    return Pixels(values, 255 if values.dtype == np.uint8 else 65535)


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
    image.load()  # which already turns a TIFF, and forgets its orientation
    return tiff.orient(_colours(image), _orientation(image))


def _orientation(image: Image.Image) -> int:
    """From 1 to 8, as in EXIF; 1 if the metadata is damaged, as viewers have it."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # nearly any
        return 1
    return found if isinstance(found, int) else 1


def _colours(image: Image.Image) -> Num[np.ndarray, "h w *c"]:
    if image.mode in ("L", "RGB", "F"):
        return np.asarray(image)
    if image.mode.startswith("I"):  # I;16 and its byte orders, and I, Pillow's answer to signed numbers among others
        return _sixteen_bits(np.asarray(image))
    if image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        exact = ImageCms.Flags.NOOPTIMIZE  # else it interpolates, and errs by up to 13 levels
        return np.asarray(ImageCms.applyTransform(image, ImageCms.buildTransform(lab, rgb, "LAB", "RGB", flags=exact)))
    return np.asarray(image.convert("L" if image.mode in ("1", "LA", "La") else "RGB"))


def _sixteen_bits(whole: Num[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
    if whole.min() < 0 or whole.max() >= 2**16:
        raise ValueError(f"it has 32-bit pixels from {whole.min()} to {whole.max()}, expected 16 bits at most")
    return whole.astype(np.uint16)
