"""Fundus photographs drawn from a seed, with their exact vessel masks: data for tests and examples, free to share.

python -m geseg.data.drawn FOLDER --train 12 --test 4 --seed 0 --size 384
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Complex, Float, UInt8
from PIL import Image
from scipy import ndimage

from geseg.data.trees import Eye, Raster, Rng, Vessel, grow, random_eye, rasterise
from geseg.errors import ConfigError, OutputError
from geseg.files import atomic_path

SMALLEST = 32
THINNEST_PIXELS = 1.1
"""A line of a pixel's width or more meets a pixel centre in each column (or row): it stays connected."""
EDGE = 1.5
"""Pixels of soft edge around the disc, which `geseg.find_fov` counts as field of view: a net must have seen them."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn photograph, its vessels (only inside the field of view) and its field of view."""

    image: UInt8[np.ndarray, "h w 3"]
    label: Bool[np.ndarray, "h w"]
    fov: Bool[np.ndarray, "h w"]


def draw(seed: int, height: int = 584, width: int = 565) -> Drawing:
    """Draw one photograph; the same seed and size give the same bytes, the same seed the same eye at every size.

    A pixel is vessel iff its centre lies in the disc that the lens shows and within half a vessel's width of its centre
    line. The field of view is this disc with its soft edge, as it is found in photographs.

    Raises:
        ConfigError: a side is below 32 pixels.
    """
    if min(height, width) < SMALLEST:
        raise ConfigError(f"a drawing of {height}x{width} pixels is too small for vessels: choose at least {SMALLEST}")
    anatomy, camera = (np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(2))
    eye = random_eye(anatomy)
    place = Place.of(height, width, anatomy)
    trees = [place.in_pixels(vessel) for vessel in grow(eye, anatomy)]
    arteries, veins = (
        rasterise([vessel for vessel in trees if vessel.artery is kind and len(vessel.widths) > 1], height, width)
        for kind in (True, False)
    )
    z = place.unit_disc(height, width)
    shown = np.abs(z) <= 1
    light = _retina(eye, z, place.radius, anatomy, camera)
    light = _vessels(light, arteries, veins, place.radius, anatomy, camera)
    return Drawing(
        image=_photograph(light, z, place.radius, anatomy, camera),
        label=(np.maximum(arteries.depth, veins.depth) >= 0) & shown,
        fov=np.abs(z) <= 1 + EDGE / place.radius,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where the unit disc of the eye lies in the image: centre and radius of the field of view, in pixels."""

    x: float
    y: float
    radius: float

    @staticmethod
    def of(height: int, width: int, rng: Rng) -> "Place":
        """As in DRIVE, the view nearly fills the shorter side and is centred to about a hundredth of it."""
        short = min(height, width)
        jitter = rng.uniform(-0.012, 0.012, 2) * short
        return Place(float((width - 1) / 2 + jitter[0]), float((height - 1) / 2 + jitter[1]), 0.478 * short)

    def in_pixels(self, vessel: Vessel) -> Vessel:
        """The part of a vessel that is wide enough to be seen; widths only fall, so what remains is connected.

        In small images vessels of less than a pixel are seen, too, or few would remain.
        """
        widths = vessel.widths * self.radius
        seen = int(np.sum(widths > 0.75 * THINNEST_PIXELS * min(1.0, self.radius / 270) ** 0.5))
        points = vessel.points[:seen] * self.radius + (self.x, self.y)
        return Vessel(points, np.maximum(widths[:seen], THINNEST_PIXELS), vessel.artery)

    def unit_disc(self, height: int, width: int) -> Complex[np.ndarray, "h w"]:
        """The place x + iy of every pixel's centre in the unit disc."""
        y, x = np.mgrid[:height, :width].astype(np.float64)
        return np.asarray(((x - self.x) + 1j * (y - self.y)) / self.radius)


def _noise(shape: tuple[int, int], scale: float, rng: Rng) -> Float[np.ndarray, "h w"]:
    """Smooth noise of mean 0 and variance 1 with details of `scale` pixels, on a coarser grid where that suffices."""
    factor = max(1.0, scale / 3)
    coarse = tuple(math.ceil(side / factor) + 2 for side in shape)
    field: np.ndarray = ndimage.gaussian_filter(rng.standard_normal(coarse), scale / factor, mode="wrap")
    if factor > 1:
        field = ndimage.affine_transform(field, (1 / factor, 1 / factor), output_shape=shape, order=1)
    field = np.asarray(field)[: shape[0], : shape[1]]
    return np.asarray((field - field.mean()) / (field.std() + 1e-12))


def _hill(z: Complex[np.ndarray, "h w"], centre: complex, radius: float) -> Float[np.ndarray, "h w"]:
    return np.exp(-0.5 * (np.abs(z - centre) / radius) ** 2)


def _retina(
    eye: Eye, z: Complex[np.ndarray, "h w"], radius: float, anatomy: Rng, camera: Rng
) -> Float[np.ndarray, "h w 3"]:
    """What lies below the vessels, as light in [0, 1] per colour: fundus, choroid, macula, lesions, optic disc."""
    shape = z.shape
    red = anatomy.uniform(0.58, 0.98)
    green = red * anatomy.uniform(0.45, 0.62)
    fundus = np.array([red, green, green * anatomy.uniform(0.5, 0.68)])
    tint = np.array([0.35, 1.0, 0.75])  # what absorbs (pigment, blood) takes green most and red least
    shade = 0.07 * _noise(shape, 0.22 * radius, camera) + 0.025 * _noise(shape, 0.04 * radius, camera)
    # choroidal vessels shine through as a net of bright ridges, in pale eyes more than in others
    ridges = np.exp(-np.abs(_noise(shape, 0.028 * radius, camera)) * 1.6) - 0.45
    shade += anatomy.choice((0.02, 0.05, 0.16), p=(0.5, 0.35, 0.15)) * ridges * (1 - _hill(z, eye.fovea, 0.35))
    shade -= anatomy.uniform(0.2, 0.5) * _hill(z, eye.fovea, anatomy.uniform(0.08, 0.13))
    shade -= 0.12 * _hill(z, eye.fovea, 0.3)
    dark, bright = _lesions(z, radius, anatomy, camera)
    shade -= 0.55 * dark
    lamp = complex(*anatomy.uniform(-0.35, 0.35, 2))
    light = fundus * np.exp(shade[..., None] * tint)
    light *= (1.12 - anatomy.uniform(0.12, 0.3) * np.abs(z - lamp) ** 2)[..., None]
    light = _mix(light, np.array([0.92, 0.8, 0.45]) * (0.5 + 0.55 * red), bright)
    stretch = (z - eye.disc).real + 1j * (z - eye.disc).imag * anatomy.uniform(0.85, 0.97)
    rim = np.abs(stretch) / eye.disc_radius + 0.04 * _noise(shape, 0.06 * radius, camera)
    disc = 1 / (1 + np.exp((rim - 1) / 0.055))
    cup = _hill(stretch, -eye.side * 0.15 * eye.disc_radius + 0j, 0.42 * eye.disc_radius)
    light = light * (1 + 0.25 * _hill(z, eye.disc, 2.2 * eye.disc_radius))[..., None]
    pale = np.array([0.98, 0.74, 0.4]) + cup[..., None] * np.array([0.05, 0.25, 0.4])
    return _mix(light, pale * (0.42 + 0.6 * red), anatomy.uniform(0.75, 0.95) * disc)


def _mix(
    light: Float[np.ndarray, "h w 3"], colour: np.ndarray, share: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w 3"]:
    return np.asarray(light + share[..., None] * (colour - light))


def _lesions(
    z: Complex[np.ndarray, "h w"], radius: float, anatomy: Rng, camera: Rng
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Haemorrhages (dark) and exudates (bright) in [0, 1]: noise that rises above a threshold near a few places."""
    found = []
    for scale, sharpness, most in ((0.016, 2.0, 4), (0.009, 2.0, 3)):
        field = np.zeros(z.shape)
        if anatomy.random() < 0.35:
            hills = [
                _hill(z, complex(*anatomy.uniform(-0.7, 0.7, 2)), anatomy.uniform(0.02, 0.09))
                for _ in range(anatomy.integers(1, most + 1))
            ]
            rise = _noise(z.shape, max(1.0, scale * radius), camera) + 2.8 * np.max(hills, axis=0) - 3.7
            field = np.clip(sharpness * rise, 0, 1)
        found.append(field)
    return found[0], found[1]


def _vessels(
    light: Float[np.ndarray, "h w 3"], arteries: Raster, veins: Raster, radius: float, anatomy: Rng, camera: Rng
) -> Float[np.ndarray, "h w 3"]:
    """Lay blood over the retina: light falls by exp(-absorption), which grows with the width of the vessel."""
    strength = anatomy.uniform(0.8, 1.25)
    patchy = 1 + 0.16 * _noise(arteries.depth.shape, 0.07 * radius, camera)
    blood = np.zeros(arteries.depth.shape)
    shine = np.zeros(arteries.depth.shape)
    for raster, full, reflex in ((arteries, 0.42, 0.65), (veins, 0.54, 0.1)):
        cover = np.clip(raster.depth + 0.5, 0, 1)
        relative = raster.width / (0.03 * radius)
        across = 1 - np.clip(
            2 * raster.depth / np.maximum(raster.width, 1e-6), 0, 1
        )  # 0 on the centre line, 1 at the edge
        absorbed = full * np.clip(relative, 0.1, 1) ** 0.8 * cover * (0.55 + 0.45 * np.sqrt(1 - across**2))
        absorbed *= 1 - reflex * np.exp(-((across / 0.35) ** 2)) * np.clip(relative * 2 - 0.5, 0, 1)
        blood = np.maximum(blood, absorbed) + 0.25 * np.minimum(blood, absorbed)  # a crossing is darker than either
        shine = np.maximum(shine, cover * np.clip(relative, 0, 1))
    sheath: np.ndarray = ndimage.gaussian_filter(shine, 0.03 * radius)  # nerve fibres gleam along the large vessels
    tint = np.array([0.36, 1.0, 0.68])
    through = np.exp(-(strength * patchy * blood)[..., None] * tint)
    return np.asarray(light * (1 + 0.22 * sheath)[..., None] * through)


def _photograph(
    light: Float[np.ndarray, "h w 3"], z: Complex[np.ndarray, "h w"], radius: float, anatomy: Rng, camera: Rng
) -> UInt8[np.ndarray, "h w 3"]:
    """What the camera makes of the light: black surround with a soft edge, blur, sensor noise, 8 bits."""
    distance = (np.abs(z) - 1) * radius
    sharpness = max(0.5, anatomy.uniform(0.6, 1.0) * radius / 270)
    channels = []
    for channel, fringe in enumerate((0.8, 0.0, -0.4)):  # the lens bends colours differently: a red rim
        seen = light[..., channel] * np.clip(0.5 - (distance - fringe) / 1.5, 0, 1)
        channels.append(ndimage.gaussian_filter(seen, sharpness))
    grain: np.ndarray = ndimage.gaussian_filter(camera.standard_normal((*z.shape, 3)), (0.7, 0.7, 0.2))
    level = np.stack(channels, axis=-1)
    black = np.array([8.0, 6.7, 6.9])
    value = black + level * (255 - black) + grain / grain.std() * (0.8 + anatomy.uniform(1.6, 3.2) * np.sqrt(level))
    return np.asarray(np.clip(np.rint(value), 0, 255), np.uint8)


def write_dataset(
    folder: Path, layout: Literal["drive", "generic"], train: int, test: int, seed: int, height: int, width: int
) -> None:
    """Write a drawn data set: laid out like DRIVE, or `images/`, `masks/` and `fov/` with one stem per drawing.

    Raises:
        ConfigError: there is no such number of images; the names of DRIVE's layout end at 20 for testing, 99 in all.
        OutputError: `folder` is not empty, or cannot be written.
    """
    if min(train, test, seed) < 0 or train + test < 1:
        raise ConfigError(f"train is {train}, test {test} and seed {seed}; expected none below 0, and an image")
    if layout == "drive" and (test > 20 or train > 79):
        raise ConfigError(
            f"train is {train} and test {test}; names like DRIVE's are enough for 79 and 20: choose generic"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} holds something already; drawn data goes into a new or empty folder")
    seeds = np.random.SeedSequence(seed).generate_state(train + test)
    for index in range(train + test):
        number, split = (index + 21, "training") if index < train else (index - train + 1, "test")
        stem = f"{number:02}"
        names = [f"{split}/images/{stem}_{split}.tif", f"{split}/1st_manual/{stem}_manual1.gif"]
        names.append(f"{split}/mask/{stem}_{split}_mask.gif")
        if layout == "generic":
            names = [f"{part}/{index + 1:02}.png" for part in ("images", "masks", "fov")]
        drawing = draw(int(seeds[index]), height, width)
        for name, pixels in zip(names, (drawing.image, drawing.label, drawing.fov), strict=True):
            picture = Image.fromarray(pixels * np.uint8(255) if pixels.dtype == bool else pixels)
            with atomic_path(folder / name) as partial:  # optimised, a GIF would get a palette of its own
                picture.save(partial, format=Image.registered_extensions()[Path(name).suffix], optimize=False)


def main() -> None:
    """Write a drawn data set from the command line."""
    parser = argparse.ArgumentParser(prog="python -m geseg.data.drawn", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=("drive", "generic"), default="drive")
    for name, default in (("train", 12), ("test", 4), ("seed", 0), ("size", 384)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    args = parser.parse_args()
    try:
        write_dataset(args.folder, args.layout, args.train, args.test, args.seed, args.size, args.size)
    except (ConfigError, OutputError) as error:
        parser.exit(1, f"geseg: {error}\n")


if __name__ == "__main__":
    main()
