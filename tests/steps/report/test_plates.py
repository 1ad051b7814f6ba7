"""The pictures: overlays whose colours everybody can tell apart, reduced to what a page can hold."""

import base64
import dataclasses
import io
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.patchfile import WholeImage
from geseg.steps.report import page, plates
from geseg.steps.report.plates import FALSE_ALARM, HIT, MISS, Album, overlay, shrink
from geseg.steps.truths import open_truths


def pixels(uri: str) -> np.ndarray:
    """Of a picture as it stands in the page, uint8[h, w, 3]."""
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


def test_overlays_have_the_colours_of_the_legend(whole: WholeImage) -> None:
    assert whole.label is not None
    mask = np.roll(whole.label, 1, axis=1)
    painted = overlay(whole, mask, whole.fov.shape)
    cases = ((HIT, mask & whole.label), (MISS, ~mask & whole.label), (FALSE_ALARM, mask & ~whole.label))
    for colour, pixels in cases:
        assert (pixels & whole.fov).any()
        assert (painted[pixels & whole.fov] == colour).all()
    elsewhere = painted[~mask & ~whole.label]
    assert (elsewhere == elsewhere[:, :1]).all(), "the photograph is grey"
    assert (painted[~whole.fov] == 0).all()
    style = (page.FILES / "page.css").read_text()
    for name, colour in (("hit", HIT), ("miss", MISS), ("false", FALSE_ALARM)):
        assert f"--{name}: rgb({' '.join(map(str, colour))})" in style


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_overlays_turn_with_the_photograph(whole: WholeImage, turns: int, mirrored: bool) -> None:
    def act(pixels: np.ndarray) -> np.ndarray:
        turned = np.rot90(pixels, turns)
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

    assert whole.label is not None
    mask = np.roll(whole.label, 2, axis=0)
    moved = dataclasses.replace(whole, image=act(whole.image), label=act(whole.label), fov=act(whole.fov))
    np.testing.assert_array_equal(
        overlay(moved, act(mask), moved.fov.shape), act(overlay(whole, mask, whole.fov.shape))
    )


def lab(colour: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB (IEC 61966-2-1 primaries, D65)."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ colour
    f = np.cbrt(np.maximum(xyz / np.array([0.9505, 1.0, 1.089]), 0.008856))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


VISION = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
    "no colours": np.full((3, 3), [0.2126, 0.7152, 0.0722]),
}
"""Machado et al. 2009 (doi:10.1109/TVCG.2009.113), at full severity, on linear RGB; and a printer without colours."""


@pytest.mark.parametrize("vision", VISION)
def test_colours_can_be_told_apart_by_everybody(vision: str) -> None:
    """A difference of 2.3 can just be seen; lines of a pixel need more, which three greys cannot have."""
    backdrop = (plates.BRIGHTEST,) * 3
    seen = [lab(VISION[vision] @ (np.array(c) / 255) ** 2.2) for c in (HIT, MISS, FALSE_ALARM, backdrop)]
    least = min(float(np.linalg.norm(p - q)) for p, q in itertools.combinations(seen[:3], 2))
    assert least > (30 if vision != "no colours" else 0)
    assert min(float(np.linalg.norm(colour - seen[3])) for colour in seen[:3]) > 25


def test_large_photographs_are_reduced() -> None:
    assert shrink((584, 565), 20e6 / 20) == 1
    assert shrink((2336, 3504), 20e6 / 15) == pytest.approx(3504 / 1024)
    assert math.prod(side / shrink((2048, 2048), 20e6 / 200) for side in (2048, 2048)) == pytest.approx(100_000)
    assert 2048 / shrink((2048, 2048), 1) == plates.SHORTEST
    assert shrink((64, 64), 1) == 1


def test_reduced_pictures_mix_what_they_cover(whole: WholeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plates, "LONGEST", 36)
    monkeypatch.setattr(plates, "SHORTEST", 8)
    assert whole.label is not None
    album = Album(1, 0.5)
    album.add(whole, whole.label.astype(np.float32))
    (plate,) = album.plates
    assert (plate.width, plate.height) == (34, 36)
    photograph, label, painted = map(pixels, (plate.photograph, plate.label, plate.overlay))
    assert photograph.shape == (36, 34, 3)
    mean = label[:, :, 0].mean() / 255
    assert mean == pytest.approx(whole.label.mean(), abs=0.01), "a thin vessel fades, but is not lost"
    assert painted.max() <= max(HIT)


def test_twenty_photographs_of_drive_are_a_page_of_less_than_30_mb(real_data: Path) -> None:
    """With a probability that is as rough as a photograph."""
    (photograph, *_) = open_truths(real_data / "DRIVE").photographs
    whole, album = photograph.read(), Album(20, 0.5)
    album.add(whole, (whole.image[:, :, 1] / np.float32(255)).astype(np.float32))
    (plate,) = album.plates
    assert (plate.width, plate.height) == (565, 584)
    assert 20 * sum(map(len, (plate.photograph, plate.label, plate.map, plate.overlay))) < 30e6
