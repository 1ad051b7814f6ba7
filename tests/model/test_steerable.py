import copy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.distributed.nn  # its defaults hold the group that is there at the first import: there must be none
from torch import nn

from geseg.model import kernels
from geseg.model.fieldnorm import FieldNorm
from geseg.model.group import Group
from geseg.model.steerable import Fields, PlainLayers, SteerableConv2d, SteerableLayers

GROUPS = ["c2", "c4", "c8", "d1", "d2", "d4", "d8"]
REGULAR, COLOURS = Fields(2, "regular"), Fields(3, "trivial")


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize(("before", "after"), [(COLOURS, REGULAR), (REGULAR, Fields(3, "regular"))])
def test_it_is_the_convolution_of_e2cnn(name: str, kernel_size: int, before: Fields, after: Fields) -> None:
    """The same coefficients give the same function: e2cnn's own layer is the reference."""
    group = Group.parse(name)
    ours = SteerableConv2d(group, before, after, kernel_size, bias=False)
    e2cnn = kernels._mended_e2cnn()
    space = kernels._space(e2cnn, group)
    from e2cnn import nn as enn

    rep = {"trivial": space.trivial_repr, "regular": space.regular_repr}
    types = [enn.FieldType(space, [rep[fields.rep]] * fields.count) for fields in (before, after)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in e2cnn
        theirs = enn.R2Conv(*types, kernel_size, padding=kernel_size // 2, bias=False, initialize=False)
        theirs.weights.data = ours.coefficients.data.reshape(-1).clone()
        x = torch.randn(2, before.count * kernels.size(group, before.rep), 9, 8)
        expected = theirs(enn.GeometricTensor(x, types[0])).tensor
    torch.testing.assert_close(ours(x), expected, atol=2e-5, rtol=0)  # e2cnn's basis is float32
    assert expected.std() > 0.1


def test_the_state_is_the_coefficients_in_both_modes() -> None:
    layer = SteerableConv2d(Group.parse("d4"), REGULAR, REGULAR, 3, bias=True)
    trained = {name: value.clone() for name, value in layer.train().state_dict().items()}
    assert set(trained) == {"coefficients", "bias"} == set(layer.eval().state_dict())
    other = SteerableConv2d(Group.parse("d4"), REGULAR, REGULAR, 3, bias=True).eval()
    other.load_state_dict(trained)
    x = torch.randn(1, 16, 8, 8)
    torch.testing.assert_close(other.train()(x), layer.eval()(x), atol=0, rtol=0)


def test_the_basis_stays_exact_through_changes_of_type() -> None:
    layer = SteerableConv2d(Group.parse("d8"), REGULAR, REGULAR, 3, bias=False)
    exact = kernels.basis(Group.parse("d8"), "regular", "regular", 3).flatten(1)
    back = copy.deepcopy(layer).to(torch.bfloat16).double()
    assert back.basis.dtype == torch.float64
    assert torch.equal(back.basis, exact)


def test_the_output_has_about_the_variance_of_the_input() -> None:
    torch.manual_seed(0)
    for layers in (SteerableLayers(Group.parse("d4")), PlainLayers()):
        conv = layers.conv(Fields(8, "regular"), Fields(16, "regular"), 3, bias=False)
        x = torch.randn(4, 8 * (8 if isinstance(layers, SteerableLayers) else 1), 32, 32).relu()
        assert 0.6 < conv(x)[:, :, 2:-2, 2:-2].square().mean() / x.square().mean() / 2 < 1.6


def test_it_works_under_autocast_and_with_channels_last() -> None:
    layer = SteerableConv2d(Group.parse("d4"), REGULAR, REGULAR, 3, bias=False)
    x = torch.randn(2, 16, 16, 16)
    exact = layer(x)
    last = {"memory_format": torch.channels_last}
    torch.testing.assert_close(copy.deepcopy(layer).to(**last)(x.to(**last)), exact, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.1, rtol=0.05)


def test_it_compiles_as_one_graph() -> None:
    """In a process without the checks of shapes, which the tracer cannot read."""
    code = """
import torch
from geseg.model.group import Group
from geseg.model.steerable import Fields, SteerableConv2d
layer = SteerableConv2d(Group.parse("d4"), Fields(2, "regular"), Fields(2, "regular"), 3, bias=True)
compiled, x = torch.compile(layer, backend="aot_eager", fullgraph=True), torch.randn(1, 16, 8, 8)
torch.testing.assert_close(compiled(x), layer(x))
compiled(x).square().mean().backward()
assert layer.coefficients.grad.abs().max() > 0
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_trains_in_several_processes(tmp_path: Path) -> None:
    """Two processes that each see half a batch take the step of one that sees it all."""
    torch.manual_seed(0)
    layer = SteerableConv2d(Group.parse("d2"), Fields(3, "trivial"), REGULAR, 3, bias=True).double()
    x = torch.randn(4, 3, 6, 6, dtype=torch.double)
    torch.save((layer.state_dict(), x), tmp_path / "start.pt")
    torch.multiprocessing.spawn(_half_a_step, (str(tmp_path),), nprocs=2)
    layer(x).square().mean().backward()
    for rank in range(2):
        gradients = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(gradients, [parameter.grad for parameter in layer.parameters()])


def _half_a_step(rank: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/meeting", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.save(_gradients_of_half(rank, *torch.load(f"{folder}/start.pt")), f"{folder}/{rank}.pt")
    # Who is done closes the connection, on which the other, if the machine is busy, is still at work: so each waits
    # for the other at the place where they met, which needs no connection.
    store.set(f"done {rank}", "")
    store.wait(["done 0", "done 1"])
    dist.destroy_process_group()


def _gradients_of_half(rank: int, state: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor | None]:
    """In a function of its own: what still holds the group at the end can abort the process; see `distributed.join`."""
    layer = SteerableConv2d(Group.parse("d2"), Fields(3, "trivial"), REGULAR, 3, bias=True).double()
    layer.load_state_dict(state)
    parallel = nn.parallel.DistributedDataParallel(layer)
    parallel(x[2 * rank : 2 * rank + 2]).square().mean().backward()
    return [parameter.grad for parameter in layer.parameters()]


def test_gradients_are_those_of_finite_differences() -> None:
    layer = SteerableConv2d(Group.parse("d2"), Fields(1, "regular"), Fields(1, "regular"), 3, bias=True).double()
    x = torch.randn(1, 4, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_field_norm_shares_statistics_over_a_field(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    norm = FieldNorm(3, 4)
    nn.init.normal_(norm.norm.weight)
    nn.init.normal_(norm.norm.bias)
    x = (torch.randn(2, 12, 5, 6) * torch.rand(12)[:, None, None] + 1).to(memory_format=memory_format)
    fields = x.reshape(2, 3, 4, 5, 6)
    mean, var = fields.mean((0, 2, 3, 4)), fields.var((0, 2, 3, 4), unbiased=False)
    shape = (1, 3, 1, 1, 1)
    expected = (fields - mean.view(shape)) / torch.sqrt(var.view(shape) + norm.norm.eps)
    expected = expected * norm.norm.weight.view(shape) + norm.norm.bias.view(shape)
    torch.testing.assert_close(norm(x), expected.reshape(x.shape))
    scale, shift = norm.eval().scale_and_shift()
    torch.testing.assert_close(norm(x), x * scale[:, None, None] + shift[:, None, None])


def test_a_field_of_one_channel_is_ordinary_batch_norm() -> None:
    x = torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(FieldNorm(5, 1)(x), nn.BatchNorm2d(5)(x))


def test_plain_layers_have_all_weights() -> None:
    conv = PlainLayers().conv(Fields(3, "trivial"), Fields(7, "regular"), 3, bias=False)
    assert conv.weight.shape == (7, 3, 3, 3)
