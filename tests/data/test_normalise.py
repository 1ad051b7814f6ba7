"""The scale of brightness: right by another way of computing it, and the same for turned images to the last bit."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geseg.data.normalise import GAIN, LEAST, MOST, NORMALISATION, normalise, statistics, typical_difference


def channels(image: np.ndarray) -> np.ndarray:
    return np.moveaxis(image, -1, 0).astype(np.float32)


def random_image(seed: int, height: int = 9, width: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def soft_image(seed: int, height: int = 160, width: int = 120) -> np.ndarray:
    """Shaded, as photographs are, so that the factor is within its range."""
    ramp = np.linspace(90, 160, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 3))
    return np.clip(np.rint(ramp + noise), 0, 255).astype(np.uint8)


def differences(image: np.ndarray, lit: np.ndarray, apart: int) -> list[int]:
    """Of green, pixel by pixel, smallest first."""
    height, width = lit.shape
    pairs = [((y, x), (y + apart, x)) for y in range(height - apart) for x in range(width)]
    pairs += [((y, x), (y, x + apart)) for y in range(height) for x in range(width - apart)]
    green = image[:, :, 1].astype(int)
    return sorted(abs(int(green[a] - green[b])) for a, b in pairs if lit[a] and lit[b])


def test_statistics_are_those_of_the_lit_pixels() -> None:
    """The standard deviation of each channel, times what makes six typical differences of green a contrast of 1."""
    image = soft_image(0, 200, 160)
    image[:30] = 3
    lit = image[:, :, 0] > image[:, :, 0].max() / 10
    pixels = image[lit].astype(np.float64)
    apart = round(2 * math.sqrt(lit.sum() / math.pi) / 100)
    assert apart > 1
    found = differences(image, lit, apart)
    factor = 6 * np.mean(found[: len(found) * 4 // 5]) / pixels[:, 1].std()
    assert LEAST < factor < MOST
    mean, contrast = statistics(image)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(contrast, pixels.std(axis=0) * factor, rtol=1e-12)


@given(seed=st.integers(0, 2**16), height=st.integers(1, 9), width=st.integers(1, 9), apart=st.integers(1, 12))
def test_the_typical_difference_of_any_mask(seed: int, height: int, width: int, apart: int) -> None:
    image = random_image(seed, height, width)
    inside = np.random.default_rng(seed).random((height, width)) < 0.7
    found = differences(image, inside, apart)
    kept = found[: len(found) * 4 // 5]
    assert typical_difference(image[:, :, 1], inside, apart) == pytest.approx(np.mean(kept) if kept else 0.0)


def test_shading_and_bright_spots_change_the_contrast_little() -> None:
    """What the standard deviation cannot do, and the reason for the factor."""
    image = soft_image(1)
    shaded = np.clip(image + np.linspace(-60, 60, image.shape[1])[None, :, None], 0, 255).astype(np.uint8)
    spotted = image.copy()
    spotted[60:90, 50:80] = 255
    std, contrast = zip(*((i[:, :, 1].std(), statistics(i)[1][1]) for i in (image, shaded, spotted)), strict=True)
    assert min(std[1], std[2]) > 1.2 * std[0]
    assert max(contrast) < 1.15 * min(contrast)


def test_the_factor_has_a_range() -> None:
    """Of an image without details, and of one that is nothing else."""
    steps = np.zeros((100, 100, 3), np.uint8) + 50
    steps[:, 50:] = 200
    np.testing.assert_allclose(statistics(steps)[1], LEAST * steps.std((0, 1)), rtol=1e-12)
    noise = random_image(0, 60, 60)
    lit = noise[:, :, 0] > noise[:, :, 0].max() / 10
    assert GAIN * np.mean(differences(noise, lit, 1)) > MOST * noise[lit][:, 1].std()
    np.testing.assert_allclose(statistics(noise)[1], MOST * noise[lit].std(0), rtol=1e-12)


def test_it_is_mean_zero_and_of_single_precision() -> None:
    image = soft_image(2)
    mean, contrast = statistics(image)
    by_hand = ((image - mean) / contrast).transpose(2, 0, 1)
    result = normalise(channels(image), mean, contrast)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, by_hand, atol=1e-5)


@given(seed=st.integers(0, 2**16), height=st.integers(1, 9), width=st.integers(1, 9), turns=st.integers(0, 3))
def test_turned_and_mirrored_images_have_the_same_statistics(seed: int, height: int, width: int, turns: int) -> None:
    for image in (random_image(seed, height, width), soft_image(seed, 10 * height, 10 * width)):
        for moved in (np.rot90(image, turns), np.rot90(image, turns)[:, ::-1]):
            for before, after in zip(statistics(image), statistics(moved), strict=True):
                assert before.tobytes() == after.tobytes()


def test_black_and_flat_images_stay_finite() -> None:
    black, flat = np.zeros((3, 4, 3), np.uint8), np.full((3, 4, 3), 7, np.uint8)
    np.testing.assert_array_equal(normalise(channels(black), *statistics(black)), np.zeros((3, 3, 4)))
    np.testing.assert_array_equal(normalise(channels(flat), *statistics(flat)), np.zeros((3, 3, 4)))
    np.testing.assert_array_equal(statistics(black), [np.zeros(3), np.ones(3)])
    for shape in itertools.product((1, 2), repeat=2):
        assert np.isfinite(statistics(random_image(0, *shape))).all()


def test_large_images_do_not_overflow() -> None:
    image = np.zeros((2000, 3000, 3), np.uint8)
    image[:, ::2] = 255
    mean, contrast = statistics(image)
    np.testing.assert_array_equal(mean, [255.0] * 3)
    np.testing.assert_array_equal(contrast, [LEAST] * 3)


def test_the_sentence_names_what_matters() -> None:
    assert all(word in NORMALISATION for word in ("mean", "contrast", "lit pixels", "tenth", "red", "4/5", "1 %"))
    assert f"{GAIN:g} times" in NORMALISATION
    assert f"at least {LEAST:g} and at most {MOST:g}" in NORMALISATION
