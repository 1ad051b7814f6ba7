"""Hostile, broken and merely unusual image files, made by code; each with what must come of it.

What can be read shows the same photograph wherever its format allows, so that what is read has an independent source.
"""

import gzip
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

Outcome = np.ndarray | str


class Case(NamedTuple):
    """A file to write, and either the photograph that it shows, uint8[h, w, 3], or words of the reason to refuse it.

    `levels` is by how much a pixel may differ where a format is not lossless.
    """

    name: str
    write: Callable[[Path], object]
    outcome: Outcome
    levels: int = 0


def photograph() -> np.ndarray:
    """A bright disc with dark lines, higher than wide and different in every corner: uint8[56, 40, 3]."""
    y, x = np.mgrid[:56, :40].astype(float)
    inside = np.hypot(y - 27.5, x - 19.5) < 19
    light = 1 - 0.4 * ((np.abs(y - 1.3 * x) < 1.5) | (np.abs(y + 0.4 * x - 30) < 1.5))
    colours = np.array([200, 100, 50]) * light[:, :, None] + np.array([0.3, 0.2, 0.1]) * (x + 0.5 * y)[:, :, None]
    return np.where(inside[:, :, None], colours, 4).astype(np.uint8)


PHOTO = photograph()
GREY = np.repeat(PHOTO[:, :, 1:2], 3, axis=2)


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """The bytes of a file that Pillow writes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.ascontiguousarray(pixels))
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def put(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def link(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(head: tuple[int, int, int, int], pixels: bytes, extra: bytes = b"") -> bytes:
    """A PNG of (width, height, bits, colour type) and zlib-compressed rows, with other chunks in between."""
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *head, 0, 0, 0))
    return start + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def with_chunk(extra: bytes) -> bytes:
    """The photograph as PNG, with another chunk before its pixels."""
    return PNG[:33] + extra + PNG[33:]


def png16(values: np.ndarray) -> bytes:
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png((width, height, 16, 2 if values.ndim == 3 else 0), zlib.compress(rows))


def stored(orientation: int, shown: np.ndarray) -> np.ndarray:
    """How a camera stores a photograph that is shown in another orientation (EXIF 2.3, tag 274)."""
    turned = shown.swapaxes(0, 1) if orientation > 4 else shown
    return {2: turned[:, ::-1], 3: turned[::-1, ::-1], 4: turned[::-1], 6: turned[::-1], 7: turned[::-1, ::-1]}.get(
        orientation, turned[:, ::-1] if orientation == 8 else turned
    )


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


def cmyk_jpeg(adobe: bytes) -> bytes:
    """One colour: stored as 215, 135, 55, 195 with Adobe's mark replaced by another, or taken out."""
    data = encoded(Image.new("CMYK", (40, 56), (40, 120, 200, 60)), "JPEG", quality=100)
    mark = data.index(b"\xff\xee\x00\x0eAdobe")
    return data[:mark] + adobe + data[mark + 16 :]


def cmyk_colour(ycck: bool = False) -> np.ndarray:
    """What `cmyk_jpeg` shows: all viewers take what is stored for light, as Adobe does; YCCK becomes CMYK before."""
    first, second, third, black = 215.0, 135.0, 55.0, 195.0
    if ycck:  # R, G and B of JFIF stand for 255 - C, M and Y (Adobe Technical Note 5116)
        blue, red = second - 128, third - 128
        rgb = first + 1.402 * red, first - 0.344136 * blue - 0.714136 * red, first + 1.772 * blue
        first, second, third = (255 - np.clip(value, 0, 255) for value in rgb)
    return np.full((56, 40, 3), np.array([first, second, third]) * black / 255).round().astype(np.uint8)


PNG = encoded(PHOTO, "PNG")
JPEG = encoded(PHOTO, "JPEG", quality=100, subsampling=0)
PPM = b"P6\n40 56\n255\n" + PHOTO.tobytes()
BEST: dict[str, object] = {"quality": 100, "subsampling": 0}
CMYK = Image.merge("CMYK", [*Image.fromarray(255 - PHOTO).split(), Image.new("L", (40, 56))])
COLUMN = np.tile(PHOTO[:, 19:20], (90, 1, 1))[:5000]
PALETTE = Image.fromarray(PHOTO).quantize(32)
BITS = PHOTO[:, :, 0] > 100
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FLOATS = np.where(BITS, np.float32(0.5), np.float32(np.nan))
FRAMES: dict[str, object] = {"save_all": True, "append_images": [Image.fromarray(GREY[::k, :, 0]) for k in (1, -1)]}
LONG = "é" * 120
CAMERA = encoded(PHOTO, "MPO", quality=100, subsampling=0, save_all=True, append_images=[Image.new("RGB", (8, 8))])

LOSSLESS = [
    Case("plain.png", put(PNG), PHOTO),
    Case("a.bmp", put(encoded(PHOTO, "BMP")), PHOTO),
    Case("b.tif", put(encoded(PHOTO, "TIFF")), PHOTO),
    Case("c.tiff", put(encoded(PHOTO, "TIFF", compression="tiff_lzw")), PHOTO),
    Case("d.ppm", put(PPM), PHOTO),
    Case("e.ppm.gz", put(gzip.compress(PPM)), PHOTO),
    Case("a PNG.jpg", put(PNG), PHOTO),
    Case("a TIFF.png", put(encoded(PHOTO, "TIFF")), PHOTO),
    Case("a gzipped PPM.png", put(gzip.compress(PPM)), PHOTO),
    Case("16 bits.png", put(png16(PHOTO.astype(np.uint16) * 257)), PHOTO),
    Case("16 bits, rounded.png", put(png16(PHOTO.astype(np.uint16) * 257 + 100)), PHOTO),
    Case("16-bit grey.png", put(encoded(GREY[:, :, 0].astype(np.uint16) * np.uint16(257), "PNG")), GREY),
    Case("16-bit grey as TIFF.tif", put(encoded(GREY[:, :, 0].astype(np.uint16) * np.uint16(257), "TIFF")), GREY),
    Case("grey.png", put(encoded(GREY[:, :, 0], "PNG")), GREY),
    Case("1-bit.png", put(encoded(BITS, "PNG")), np.dstack([BITS * np.uint8(255)] * 3)),
    Case("transparent.png", put(encoded(np.dstack([PHOTO, GREY[:, :, 0]]), "PNG")), PHOTO),
    Case("palette.png", put(encoded(PALETTE, "PNG", transparency=3)), np.asarray(PALETTE.convert("RGB"))),
    Case("palette of a GIF.gif", put(encoded(PALETTE, "GIF", transparency=3)), np.asarray(PALETTE.convert("RGB"))),
    Case("cmyk.tif", put(encoded(CMYK, "TIFF")), PHOTO),
    Case("profile.png", put(encoded(PHOTO, "PNG", icc_profile=SRGB)), PHOTO),
    Case("damaged profile.png", put(with_chunk(chunk(b"iCCP", b"a\0\0no zlib"))), PHOTO),
    Case("long text.png", put(with_chunk(chunk(b"tEXt", b"a\0" + b"x" * 2_000_000))), PHOTO),
    Case("damaged EXIF.png", put(with_chunk(chunk(b"eXIf", bytes(80)))), PHOTO),
    Case("1x1.png", put(encoded(PHOTO[27:28, 19:20], "PNG")), PHOTO[27:28, 19:20]),
    Case("1x5000.png", put(encoded(COLUMN, "PNG")), COLUMN),
    Case("5000x1.png", put(encoded(COLUMN.swapaxes(0, 1), "PNG")), COLUMN.swapaxes(0, 1)),
    *(Case(f"turned {k} as png.png", put(encoded(stored(k, PHOTO), "PNG", exif=exif(k))), PHOTO) for k in range(1, 9)),
    *(Case(f"turned {k} as tif.tif", put(encoded(stored(k, PHOTO), "TIFF", exif=exif(k))), PHOTO) for k in range(1, 9)),
    Case("turned 9.png", put(encoded(PHOTO, "PNG", exif=exif(9))), PHOTO),
    *(
        Case(name, put(PNG), PHOTO)
        for name in (
            *("with spaces .png", " first.png", "-o.png", "UPPER.PNG", "two.dots.png", "ÄÖÜ 目 🩸.png", f"{LONG}.png"),
            *("new\nline.png", "tab\t and \x1b[31mcolour.png", "right to left \u202egnp.png"),
            os.fsdecode(b"no UTF-8 \xff.png"),
        )
    ),
    Case("link.png", link("plain.png"), PHOTO),
]  # fmt: skip

LOSSY = [
    Case("plain JPEG.jpg", put(JPEG), PHOTO, 6),
    Case("a JPEG.png", put(JPEG), PHOTO, 6),
    Case("progressive.jpg", put(encoded(PHOTO, "JPEG", quality=100, subsampling=0, progressive=True)), PHOTO, 6),
    Case("grey JPEG.jpg", put(encoded(GREY[:, :, 0], "JPEG", quality=100)), GREY, 6),
    Case("profile of a JPEG.jpg", put(encoded(PHOTO, "JPEG", quality=100, subsampling=0, icc_profile=SRGB)), PHOTO, 6),
    Case("camera.jpg", put(CAMERA), PHOTO, 6),
    Case("damaged EXIF of a JPEG.jpg", put(JPEG[:2] + b"\xff\xe1\x00\x28Exif\0\0" + bytes(32) + JPEG[2:]), PHOTO, 6),
    Case("cmyk of Adobe.jpg", put(cmyk_jpeg(ADOBE)), cmyk_colour(), 3),
    Case("cmyk without a mark.jpg", put(cmyk_jpeg(b"")), cmyk_colour(), 3),
    Case("ycck.jpg", put(cmyk_jpeg(ADOBE[:-1] + b"\x02")), cmyk_colour(ycck=True), 3),
    *(
        Case(f"turned {k} as jpg.jpg", put(encoded(stored(k, PHOTO), "JPEG", **BEST, exif=exif(k))), PHOTO, 6)
        for k in range(1, 9)
    ),
]  # fmt: skip

UNKNOWN, DAMAGED = "it has no known format", "it is damaged: its bytes do not fit their checksums"
BROKEN = [
    Case("empty.png", put(b""), UNKNOWN),
    Case("text.jpg", put(b"not an image\n"), UNKNOWN),
    Case("page.png", put(b"<!DOCTYPE html><title>404</title>"), UNKNOWN),
    Case("program.jpg", put(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), UNKNOWN),
    Case("cut.png", put(PNG[: len(PNG) // 2]), "it is cut short"),
    Case("cut jpg.jpg", put(JPEG[: len(JPEG) // 2]), "image file is truncated"),
    Case("cut tif.tif", put(encoded(PHOTO, "TIFF")[:999]), "image file is truncated"),
    Case("cut gif.gif", put(encoded(PALETTE, "GIF")[:-300]), "image file is truncated"),
    Case("cut bmp.bmp", put(encoded(PHOTO, "BMP")[:-300]), "image file is truncated"),
    Case("cut ppm.ppm", put(PPM[:-300]), "it ends after 6420 of its 6720 bytes of pixels"),
    Case("cut ppm.gz.ppm.gz", put(gzip.compress(PPM)[:-30]), "Compressed file ended before the end"),
    Case("one other bit.png", put(PNG[:500] + bytes([PNG[500] ^ 1]) + PNG[501:]), DAMAGED),
    Case("animated.gif", put(encoded(GREY[:, :, 0] // 2, "GIF", **FRAMES)), "it holds 3 frames, expected one"),
    Case("animated PNG.png", put(encoded(GREY[:, :, 0] // 2, "PNG", **FRAMES)), "it holds 3 frames, expected one"),
    Case("pages.tif", put(encoded(GREY[:, :, 0] // 2, "TIFF", **FRAMES)), "it holds 3 pages, expected one"),
    Case("nan.tif", put(encoded(FLOATS, "TIFF")), "it has pixels that are no numbers (NaN or infinite)"),
    Case("float.tif", put(encoded(np.nan_to_num(FLOATS), "TIFF")), "has float32 pixels; expected 8 or 16 bits"),
    Case("32 bits.tif", put(encoded(GREY[:, :, 0].astype(np.int32) * 70000, "TIFF")), "it has 32-bit pixels from"),
    Case("loop.png", link("loop back.png"), "Too many levels of symbolic links"),
    Case("loop back.png", link("loop.png"), "Too many levels of symbolic links"),
    Case("self.png", link("self.png"), "Too many levels of symbolic links"),
    Case("dangling.png", link("nothing here.png"), "does not exist; expected an image"),
    Case("pipe.png", os.mkfifo, "it is a pipe or a device, expected a file"),
    Case("device.png", link("/dev/zero"), "it is a pipe or a device, expected a file"),
]

CASES = LOSSLESS + LOSSY + BROKEN
