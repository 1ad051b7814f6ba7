"""How many pixels a photograph has, from the first bytes of its file: what it will cost, not whether it is whole."""

import gzip
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path

from PIL import Image

from geseg.data import limits, pnm, tiff
from geseg.data.decode import FORMATS
from geseg.data.quiet import no_warnings


def count_pixels(path: Path) -> int:
    """Width times height as the header tells; 0 of what is no image, damaged so early, or larger than any may be."""
    try:
        if not path.is_file():  # a pipe would wait for a writer
            return 0
        with no_warnings(), path.open("rb") as file:
            width, height = _size(file)
            limits.check_pixels(width, height)
    except Exception:  # on damaged files Pillow's plug-ins raise nearly anything; reading it will tell what is wrong
        return 0
    return width * height


def _size(file: BufferedReader) -> tuple[int, int]:
    start = file.read(4)
    file.seek(0)
    if start in tiff.MAGIC:
        _, page = tiff.photograph(file)
        return page.first(tiff.WIDTH), page.first(tiff.HEIGHT)
    if not pnm.is_pnm(start[:2]):
        with Image.open(file, formats=list(FORMATS)) as image:
            return image.size
    with gzip.GzipFile(fileobj=file) if start[:2] == pnm.GZIP else nullcontext(file) as stream:
        header = pnm.HEADER.match(stream.read(pnm.HEAD))
    if header is None:
        raise ValueError("it holds no PBM, PGM or PPM, or one with a damaged header")
    return int(header[2]), int(header[3])
