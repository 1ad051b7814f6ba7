"""Patches: where they come from, that they cover the field of view evenly, and images smaller than a patch."""

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geseg.data.patches import cut, stack_layers


def numbered(height: int, width: int) -> np.ndarray:
    """An image in which each pixel tells where it is; never black."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y + 1, x + 1, np.full_like(x, 7)], axis=2).astype(np.uint8)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 40),
    count=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_patches_are_parts_of_the_image(height: int, width: int, size: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, label, fov = numbered(height, width), rng.random((height, width)) < 0.3, rng.random((height, width)) < 0.7
    fov.flat[rng.integers(fov.size)] = True
    patches = cut(stack_layers(image, label, fov, fov.shape), size, count, rng)
    assert patches.shape == (count, size, size, 5)
    for patch in patches:
        real = patch[:, :, 2] == 7
        y, x = patch[real][:, 0].astype(int) - 1, patch[real][:, 1].astype(int) - 1
        assert len(set(zip(y, x, strict=True))) == min(size, height) * min(size, width), "it leaves no image out"
        np.testing.assert_array_equal(patch[real][:, 3], label[y, x] * 255)
        np.testing.assert_array_equal(patch[real][:, 4], fov[y, x] * 255)
        assert not patch[~real].any(), "the border is black, without label and outside of the field of view"
        assert patch[:, :, 4].any(), "each patch sees something"


def test_centres_are_even_over_the_field_of_view() -> None:
    fov = np.zeros((60, 60), bool)
    fov[20:40, 10:50] = True
    patches = cut(stack_layers(numbered(60, 60), fov, fov, (60, 60)), 3, 8000, np.random.default_rng(0))
    y, x = patches[:, 1, 1, 0].astype(int) - 1, patches[:, 1, 1, 1].astype(int) - 1
    times = np.bincount(y * 60 + x, minlength=3600).reshape(60, 60)
    assert not times[~fov].any()
    assert times[fov].mean() == 10
    assert np.abs(times[fov].reshape(4, 5, 8, 5).sum(axis=(1, 3)) - 250).max() < 80, "5 standard deviations"


def test_the_generator_decides(draw_eye: Callable[..., tuple[np.ndarray, ...]]) -> None:
    image, label, fov = draw_eye(0)
    layers = stack_layers(image, label, fov, fov.shape)
    first, again, other = (cut(layers, 16, 4, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_layers_of_a_reduced_photograph(draw_eye: Callable[..., tuple[np.ndarray, ...]]) -> None:
    """Brightness stays, vessels keep their area in shades, and the field of view is a mask still."""
    image, label, fov = draw_eye(0)
    half = (fov.shape[0] // 2, fov.shape[1] // 2)
    layers = stack_layers(image, label, fov, half)
    assert layers.shape == (*half, 5)
    assert np.abs(layers[:, :, :3].mean((0, 1)) - image.mean((0, 1))).max() < 1
    assert abs(layers[:, :, 3].mean() / 255 - label.mean()) < 0.01
    assert set(np.unique(layers[:, :, 4])) == {0, 255}
    assert len(np.unique(layers[:, :, 3])) > 2
