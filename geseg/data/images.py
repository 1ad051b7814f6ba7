"""Photographs, labels and masks as files: any kind of pixel in, 8-bit RGB or booleans out, and back."""

import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from geseg.data.decode import Pixels, decode
from geseg.data.pngtext import KEY
from geseg.data.quiet import no_warnings
from geseg.errors import ImageError
from geseg.files import atomic_path

COMPRESSIBLE = (".ppm", ".pgm", ".pbm")
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".gif", ".bmp", ".webp", ".jp2"),
    *COMPRESSIBLE,
    *(suffix + ".gz" for suffix in COMPRESSIBLE),
)
"""Suffixes of images, in lower case; files may have them in upper case."""

CLASSES = 16
"""Below it more than two values of a mask are numbers of classes: grey levels of a drawing reach further."""
ROWS = 64
"""That are computed at once, where numpy needs 8 bytes per number for it."""
OVERLAY_RGB = (0, 255, 255)
"""Cyan: brighter and bluer than the retina, so that it stands out without telling red from green."""
TINT, OUTLINE = 0.35, 0.8
"""Opacity of `OVERLAY_RGB` inside of the mask and on its border."""
PNG_STRATEGY = zlib.Z_RLE
"""How PNGs are compressed: by runs alone. Per megapixel of DRIVE, on a core of an AMD EPYC, beside Pillow's default:
masks 10 ms and 39 kB, not 20 ms and 41 kB; probabilities 44 ms and 972 kB, not 160 ms and 966 kB; overlays 70 ms and
1290 kB, not 400 ms and 1248 kB. The network takes 1.5 s."""


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
        ImageError: the file cannot be read as one image of 8 to 16 bits per channel and at most 120 megapixels.
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
        ImageError: the file cannot be read as one image, or has the numbers of several classes, such as 0, 1 and 2.
    """
    values = read_pixels(path).max(axis=2)
    low, high = values.min(), values.max()
    if low == high:
        return np.full(values.shape, bool(high > 0))
    if ((values == low) | (values == high)).all():
        return np.asarray(values == high)
    if values.dtype.kind == "u" and high < CLASSES:
        found = ", ".join(map(str, np.unique(values).tolist()))
        raise ImageError(
            f"{path} has the values {found}, which look like numbers of classes; expected two values: save it with 255 "
            "where it is true, and 0 elsewhere"
        )
    return np.asarray(values > high / 2)


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
    table = ((np.arange(white + 1) * top + white // 2) // white).astype(np.min_scalar_type(top))
    scaled = np.empty(values.shape, table.dtype)
    for start in range(0, len(values), ROWS):
        scaled[start : start + ROWS] = table[values[start : start + ROWS]]
    return scaled


def _read(path: Path) -> Pixels:
    try:
        with no_warnings(), _open_steady(path) as file:
            return decode(file)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist; expected an image") from error
    except Exception as error:  # on damaged files Pillow's plug-ins raise nearly anything
        advice = "make it readable" if isinstance(error, PermissionError) else "replace or remove it"
        raise ImageError(f"{path} cannot be read as an image: {_reason(error)}; {advice}") from error


@contextmanager
def _open_steady(path: Path) -> Iterator[BufferedReader]:
    """An open file that must stay as it is for the block: half of one photograph and half of another is neither.

    One that takes its place meanwhile does no harm, as what is open stays the old one.
    """
    kind = path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):  # a folder tells so itself; a pipe would wait for a writer
        raise ValueError("it is a pipe or a device, expected a file")
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        try:
            yield file
        finally:
            after = os.fstat(file.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise ImageError(f"{path} changed while it was read; repeat this when it is complete")


def _reason(error: Exception) -> str:
    """What is wrong with a file, in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it has no known format"
    reason = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
    if reason.startswith("decoder error"):
        return "its compressed pixels are damaged"
    return "its text or its colour profile is too long" if "MAX_TEXT_" in reason else reason


def write_mask(path: Path, mask: Bool[np.ndarray, "h w"], text: str | None = None, fresh: bool = False) -> None:
    """Write a mask as 8-bit grey PNG, 255 where it is true; the rest as for `save_png`."""
    save_png(path, Image.fromarray(mask.astype(np.uint8) * np.uint8(255)), text, fresh)


def write_probability(
    path: Path, probability: Float[np.ndarray, "h w"], text: str | None = None, fresh: bool = False
) -> None:
    """Write probabilities in [0, 1] as 16-bit grey PNG: round(65535 p); the rest as for `save_png`."""
    whole = np.empty(probability.shape, np.uint16)
    for start in range(0, len(whole), ROWS):
        whole[start : start + ROWS] = np.rint(probability[start : start + ROWS].astype(np.float64) * 65535)
    save_png(path, Image.fromarray(whole), text, fresh)


def write_overlay(
    path: Path,
    image: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    text: str | None = None,
    fresh: bool = False,
) -> None:
    """Write the photograph with the mask tinted and outlined in cyan, as PNG; the rest as for `save_png`."""
    inner = np.pad(mask, 1)
    inner = mask & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    mixed = image.copy()
    for where, opacity in ((inner, TINT), (mask & ~inner, OUTLINE)):
        mixed[where] = np.rint(mixed[where] * (1 - opacity) + np.array(OVERLAY_RGB) * opacity)
    save_png(path, Image.fromarray(mixed), text, fresh)


def save_png(path: Path, image: Image.Image, text: str | None = None, fresh: bool = False) -> None:
    """Write a PNG whole or not at all, whatever the suffix of `path`; the same pixels and text make the same bytes.

    `text` goes with it, for `pngtext.read_text`; `fresh` is that of `files.atomic_path`.
    """
    about = PngInfo()
    if text is not None:
        about.add_text(KEY, text)
    encoded = io.BytesIO()
    image.save(encoded, format="PNG", pnginfo=about, compress_type=PNG_STRATEGY)
    with atomic_path(path, fresh=fresh) as partial:
        partial.write_bytes(encoded.getvalue())  # Pillow, writing to the disk, would not tell that it is full
