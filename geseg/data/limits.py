"""How large an image may be: what is beyond is damaged, or made to fill the memory."""

MOST_PIXELS = 120_000_000
"""Of one image, width times height: the largest fundus cameras have 50 to 100 megapixels.

Reading takes up to 18 bytes of memory per pixel (a PNG with 16 bits per colour): 2.2 GB for the largest image.
"""
MOST_BYTES = 2**30
"""Of a file that is not gzipped: `MOST_PIXELS` with four channels of 16 bits have less."""


def check_pixels(width: int, height: int) -> None:
    """Raise ValueError if an image of this size has no pixels, or too many."""
    if width < 1 or height < 1:
        raise ValueError(f"it has {width} x {height} pixels")
    if width * height > MOST_PIXELS:
        raise ValueError(f"it has {width} x {height} pixels, {beyond()}")


def beyond() -> str:
    """What is wrong with too many pixels."""
    return f"more than the {MOST_PIXELS // 10**6} megapixels that a photograph may have (a decompression bomb?)"


def check_bytes(size: int) -> None:
    """Raise ValueError if a file is larger than any image of `MOST_PIXELS` needs."""
    if size > MOST_BYTES:
        raise ValueError(f"it has {size / 1e9:.1f} GB, more than the {MOST_BYTES / 1e9:.1f} GB that a file may have")
