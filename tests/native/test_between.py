import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from geseg.model import unet
from geseg.model.fieldnorm import FieldNorm
from geseg.model.group import Group
from geseg.model.steerable import Fields, Part, SteerableConv2d, Upsampled, whole
from geseg.model.unet import max_pool
from geseg.native import between, convolution, training
from geseg.native.between import Normed

pytestmark = pytest.mark.usefixtures("needs_kernel")
SIZES = ((1, 1), (2, 3), (7, 16), (4, 35), (1, 131), (19, 20))
Pair = tuple[SteerableConv2d, FieldNorm]


def alone(mean: Tensor) -> Tensor:
    return mean


def a_pair(name: str, fields: int = 2) -> tuple[Pair, Pair]:
    """The same convolution and norm on the dense path and on the kernel."""
    torch.manual_seed(0)
    group, of = Group.parse(name), Fields(fields, "regular")
    dense = SteerableConv2d(group, of, of, 3, bias=False).double(), FieldNorm(fields, group.order).double()
    for values in (dense[1].norm.weight, dense[1].norm.bias):
        nn.init.normal_(values)
    conv, norm = copy.deepcopy(dense)
    conv.kernelised = convolution.Convolution(conv)
    return dense, (conv, norm)


def learned(of: Callable[[Tensor], Part], x: Tensor, slope: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
    x = x.detach().clone().requires_grad_()
    y = whole(of(x))
    return (y.detach(), *torch.autograd.grad(y, (x, *more), slope))


def check_same(one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12 * max(1.0, float(b.abs().max())), rtol=0)


def normed(maps: Tensor) -> Normed:
    """Of one field each: some scales are negative, and some fields are all below zero."""
    scale, shift = torch.randn(2, maps.shape[1], dtype=torch.double)
    shift[0] = -1e3
    return Normed(maps, between.factors_of(maps, scale, shift))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fields", [1, 5])
def test_statistics_are_those_of_all_channels_of_a_field(fields: int, size: tuple[int, int]) -> None:
    """Of maps far from zero, too, whose squares would swallow their variance, and of a first row unlike the others."""
    for far in (0, 1e4):
        x = torch.randn(4, 10, *size, dtype=torch.double) + far
        x[:, :, 0] += 100
        mean, var = between.measured(x, fields, alone)
        values = x.view(4, fields, -1).transpose(0, 1).flatten(1)
        torch.testing.assert_close(mean, values.mean(1), atol=1e-10, rtol=1e-12)
        torch.testing.assert_close(var, values.var(1, correction=0), atol=1e-9, rtol=1e-8)


def test_statistics_in_float32() -> None:
    x = torch.randn(2, 3, 64, 200, generator=torch.Generator().manual_seed(0)) * 0.1 + 30
    exact = x.double().transpose(0, 1).flatten(1)
    mean, var = between.measured(x, 3, alone)
    torch.testing.assert_close(mean, exact.mean(1), atol=0, rtol=1e-7)
    torch.testing.assert_close(var, exact.var(1, correction=0), atol=0, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["d1", "c4", "d4", "d8"])
def test_norm_and_relu_are_those_of_the_dense_path(name: str, size: tuple[int, int]) -> None:
    """With the running statistics."""
    dense, kernel = a_pair(name)
    x = torch.randn(3, 2 * Group.parse(name).order, *size, dtype=torch.double)
    slope, found = torch.randn_like(x), []
    for rectified, pair in ((unet.rectified, dense), (training.rectified, kernel)):
        parameters = [*pair[0].parameters(), *pair[1].parameters()]
        found.append(learned(lambda x, r=rectified, p=pair: r(*p, [x]), x, slope, *parameters))
    check_same(*found)
    for a, b in zip(kernel[1].state_dict().values(), dense[1].state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)
    assert isinstance(training.rectified(*kernel, [x]), Normed)


@pytest.mark.parametrize("upsampled", [False, True])
def test_what_is_behind_a_norm_is_read_by_convolutions_too(upsampled: bool) -> None:
    """Whose other part is a map as it is; columns and rows beyond the edge are zero, and not what zero becomes."""
    dense, kernel = a_pair("d4")
    for height, width in ((2, 2), (6, 18), (20, 150)):
        low = torch.randn(2, 8, height // 2, width // 2, dtype=torch.double)
        part = normed(low if upsampled else torch.randn(2, 8, height, width, dtype=torch.double))
        x, slope = (torch.randn(2, n, height, width, dtype=torch.double) for n in (8, 16))
        found = []
        for conv, read in ((dense[0], Normed.full), (kernel[0], lambda part: part)):
            of = Normed(part.maps.detach().clone().requires_grad_(), part.factors)
            first = read(of)
            y = conv(Upsampled(first) if upsampled else first, x)
            found.append((y.detach(), *torch.autograd.grad(y, (of.maps, conv.coefficients), slope)))
        check_same(*found)


def test_gradients_are_those_of_what_it_computes() -> None:
    _, (conv, norm) = a_pair("d2")
    x = torch.randn(2, 8, 3, 5, dtype=torch.double, requires_grad=True)
    torch.autograd.gradcheck(lambda x: whole(training.rectified(conv, norm, [x])), (x,), eps=1e-6, atol=1e-7)


def test_processes_share_their_statistics() -> None:
    dense, kernel = a_pair("c4")
    for _, norm in (dense, kernel):
        norm.processes, norm.over_processes = 2, lambda t: 0.75 * t
    x, slope = (torch.randn(2, 8, 6, 7, dtype=torch.double) for _ in range(2))
    of_dense = learned(lambda x: unet.rectified(*dense, [x]), x, slope, *dense[1].parameters())
    check_same(learned(lambda x: training.rectified(*kernel, [x]), x, slope, *kernel[1].parameters()), of_dense)


def test_in_evaluation_torch_does_it() -> None:
    dense, (conv, norm) = a_pair("c4")
    x = torch.randn(2, 8, 6, 7, dtype=torch.double)
    found = training.rectified(conv, norm.eval(), [x])
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found, unet.rectified(dense[0], dense[1].eval(), [x]))


def test_what_the_kernel_does_not_compute_with_is_left_to_torch() -> None:
    dense, kernel = ((conv.bfloat16(), norm.bfloat16()) for conv, norm in a_pair("c4"))
    x = torch.randn(2, 8, 6, 7).bfloat16()
    found = training.rectified(*kernel, [x])
    assert isinstance(found, Tensor)
    assert torch.equal(found, unet.rectified(*dense, [x]))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_behind_a_norm_is_pooled(size: tuple[int, int]) -> None:
    """Its gradient goes where that of the computed maps goes, and to the first where all are zero."""
    for kind in (torch.float, torch.double):
        part = normed(torch.randn(3, 5, 2 * size[0], 2 * size[1], dtype=kind))
        slope = torch.randn(3, 5, *size, dtype=kind)
        found = learned(lambda x, f=part.factors: between.pool(Normed(x, f)), part.maps, slope)
        for a, b in zip(found, learned(max_pool, part.full(), slope), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("size", SIZES)
def test_pooling_is_that_of_torch_also_where_several_are_the_largest(size: tuple[int, int]) -> None:
    """Behind a ReLU most of them are zero."""
    x = torch.randint(-2, 3, (3, 5, 2 * size[0], 2 * size[1])).float().relu()
    slope = torch.randn(3, 5, *size)
    for one, other in zip(learned(between.pool, x, slope), learned(max_pool, x, slope), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", [(5, 8), (6, 7), (9, 9)])
def test_pooling_leaves_out_an_odd_row_or_column(size: tuple[int, int]) -> None:
    part = normed(torch.randn(2, 3, *size))
    assert torch.equal(between.pool(part), max_pool(part.full()))
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
