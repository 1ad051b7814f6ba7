import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from geseg.model.group import Group
from geseg.model.steerable import Fields, SteerableConv2d, Upsampled
from geseg.native.between import new_maps
from geseg.native.head import Head


def a_head(name: str, fields: int = 3) -> SteerableConv2d:
    torch.manual_seed(0)
    regular, one = Fields(fields, "regular"), Fields(1, "trivial")
    head = SteerableConv2d(Group.parse(name), regular, one, 1, bias=True).double()
    torch.nn.init.normal_(head.bias)  # type: ignore[arg-type]
    return head


def by_rows(maps: Tensor) -> Tensor:
    return new_maps(maps, maps.shape).copy_(maps)


@pytest.mark.parametrize("lie", [Tensor.contiguous, by_rows])
@pytest.mark.parametrize("name", ["c2", "d1", "d4", "d8"])
def test_it_learns_as_on_the_dense_path(name: str, lie: Callable[[Tensor], Tensor]) -> None:
    dense = a_head(name)
    other = copy.deepcopy(dense)
    other.kernelised = Head(other)
    for images, height, width in ((1, 1, 1), (2, 5, 7), (3, 16, 33)):
        x = lie(torch.randn(images, dense.coefficients.shape[1] * dense.in_size, height, width, dtype=torch.double))
        x.requires_grad_()
        slope = torch.randn(images, 1, height, width, dtype=torch.double)
        found = []
        for head in (dense, other):
            y = head(x)
            found.append((y.detach(), *torch.autograd.grad(y, (x, *head.parameters()), slope)))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(b, a)


def test_its_gradients_are_those_of_what_it_computes() -> None:
    head = a_head("d2", fields=2)
    x = torch.randn(2, 8, 3, 4, dtype=torch.double, requires_grad=True)
    tensors = (head.coefficients, head.bias, x)
    assert torch.autograd.gradcheck(lambda c, b, x: Head(head)(c, b, [x]), tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_it_leaves_to_torch(dtype: torch.dtype) -> None:
    head = a_head("d4").to(dtype)
    x = torch.randn(1, 24, 4, 4, dtype=dtype)
    assert Head(head).can(head.coefficients, [x]) == (dtype == torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert not Head(head).can(head.coefficients, [x])
    assert not Head(head).can(head.coefficients, [x, x]), "channels in two parts"
    assert not Head(head).can(head.coefficients, [Upsampled(x)])
