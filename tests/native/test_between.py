import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from geseg.model.fieldnorm import FieldNorm
from geseg.model.unet import max_pool
from geseg.native import between

pytestmark = pytest.mark.usefixtures("needs_kernel")
SIZES = ((1, 1), (2, 3), (7, 16), (4, 35), (1, 131))


def a_norm(fields: int, per: int) -> tuple[FieldNorm, FieldNorm]:
    """The same norm on the dense path and on the kernel."""
    torch.manual_seed(0)
    dense = FieldNorm(fields, per).double()
    for values in (dense.norm.weight, dense.norm.bias):
        torch.nn.init.normal_(values)
    kernel = copy.deepcopy(dense)
    kernel.kernelised = between.norm_relu
    return dense, kernel


def learned(of: Callable[[Tensor], Tensor], x: Tensor, slope: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
    x = x.detach().clone().requires_grad_()
    y = of(x)
    return (y.detach(), *torch.autograd.grad(y, (x, *more), slope))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("per", [2, 4, 16])
def test_norm_and_relu_are_those_of_the_dense_path(per: int, size: tuple[int, int]) -> None:
    """Of maps far from zero, too, whose squares would swallow their variance; with the running statistics."""
    dense, kernel = a_norm(3, per)
    for far in (0, 1e4):
        x = torch.randn(4, 3 * per, *size, dtype=torch.double) + far
        slope = torch.randn_like(x)
        one, other = (learned(n.rectified, x, slope, *n.parameters()) for n in (dense, kernel))
        for a, b in zip(other, one, strict=True):
            torch.testing.assert_close(a, b, atol=1e-9 if far else 1e-12, rtol=1e-7 if far else 1e-10)
    for a, b in zip(kernel.state_dict().values(), dense.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_its_gradients_are_those_of_what_it_computes() -> None:
    _, kernel = a_norm(2, 4)
    x = torch.randn(2, 8, 3, 5, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(kernel.rectified, (x,), eps=1e-6, atol=1e-7)


def test_processes_share_their_statistics() -> None:
    dense, kernel = a_norm(2, 4)
    for norm in (dense, kernel):
        norm.processes, norm.over_processes = 2, lambda t: 0.75 * t
    x, slope = (torch.randn(2, 8, 6, 7, dtype=torch.double) for _ in range(2))
    one, other = (learned(n.rectified, x, slope, *n.parameters()) for n in (dense, kernel))
    for a, b in zip(other, one, strict=True):
        torch.testing.assert_close(a, b)


def test_in_evaluation_torch_does_it() -> None:
    dense, kernel = a_norm(2, 4)
    x = torch.randn(2, 8, 6, 7, dtype=torch.double)
    assert torch.equal(kernel.eval().rectified(x), F.relu(dense.eval()(x)))


def test_what_the_kernel_does_not_compute_with_is_left_to_torch() -> None:
    dense, kernel = (norm.bfloat16() for norm in a_norm(2, 4))
    x = torch.randn(2, 8, 6, 7).bfloat16()
    assert torch.equal(kernel.rectified(x), dense.rectified(x))


@pytest.mark.parametrize("size", SIZES)
def test_pooling_is_that_of_torch_also_where_several_are_the_largest(size: tuple[int, int]) -> None:
    """Behind a ReLU most of them are zero."""
    x = torch.randint(-2, 3, (3, 5, 2 * size[0], 2 * size[1])).float().relu()
    slope = torch.randn(3, 5, *size)
    for one, other in zip(learned(between.pool, x, slope), learned(max_pool, x, slope), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", [(5, 8), (6, 7), (9, 9)])
def test_pooling_leaves_out_an_odd_row_or_column(size: tuple[int, int]) -> None:
    x, slope = torch.randn(2, 3, *size), torch.randn(2, 3, size[0] // 2, size[1] // 2)
    for one, other in zip(learned(between.pool, x, slope), learned(max_pool, x, slope), strict=True):
        assert torch.equal(one, other)


def test_pooling_keeps_what_is_not_a_number() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    x[0, 0, 1, 2] = torch.nan
    torch.testing.assert_close(between.pool(x), max_pool(x), equal_nan=True)


@pytest.mark.parametrize("change", [lambda x: x.bfloat16(), lambda x: x.contiguous(memory_format=torch.channels_last)])
def test_what_comes_in_another_way_is_pooled_as_well(change: Callable[[Tensor], Tensor]) -> None:
    x = change(torch.randn(2, 5, 6, 8))
    assert torch.equal(between.pool(x), max_pool(x))
