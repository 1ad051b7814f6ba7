"""The scale of brightness: right by another way of computing it, and the same for turned images to the last bit."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geseg.data.normalise import NORMALISATION, normalise, statistics


def random_image(seed: int, height: int = 9, width: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_statistics_are_those_of_the_lit_pixels() -> None:
    image = random_image(0, 80, 60)
    lit = image[image[:, :, 0] > image[:, :, 0].max() / 10].astype(np.float64)
    mean, std = statistics(image)
    np.testing.assert_allclose(mean, lit.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, lit.std(axis=0), rtol=1e-12)


def test_three_lines_of_numpy_do_the_same() -> None:
    """As somebody would write them who has an ONNX file and its header only."""
    image = random_image(1, 80, 60)
    lit = image[image[..., 0] > image[..., 0].max() / 10]
    by_hand = ((image - lit.mean(0)) / lit.std(0)).transpose(2, 0, 1).astype(np.float32)
    result = normalise(image, *statistics(image))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, by_hand, atol=1e-6)


@given(seed=st.integers(0, 2**16), height=st.integers(1, 9), width=st.integers(1, 9), turns=st.integers(0, 3))
def test_turned_and_mirrored_images_have_the_same_statistics(seed: int, height: int, width: int, turns: int) -> None:
    image = random_image(seed, height, width)
    for moved in (np.rot90(image, turns), np.rot90(image, turns)[:, ::-1]):
        for before, after in zip(statistics(image), statistics(moved), strict=True):
            assert before.tobytes() == after.tobytes()


def test_black_and_flat_images_stay_finite() -> None:
    black, flat = np.zeros((3, 4, 3), np.uint8), np.full((3, 4, 3), 7, np.uint8)
    np.testing.assert_array_equal(normalise(black, *statistics(black)), np.zeros((3, 3, 4)))
    np.testing.assert_array_equal(normalise(flat, *statistics(flat)), np.zeros((3, 3, 4)))
    np.testing.assert_array_equal(statistics(black), [np.zeros(3), np.ones(3)])


def test_large_images_do_not_overflow() -> None:
    image = np.zeros((2000, 3000, 3), np.uint8)
    image[:, ::2] = 255
    mean, std = statistics(image)
    np.testing.assert_array_equal(mean, [255.0] * 3)
    np.testing.assert_array_equal(std, [1.0] * 3)


def test_the_sentence_names_what_matters() -> None:
    assert all(word in NORMALISATION for word in ("mean", "std", "lit pixels", "tenth", "red"))
