import dataclasses
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from geseg.data.augment import Augmentation, draw
from geseg.data.patchfile import PatchFile
from geseg.steps import batches
from geseg.steps.batches import PatchReader, Raw

STILL = Augmentation(colour=False, scale=False, mirror=False, rotation=False)
CPU = torch.device("cpu")


@pytest.fixture
def reader(patch_file: Path) -> PatchReader:
    return PatchReader(PatchFile.open(patch_file), STILL, seed=0)


def raw(matrix: np.ndarray, gains: float = 1.0, shifts: float = 0.0) -> Raw:
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 255, (2, 12, 12, 5), dtype=np.uint8)
    patches[..., 3] = (patches[..., 3] > 128) * 255
    patches[..., 4] = 255
    draws = dataclasses.replace(
        draw(STILL, 0, 0, [0, 1]),
        matrices=np.stack([matrix] * 2).astype(np.float32),
        gains=np.full((2, 3), gains, np.float32),
        shifts=np.full((2, 3), shifts, np.float32),
        blotches=np.zeros((2, 3, 4, 4), np.float32),
        choroid=np.zeros((2, 3, 4, 4), np.float32),
    )
    return Raw(torch.from_numpy(patches), torch.full((2, 3), 100.0), torch.full((2, 3), 50.0), draws)


def test_every_patch_is_visited_once_before_any_is_twice() -> None:
    visits = [index for _, _, index in batches.order(np.array([3, 5, 7, 9]), 10, seed=0, epoch=1)]
    assert len(visits) == 10
    assert sorted(visits[:4]) == sorted(visits[4:8]) == [3, 5, 7, 9]
    assert visits != [index for _, _, index in batches.order(np.array([3, 5, 7, 9]), 10, seed=0, epoch=2)]


def test_batches_have_the_patches_asked_for(reader: PatchReader, patch_file: Path) -> None:
    visits = [(1, visit, index) for visit, index in enumerate([7, 0, 30, 2, 11])]
    read = list(batches.batches(reader, visits, 2, CPU))
    assert len(read) == 2, "the short last batch is left out"
    with PatchFile.open(patch_file) as file:
        np.testing.assert_array_equal(torch.cat([b.patches for b in read]), file.train_patches([7, 0, 30, 2]))
        record = file.header.samples[file.train_samples[30]]
    np.testing.assert_allclose(read[1].mean[0], record.mean, rtol=1e-6)


def test_a_reader_can_be_sent_to_another_process(reader: PatchReader) -> None:
    there = pickle.loads(pickle.dumps(reader))
    assert torch.equal(there[(1, 0, 4)].patches, reader[(1, 0, 4)].patches)


def test_without_augmentation_a_patch_is_only_normalised() -> None:
    given = raw(np.eye(2))
    image, label, fov = batches.prepare(given, CPU)
    expected = (given.patches[..., :3].permute(0, 3, 1, 2).float() - 100) / 50
    torch.testing.assert_close(image, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(label[:, 0], given.patches[..., 3] / 255, atol=1e-6, rtol=0)
    assert fov.min() == 1


def test_a_turn_by_90_degrees_moves_image_label_and_fov_alike() -> None:
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    still, turned = batches.prepare(raw(np.eye(2)), CPU), batches.prepare(raw(quarter), CPU)
    for a, b in zip(still, turned, strict=True):
        torch.testing.assert_close(b, a.rot90(1, (2, 3)), atol=1e-5, rtol=0)


def test_what_a_turned_patch_does_not_cover_is_mirrored_into_it() -> None:
    c = np.sqrt(0.5)
    given = raw(np.array([[c, -c], [c, c]]))
    given.patches[..., :3] = 200
    image, _, fov = batches.prepare(given, CPU)
    torch.testing.assert_close(image, torch.full_like(image, 2.0))
    assert fov.min() == 1


def test_colour_changes_reach_the_image_alone() -> None:
    still, other = batches.prepare(raw(np.eye(2)), CPU), batches.prepare(raw(np.eye(2), 1.5, 0.25), CPU)
    torch.testing.assert_close(other[0], still[0] * 1.5 + 0.25)
    assert torch.equal(other[1], still[1])


@pytest.mark.parametrize("sign", [1, -1])
def test_texture_is_added_inside_the_field_of_view_alone(sign: int) -> None:
    """Blotches as they are, the choroid by its size: its patches are bright whatever was drawn."""
    plain, textured = raw(np.eye(2)), raw(np.eye(2))
    for given in (plain, textured):
        given.patches[:, :6, :, 4] = 0
    textured.draws.blotches[:, 1] = -0.5
    textured.draws.choroid[:, 2] = 2.0 * sign
    (before, *_), (after, *_) = batches.prepare(plain, CPU), batches.prepare(textured, CPU)
    added = after - before
    assert not added[:, :, :6].any()
    for channel, value in enumerate((0.0, -0.5, 2.0)):
        torch.testing.assert_close(added[:, channel, 6:], torch.full((2, 6, 12), value), atol=1e-5, rtol=0)


def test_batches_are_prepared_one_ahead_in_their_order() -> None:
    raws = [raw(np.eye(2) * scale) for scale in (1, 0.5, 0.25)]
    taken = [threading.Event() for _ in raws]

    def given() -> Iterator[batches.Raw]:
        for event, one in zip(taken, raws, strict=True):
            event.set()
            yield one

    with closing(batches.prepared(given(), CPU)) as ready:
        first = next(ready)
        assert taken[1].wait(10), "the second is on its way"
        assert not taken[2].is_set()
        found = [first, *ready]
    for one, expected in zip(found, raws, strict=True):
        for tensor, by_itself in zip(one, batches.prepare(expected, CPU), strict=True):
            assert torch.equal(tensor, by_itself)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_prepared_by_one_thread_whatever_torch_has(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many it has may change the last bit of a sum; afterwards new threads have as many as before."""
    before, seen = torch.get_num_threads(), list[int]()
    monkeypatch.setattr(batches, "prepare", lambda raw, device: seen.append(torch.get_num_threads()))
    try:
        torch.set_num_threads(threads)
        assert len(list(batches.prepared([raw(np.eye(2))] * 3, CPU))) == 3
        assert seen == [1, 1, 1]
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == threads
    finally:
        torch.set_num_threads(before)


def test_texture_is_stretched_by_cubic_interpolation() -> None:
    coarse = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    height, width = batches.stretching(12, 64), batches.stretching(12, 40)
    expected = torch.nn.functional.interpolate(coarse, (64, 40), mode="bicubic")
    torch.testing.assert_close(height @ coarse @ width.T, expected, atol=1e-5, rtol=0)


def test_the_choroid_has_soft_dark_lines_where_its_sign_changes() -> None:
    plain, textured = raw(np.eye(2)), raw(np.eye(2))
    textured.draws.choroid[..., :2], textured.draws.choroid[..., 2:] = -1.0, 1.0
    added = (batches.prepare(textured, CPU)[0] - batches.prepare(plain, CPU)[0])[0, 0, 6]
    assert added.argmin() in (5, 6)
    assert 0 < added.min() < 0.85 < 0.95 < added[[0, -1]].min()
