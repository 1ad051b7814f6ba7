import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from geseg.model import bases
from geseg.model.group import Group
from geseg.model.losses import dice_bce
from geseg.model.steerable import Fields, Part, SteerableConv2d, Upsampled
from geseg.model.unet import UNet, build
from geseg.native import convolution, library, training

pytestmark = pytest.mark.usefixtures("needs_kernel")
GROUPS = bases.GROUPS


def a_conv(
    name: str, rep: bases.Rep = "regular", kernel_size: int = 3, bias: bool = False, fields: int = 3
) -> SteerableConv2d:
    torch.manual_seed(0)
    conv = SteerableConv2d(Group.parse(name), Fields(fields, rep), Fields(2, "regular"), kernel_size, bias).double()
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias)
    return conv


def learned(net: torch.nn.Module, parts: Sequence[Part], slope: Tensor) -> list[Tensor]:
    """The output, and the gradients of all that has one, with those of the parts last."""
    tensors = [part.low if isinstance(part, Upsampled) else part for part in parts]
    leaves = [*net.parameters(), *(tensor for tensor in tensors if tensor.requires_grad)]
    y = net(*parts)
    return [y.detach(), *torch.autograd.grad(y, leaves, slope)]


def check_same(one: Sequence[Tensor], other: Sequence[Tensor], tolerance: float = 1e-11) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, atol=tolerance * float(b.abs().max()), rtol=0)


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel did."""
    done = list[str]()
    for name in ("run", "learn", "halve"):

        def recorded(*arguments: object, of: str = name, function: object = getattr(library, name)) -> object:
            done.append(of)
            return function(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(library, name, recorded)
    return done


@pytest.mark.parametrize(("rep", "kernel_size"), [("trivial", 3), ("regular", 3), ("regular", 1), ("regular", 5)])
@pytest.mark.parametrize("name", GROUPS)
def test_gradients_are_those_of_the_dense_path(name: str, rep: bases.Rep, kernel_size: int, uses: list[str]) -> None:
    dense = a_conv(name, rep, kernel_size, bias=True)
    kernel = copy.deepcopy(dense)
    kernel.kernelised = convolution.Convolution(kernel)
    for height, width in ((1, 1), (6, 17), (33, 131)):
        x = torch.randn(3, 3 * dense.in_size, height, width, dtype=torch.double, requires_grad=rep == "regular")
        slope = torch.randn(3, 2 * dense.out_size, height, width, dtype=torch.double)
        check_same(learned(kernel, [x], slope), learned(dense, [x], slope))
    assert uses == ["run", "learn"] * 3, "the gradient of the input comes with that of the weights"


@pytest.mark.parametrize(("name", "fields"), [("c4", 29), ("c8", 9), ("d4", 19), ("d8", 9)])
def test_gradients_of_fields_that_come_a_few_at_a_time(name: str, fields: int, uses: list[str]) -> None:
    dense = a_conv(name, fields=fields)
    kernel = copy.deepcopy(dense)
    kernel.kernelised = convolution.Convolution(kernel)
    order = Group.parse(name).order
    x = torch.randn(2, fields * order, 6, 230, dtype=torch.double, requires_grad=True)
    slope = torch.randn(2, 2 * order, 6, 230, dtype=torch.double)
    check_same(learned(kernel, [x], slope), learned(dense, [x], slope))
    assert uses == ["run", "learn"], "the kernel did it"


@pytest.mark.parametrize("upsampled", [(False, True), (True, False), (True, True)])
def test_parts_of_which_some_are_upsampled(upsampled: tuple[bool, bool], uses: list[str]) -> None:
    """Some wider than what is added up at a time; of one row, of one column."""
    dense = a_conv("d4")
    kernel = copy.deepcopy(dense)
    kernel.kernelised = convolution.Convolution(kernel)
    for height, width in ((1, 1), (1, 300), (7, 1), (9, 128), (20, 131)):
        parts = list[Part]()
        for fields, half in zip((2, 1), upsampled, strict=True):
            shape = (height, width) if half else (2 * height, 2 * width)
            tensor = torch.randn(2, 8 * fields, *shape, dtype=torch.double, requires_grad=True)
            parts.append(Upsampled(tensor) if half else tensor)
        slope = torch.randn(2, 16, 2 * height, 2 * width, dtype=torch.double)
        check_same(learned(kernel, parts, slope), learned(dense, parts, slope))
    assert uses.count("halve") == 5 * sum(upsampled)


def test_parts_of_different_sizes_are_left_to_torch(uses: list[str]) -> None:
    """Which says so: upsampled, a map of 4 rows is not beside one of 9."""
    conv = a_conv("d4")
    conv.kernelised = convolution.Convolution(conv)
    parts = [torch.randn(1, 16, 9, 9, dtype=torch.double), Upsampled(torch.randn(1, 8, 4, 4, dtype=torch.double))]
    with pytest.raises(RuntimeError, match="must match the size of tensor"):
        conv(*parts)
    assert not uses


@pytest.mark.parametrize(
    ("weights", "needed", "how"),
    [(False, (True, True), "run"), (True, (True, False), "learn"), (True, (False, False), "learn")],
)
def test_some_gradients_are_not_asked_for(weights: bool, needed: tuple[bool, bool], how: str, uses: list[str]) -> None:
    dense = a_conv("d4")
    dense.coefficients.requires_grad_(weights)
    kernel = copy.deepcopy(dense)
    kernel.kernelised = convolution.Convolution(kernel)
    parts = [
        torch.randn(1, 8 * n, 6, 20, dtype=torch.double, requires_grad=of) for n, of in zip((2, 1), needed, strict=True)
    ]
    slope, found = torch.randn(1, 16, 6, 20, dtype=torch.double), []
    for conv in (kernel, dense):
        y = conv(*parts)
        leaves = [tensor for tensor in (conv.coefficients, *parts) if tensor.requires_grad]
        found.append([y.detach(), *torch.autograd.grad(y, leaves, slope)])
    check_same(*found)
    assert uses == ["run", how, how]


@pytest.mark.parametrize("name", ["c4", "d4"])
def test_gradients_are_those_of_what_it_computes(name: str) -> None:
    """Numerically, with bias and a part that is upsampled."""
    conv = a_conv(name, bias=True)
    conv.kernelised = convolution.Convolution(conv)
    x, low = (torch.randn(1, n * conv.in_size, *s, dtype=torch.double) for n, s in ((2, (4, 6)), (1, (2, 3))))
    tensors = [conv.coefficients, conv.bias, x, low]

    def run(coefficients: Tensor, bias: Tensor, x: Tensor, low: Tensor) -> Tensor:
        assert conv.kernelised is not None
        return conv.kernelised(coefficients, bias, [x, Upsampled(low)])

    inputs = tuple(t.detach().requires_grad_() for t in tensors if t is not None)
    torch.autograd.gradcheck(run, inputs, eps=1e-5, atol=1e-7)


@pytest.fixture
def net() -> UNet:
    torch.manual_seed(0)
    return build(Group.parse("d4"), (2, 3, 4)).train()


def loss_of(net: UNet, side: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(2, 3, side, side + 8, generator=generator).to(next(net.parameters()))
    label = (torch.rand(2, 1, side, side + 8, generator=generator) < 0.2).to(image)
    loss: Tensor = dice_bce(net(image), label, torch.ones_like(label))
    return loss


def test_a_net_learns_as_on_the_dense_path(net: UNet, uses: list[str]) -> None:
    """The same weights after 20 steps, in float64; a file of either goes on with the other."""
    dense, kernel = net.double(), copy.deepcopy(net)
    assert training.attach(kernel)
    optimisers = [torch.optim.AdamW(of.parameters(), 0.01) for of in (dense, kernel)]
    for _ in range(20):
        for of, optimiser in zip((dense, kernel), optimisers, strict=True):
            optimiser.zero_grad()
            loss_of(of).backward()
            optimiser.step()
    check_same(list(kernel.state_dict().values()), list(dense.state_dict().values()), 1e-8)
    assert list(kernel.state_dict()) == list(dense.state_dict())
    assert uses.count("learn") == 20 * 12, "all convolutions but the head; two have inputs in two parts"


def test_copies_learn_apart(net: UNet) -> None:
    """The averaged weights are a copy, and are run between a forward and its backward at times."""
    dense, kernel = net.double(), copy.deepcopy(net)
    training.attach(kernel)
    other = copy.deepcopy(kernel)
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    loss = loss_of(kernel)
    loss_of(other)
    loss.backward()
    loss_of(dense).backward()
    check_same([p.grad for p in kernel.parameters()], [p.grad for p in dense.parameters()])  # type: ignore[misc]


def test_float32_is_as_near_to_the_truth_as_the_dense_path(net: UNet) -> None:
    kernel, exact = copy.deepcopy(net), copy.deepcopy(net).double()
    training.attach(kernel)
    errors = []
    for of in (exact, net, kernel):
        loss_of(of).backward()
        errors.append(max(float((p.grad - q.grad).abs().max() / q.grad.abs().max())  # type: ignore[operator, union-attr]
                          for p, q in zip(of.parameters(), exact.parameters(), strict=True)))  # fmt: skip
    assert errors[0] == 0
    assert errors[2] < max(2 * errors[1], 1e-4)


def test_threads_change_not_a_bit(net: UNet) -> None:
    training.attach(net)
    grads, before = [], torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            net.zero_grad()
            x = torch.randn(1, 16, 50, 60, generator=torch.Generator().manual_seed(0), requires_grad=True)
            grads.append(learned(net.down[1].convs[0], [x], torch.ones(1, 24, 50, 60)))
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*grads, strict=True):
        assert torch.equal(one, three)


@pytest.mark.parametrize(
    ("rep", "dtype", "autocast", "slope"),
    [
        ("regular", torch.bfloat16, False, True),
        ("regular", torch.float32, True, True),
        ("trivial", torch.float32, False, True),
    ],
)
def test_what_it_leaves_to_torch(
    rep: bases.Rep, dtype: torch.dtype, autocast: bool, slope: bool, uses: list[str]
) -> None:
    conv = a_conv("d4", rep).to(dtype)
    conv.kernelised = convolution.Convolution(conv)
    x = torch.randn(1, 3 * conv.in_size, 5, 6, dtype=dtype, requires_grad=slope)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        conv(x).sum().backward()
    assert x.grad is not None
    assert not uses


def test_attach_says_whether_it_helps(net: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not training.attach(build(Group.parse("c1"), (2, 3)))
    monkeypatch.setattr(library, "best_set", lambda: 1)
    assert not training.attach(net)
    assert all(m.kernelised is None for m in net.modules() if isinstance(m, SteerableConv2d))
