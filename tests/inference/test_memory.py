import numpy as np
import pytest

from geseg.inference import tiling
from geseg.inference.memory import Halving, is_out_of_memory


class Small:
    """A net that takes `most` tiles at once."""

    def __init__(self, most: int, error: Exception) -> None:
        self.most, self.error, self.sizes = most, error, list[int]()

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        self.sizes.append(len(tiles))
        if len(tiles) > self.most:
            raise self.error
        return tiles[:, 0]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 1"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_batches_are_halved_until_they_fit_and_stay_so(error: Exception) -> None:
    small = Small(3, error)
    net, tiles = Halving(small), np.random.default_rng(0).random((11, 2, 4, 6))
    np.testing.assert_array_equal(net(tiles), tiles[:, 0])
    assert small.sizes == [11, 5, 2, 2, 2, 2, 2, 1]
    assert net.largest == 2
    small.sizes.clear()
    np.testing.assert_array_equal(net(tiles), tiles[:, 0])
    assert max(small.sizes) == 2, "it does not try again what did not fit"


def test_nothing_changes_where_memory_suffices() -> None:
    small = Small(99, MemoryError())
    net = Halving(small)
    image = np.random.default_rng(0).random((3, 300, 200)).astype(np.float32)
    np.testing.assert_array_equal(tiling.segment(image, net, 2), tiling.segment(image, Small(99, MemoryError()), 2))
    assert net.largest is None


def test_other_errors_and_a_tile_that_is_too_large_are_passed_on() -> None:
    with pytest.raises(ValueError, match="shape"):
        Halving(Small(0, ValueError("wrong shape")))(np.zeros((4, 3, 2, 2)))
    with pytest.raises(MemoryError):
        Halving(Small(0, MemoryError()))(np.zeros((4, 3, 2, 2)))
    assert not is_out_of_memory(ValueError("wrong shape"))
