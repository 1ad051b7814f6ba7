"""Small files that would be large, or take long."""

import runpy
import struct
import zlib
from pathlib import Path

import numpy as np

CORPUS = runpy.run_path(str(Path(__file__).with_name("corpus.py")))
encoded, chunk, png, with_chunk = (CORPUS[name] for name in ("encoded", "chunk", "png", "with_chunk"))


def deflated_zeros(count: int) -> bytes:
    """The zlib stream of so many zero bytes, a thousandth of them."""
    unit, block = bytes(2**20), zlib.compressobj(9, zlib.DEFLATED, -15)
    repeated = block.compress(unit) + block.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    end = last.compress(bytes(count % len(unit))) + last.flush()
    adler = count % 65521 << 16 | 1
    return b"\x78\x9c" + repeated * (count // len(unit)) + end + struct.pack(">I", adler)


def gzipped(start: bytes, repeated: bytes, times: int) -> bytes:
    """A gzipped file that goes on with megabytes of the same, made in a moment; its checksum is wrong."""
    data = b""
    for part, count in ((start, 1), (repeated * (2**20 // len(repeated)), times)):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        data += (packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)) * count
    return b"\x1f\x8b\x08" + bytes(6) + b"\x03" + data + zlib.compressobj(9, zlib.DEFLATED, -15).flush() + bytes(8)


def grey_jpeg(width: int, height: int) -> bytes:
    """A whole JPEG of middle grey: 6 bits for each block of 8 x 8 pixels, which have no comments in between."""
    data = bytearray(encoded(np.full((8, 8), 128, np.uint8), "JPEG"))
    size, scan = data.index(b"\xff\xc0") + 5, data.index(b"\xff\xda")
    data[size : size + 4] = struct.pack(">HH", height, width)
    head = bytes(data[: scan + 2 + struct.unpack_from(">H", data, scan + 2)[0]])
    return head + b"\x28\xa2\x8a" * (-(-width // 8) * -(-height // 8) // 4 + 1) + b"\xff\xd9"


def grey_gif(screen: int, frame: int, frames: int = 1) -> bytes:
    """A GIF of so many pixels each way, whose frames are of another size."""
    image = b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x44\x01\x00"
    return (
        b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(3) + b"\xff" * 3 + image * frames + b";"
    )


def run_length_bmp(side: int) -> bytes:
    """A BMP of side x side pixels that ends at once, which leaves the rest black."""
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 2, 2)
    return b"BM" + struct.pack("<IHHI", 64, 0, 0, 62) + head + bytes(8) + b"\0\1"


def tiff(changes: dict[int, list[int]], data: bytes = b"x" * 100, bits: int = 8) -> bytes:
    """A TIFF of 10 x 10 grey pixels, one strip, of which some tags say something else, or nothing."""
    tags = {256: [10], 257: [10], 258: [bits], 259: [1], 262: [1], 273: [8], 277: [1], 278: [10], 279: [len(data)]}
    shown = {tag: values for tag, values in sorted((tags | changes).items()) if values}
    at, body, rest = 8 + len(data), b"", b""
    for tag, values in shown.items():
        packed = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            packed, rest = struct.pack("<I", at + 6 + 12 * len(shown) + len(rest)), rest + packed
        body += struct.pack("<HHI", tag, 4, len(values)) + packed
    return b"II*\0" + struct.pack("<I", at) + data + struct.pack("<H", len(shown)) + body + bytes(4) + rest


def tiles(width: int, height: int) -> dict[int, list[int]]:
    return {259: [8], 273: [], 278: [], 279: [], 322: [width], 323: [height], 324: [8], 325: [100]}


N = 30_000
HUGE = "more than the 120 megapixels that a photograph may have (a decompression bomb?)"
DIRECTORY, PIXELS, TEXT = "its directory is damaged", "its compressed pixels are damaged", "is too long"
DOT = zlib.compress(bytes(2))
WIDE: dict[int, list[int]] = {256: [9999], 257: [9999], 278: [9999]}
MANY: dict[int, list[int]] = {273: [8] * 100_000, 278: [1], 279: [10] * 100_000}

BOMBS: dict[str, tuple[bytes, str | tuple[int, int]]] = {
    "bomb.png": (png((N, N, 8, 0), deflated_zeros(N * (N + 1))), HUGE),
    "1-bit bomb.png": (png((N, N, 1, 0), deflated_zeros(N * (N // 8 + 1))), HUGE),
    "16-bit bomb.png": (png((N, N, 16, 4), DOT), HUGE),
    "bomb.jpg": (grey_jpeg(N, N), HUGE),
    "bomb.gif": (grey_gif(N, 1), HUGE),
    "frame beyond its screen.gif": (grey_gif(1, N), HUGE),
    "bomb.bmp": (run_length_bmp(N), HUGE),
    "bomb.tif": (tiff({256: [N], 257: [N], 259: [8], 278: [N]}, deflated_zeros(N * N)), HUGE),
    "16-bit bomb.tif": (tiff({256: [N], 257: [N], 259: [8]}, bits=16), HUGE),
    "bomb.ppm": (b"P6 30000 30000 255\n" + bytes(99), HUGE),
    "bomb.ppm.gz": (gzipped(b"P6 30000 30000 255\n", b"\0", 2575), HUGE),
    "just above.png": (png((12_001, 10_000, 8, 0), DOT), HUGE),
    "just above.jpg": (grey_jpeg(12_001, 10_000), HUGE),
    "just above.pgm": (b"P5 12001 10000 255\n", HUGE),
    "end missing.pgm": (b"P5 12000 10000 255\n", "it ends after 0 of its 120000000 bytes of pixels"),
    "end missing.bmp": (run_length_bmp(10_000), "not enough image data"),
    "zeros behind.pgm.gz": (gzipped(b"P5 9 9 255\n", b"\0", 3000), "it goes on after its pixels"),
    "spaces.pgm.gz": (gzipped(b"P2 3000 3000 255\n", b" ", 3000), "it has 0 numbers, expected 9000000"),
    "comment.pgm.gz": (gzipped(b"P2 3000 3000 255\n#", b"a", 3000), "it has 0 numbers, expected 9000000"),
    "one number.pgm.gz": (gzipped(b"P2 3000 3000 255\n", b"1", 3000), "a number of more than 64 digits"),
    "many numbers.pgm.gz": (gzipped(b"P2 9 9 255\n", b"1 ", 3000), "numbers, expected 81"),
    "many digits.pbm.gz": (gzipped(b"P1 9000 9000\n", b"1", 3000), "numbers, expected 81000000"),
    "comments.pgm": (b"P5" + b"#\n" * 32_000, "one with a damaged header"),
    "text.png": (with_chunk(chunk(b"zTXt", b"a\0\0" + deflated_zeros(10**9))), TEXT),
    "XMP.png": (with_chunk(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + deflated_zeros(10**9))), TEXT),
    "texts.png": (with_chunk(chunk(b"zTXt", b"a\0\0" + deflated_zeros(10**6)) * 500), TEXT),
    "profile.png": (with_chunk(chunk(b"iCCP", b"a\0\0" + deflated_zeros(10**9))), TEXT),
    "parts.png": (with_chunk(chunk(b"teXt", b"") * 300_000), "it has more than 262144 parts"),
    "pixels behind.png": (png((1, 1, 8, 0), deflated_zeros(10**9)), (1, 1)),
    "frames.gif": (grey_gif(1, 1, 900_000), "it holds several frames, expected one"),
    "no width.tif": (tiff({256: [0]}), "it has 0 x 10 pixels"),
    "widest.tif": (tiff({256: [2**32 - 1], 257: [2**32 - 1]}), HUGE),
    "wide tiles.tif": (tiff(tiles(65520, 65520)), PIXELS),
    "wide tiles of 16 bits.tif": (tiff(tiles(65520, 65520), bits=16), "compressed as one block of 65520 x 65520"),
    "endless strip.tif": (tiff({279: [2**32 - 1], 259: [8]}), PIXELS),
    "endless strip of 16 bits.tif": (tiff({279: [2**32 - 1], 259: [8]}, bits=16), PIXELS),
    "far strip.tif": (tiff({273: [2**32 - 1]}), "image file is truncated"),
    "far strip of 16 bits.tif": (tiff({273: [2**32 - 1]}, bits=16), "image file is truncated"),
    "strips of no rows.tif": (tiff({278: [0]}, bits=16), DIRECTORY),
    "samples.tif": (tiff({262: [2], 277: [65535], **WIDE}, bits=16), "save it in smaller ones"),
    "samples of 8 bits.tif": (tiff({277: [65535]}), "which is not supported"),
    "a strip too often.tif": (tiff({**MANY, 257: [10**5], 259: [8], 279: [10**7] * 10**5}, bytes(10**7), 16), PIXELS),
    "strips.tif": (tiff(MANY), (10, 10)),
    "more strips.tif": (tiff({273: [8] * 10**6}), DIRECTORY),
    "palette.tif": (tiff({262: [3], 320: [1] * 90_000}), "invalid palette size"),
    "sparse.tif": (tiff({}), "it has 20.0 GB, more than the 1.1 GB that a file may have"),
}  # fmt: skip
"""Reasons to refuse each, or height and width of what it shows."""
