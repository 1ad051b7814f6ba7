from collections.abc import Iterator

import pytest
import torch

from geseg.native import workers


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_kernel_has_the_threads_that_torch_gives_up() -> None:
    with workers.alone():
        assert (workers.count(), torch.get_num_threads()) == (3, 1)
        with workers.alone():
            assert (workers.count(), torch.get_num_threads()) == (3, 1)
        assert (workers.count(), torch.get_num_threads()) == (3, 1)
    assert (workers.count(), torch.get_num_threads()) == (3, 3)


def test_torch_has_them_again_after_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), workers.alone():
        raise KeyboardInterrupt
    assert (workers.count(), torch.get_num_threads()) == (3, 3)
