"""The pictures of a report: photograph, label, map and overlay of each image, reduced to what a page can hold."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8
from PIL import Image

from geseg.data import scale
from geseg.data.patchfile import WholeImage
from geseg.steps.scores import Map

PIXELS = 13_000_000
"""Of the photographs of a page together: at 0.7 to 2.3 bytes per pixel (measured on DRIVE, CHASE_DB1 and HRF, the more
they are reduced the more) a page stays below 30 MB, up to 500 photographs, from which on `SHORTEST` decides."""
LONGEST, SHORTEST = 1024, 160
"""Sides that a photograph is reduced to at most and at least, however many there are."""
HIT, MISS, FALSE_ALARM = (230, 230, 230), (230, 159, 0), (86, 180, 233)
"""Near white, and orange and sky blue of Okabe & Ito 2008 (jfly.uni-koeln.de/color), on a dark photograph without
colour: people with any kind of colour blindness can tell them apart, which the tests simulate."""
DARKEST, BRIGHTEST, STEP = 12, 96, 6
"""Greys of the photograph under the overlay, in steps that compress well."""
JPEG_QUALITY = 88


@dataclass(frozen=True, slots=True)
class Plate:
    """One image as a page shows it; the pictures are data URIs of the same size.

    Attributes:
        width, height: of the pictures.
        shrunk: what the sides were divided by.
    """

    dataset: str
    id: str
    width: int
    height: int
    shrunk: float
    photograph: str
    label: str
    map: str
    overlay: str


class Album:
    """Takes one image after the other and keeps its plate.

    Args:
        images: how many are to come; they share the room of a page.
        threshold: from which probability a pixel is vessel in the overlays.
    """

    def __init__(self, images: int, threshold: float) -> None:
        self.plates: list[Plate] = []
        self._threshold = threshold
        self._area = PIXELS / max(images, 1)

    def add(self, whole: WholeImage, probability: Map) -> None:
        """Take an image and its map."""
        assert whole.label is not None, "only labelled images are scored"
        by = shrink(whole.fov.shape, self._area)
        height, width = (max(1, round(side / by)) for side in whole.fov.shape)
        shape = whole.fov.shape if by == 1 else (height, width)
        painted = overlay(whole, probability >= self._threshold, shape)
        photograph = Image.fromarray(whole.image).resize(shape[::-1], Image.Resampling.BOX)
        self.plates.append(
            Plate(
                dataset=whole.record.dataset,
                id=whole.record.id,
                width=shape[1],
                height=shape[0],
                shrunk=by,
                photograph=_uri(photograph, "JPEG", quality=JPEG_QUALITY),
                label=_grey(scale.shares(whole.label, shape)),
                map=_grey(scale.resize(probability, shape)),
                overlay=_png(painted),
            )
        )


def shrink(shape: tuple[int, ...], area: float) -> float:
    """By what to divide the sides of a photograph for it to have about `area` pixels; at least 1."""
    longest = max(shape)
    fits = max(1.0, longest / LONGEST, math.sqrt(math.prod(shape) / area))
    return min(fits, max(1.0, longest / SHORTEST))


def overlay(whole: WholeImage, mask: Bool[np.ndarray, "h w"], shape: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A photograph, dark and grey, with the hits, misses and false alarms of a mask inside the field of view.

    Where it is reduced, a pixel mixes the colours of what it covers.
    """
    assert whole.label is not None
    rest, colours = np.ones(shape, np.float32), np.zeros((*shape, 3), np.float32)
    kinds = ((HIT, mask & whole.label), (MISS, ~mask & whole.label), (FALSE_ALARM, mask & ~whole.label))
    for colour, pixels in kinds:
        share = scale.shares(pixels & whole.fov, shape)
        rest -= share
        colours += share[:, :, None] * np.array(colour, np.float32)
    painted = _backdrop(whole, shape)[:, :, None] * rest[:, :, None] + colours
    return np.asarray(np.rint(painted.clip(0, 255)), np.uint8)


def _backdrop(whole: WholeImage, shape: tuple[int, int]) -> Float32[np.ndarray, "h2 w2"]:
    """The green channel, which shows vessels best, from dark to half bright; black outside of the field of view."""
    green = whole.image[:, :, 1].astype(np.float32)
    low, high = np.percentile(green[whole.fov], (1, 99)) if whole.fov.any() else (0, 255)
    bright = DARKEST + (BRIGHTEST - DARKEST) * ((green - low) / max(high - low, 1)).clip(0, 1)
    seen = scale.resize(np.where(whole.fov, bright, 0).astype(np.float32), shape)
    return np.asarray(STEP * np.rint(seen.clip(0, BRIGHTEST) / STEP), np.float32)


def _grey(share: Float32[np.ndarray, "h w"]) -> str:
    """A map with values in [0, 1] as a picture of 64 greys, white being 1."""
    return _png(np.rint(np.rint(share.clip(0, 1) * 63) * (255 / 63)).astype(np.uint8))


def _png(pixels: UInt8[np.ndarray, "h w *c"]) -> str:
    """As PNG, with a palette where 256 colours are enough."""
    channels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    codes = channels.astype(np.uint32) @ (256 ** np.arange(channels.shape[2], dtype=np.uint32))
    found, places = np.unique(codes, return_inverse=True)
    if len(found) > 256:
        return _uri(Image.fromarray(pixels), "PNG", optimize=True)
    image = Image.fromarray(places.reshape(codes.shape).astype(np.uint8), mode="P")
    colours: Shaped[np.ndarray, "n 3"] = (found[:, None] // 256 ** np.arange(3)) % 256
    image.putpalette((colours if pixels.ndim == 3 else colours[:, [0, 0, 0]]).astype(np.uint8).tobytes())
    return _uri(image, "PNG", optimize=True)


def _uri(image: Image.Image, kind: str, **settings: object) -> str:
    encoded = io.BytesIO()
    image.save(encoded, format=kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded.getvalue()).decode()}"
