import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geseg.data.augment import NOISE, SCALES, SHARPNESS, Augmentation, Draws, draw

ALL = Augmentation(camera=True)
NAMES = [field.name for field in dataclasses.fields(Draws)]
OF_THE_CAMERA = NAMES[-3:]


@given(seed=st.integers(0, 99), epoch=st.integers(0, 99), samples=st.lists(st.integers(0, 999), min_size=1, max_size=5))
def test_a_sample_draws_the_same_in_any_batch(seed: int, epoch: int, samples: list[int]) -> None:
    together = draw(ALL, seed, epoch, samples)
    for place, sample in enumerate(samples):
        alone = draw(ALL, seed, epoch, [sample])
        for name in NAMES:
            np.testing.assert_array_equal(getattr(together, name)[place], getattr(alone, name)[0], name)


def test_seeds_epochs_and_samples_draw_differently() -> None:
    drawn = [draw(ALL, *key, [sample]).gains.tobytes() for key in ((0, 1), (1, 0), (1, 1)) for sample in (0, 1)]
    assert len(set(drawn)) == 6


@pytest.mark.parametrize("switched_off", ["colour", "scale", "mirror", "rotation"])
def test_each_can_be_switched_off_and_leaves_the_others_alone(switched_off: str) -> None:
    samples = range(200)
    full = draw(ALL, 0, 1, samples)
    less = draw(dataclasses.replace(ALL, **{switched_off: False}), 0, 1, samples)
    scale = np.sqrt(np.abs(np.linalg.det(less.matrices)))
    mirrored = np.linalg.det(less.matrices) < 0
    if switched_off == "colour":
        assert (less.gains == 1).all()
        assert (less.shifts == 0).all()
        assert not less.blotches.any()
        assert not less.choroid.any()
        assert full.blotches.any()
        assert full.choroid.any()
        np.testing.assert_array_equal(less.matrices, full.matrices)
        return
    np.testing.assert_array_equal(less.gains, full.gains)
    assert np.allclose(scale, 1, atol=1e-5) == (switched_off == "scale")
    assert (not mirrored.any()) == (switched_off == "mirror")
    unturned = np.abs(less.matrices[:, 0, 1]).max() == 0
    assert unturned == (switched_off == "rotation")


def test_the_camera_is_left_as_it_is_unless_asked_for_and_changes_no_other_draw() -> None:
    full, less = (draw(augmentation, 0, 1, range(50)) for augmentation in (ALL, Augmentation()))
    for name in set(NAMES) - set(OF_THE_CAMERA):
        np.testing.assert_array_equal(getattr(less, name), getattr(full, name), name)
    for name in ("sharpness", "noise"):
        assert not getattr(less, name).any(), name


def test_ranges_of_the_camera() -> None:
    drawn = draw(ALL, 0, 0, range(2000))
    assert 0.45 < (drawn.sharpness == 0).mean() < 0.55
    assert -SHARPNESS <= drawn.sharpness.min() < -0.95 < 0.95 < drawn.sharpness.max() <= SHARPNESS
    assert 0.2 < (drawn.noise[:, 0] > 0).mean() < 0.3
    assert 0.2 < (drawn.noise[:, 1] > 0).mean() < 0.3
    assert not (drawn.noise.prod(axis=1)).any(), "never both"
    assert 0.2 < drawn.noise.max() <= NOISE
    assert len(set(drawn.seeds.tolist())) == 2000


def test_ranges() -> None:
    drawn = draw(ALL, 0, 0, range(2000))
    scale = 1 / np.sqrt(np.abs(np.linalg.det(drawn.matrices)))
    assert SCALES[0] <= scale.min() < 0.69
    assert 2.4 < scale.max() <= SCALES[1]
    assert 0.45 < (np.linalg.det(drawn.matrices) < 0).mean() < 0.55


def test_nothing_is_changed_without_augmentation() -> None:
    drawn = draw(Augmentation(colour=False, scale=False, mirror=False, rotation=False), 0, 0, [1, 2])
    np.testing.assert_array_equal(drawn.matrices, np.broadcast_to(np.eye(2), (2, 2, 2)))
