import functools
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from geseg.model import bases, kernels
from geseg.model.group import Group
from geseg.model.steerable import Fields, SteerableConv2d
from geseg.native import layer as layers
from geseg.native import library
from geseg.native.layer import Before, Input, SteerableLayer, map_of
from geseg.native.plan import Plan, factorise

pytestmark = pytest.mark.usefixtures("needs_kernel")
SETS = range(1, 1 + library.best_set())
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
"""Of results whose largest values are some tens."""


@functools.cache
def a_conv(name: str, rep: bases.Rep, in_fields: int, out_fields: int, kernel_size: int = 3) -> SteerableConv2d:
    torch.manual_seed(0)
    fields = Fields(in_fields, rep), Fields(out_fields, "regular")
    conv = SteerableConv2d(Group.parse(name), *fields, kernel_size, bias=True).double()
    assert conv.bias is not None
    torch.nn.init.normal_(conv.bias)
    return conv.requires_grad_(False)


@functools.cache
def a_plan(name: str, rep: bases.Rep, kernel_size: int) -> Plan:
    group = Group.parse(name)
    return factorise(group, kernels.basis(group, rep, "regular", kernel_size).numpy())


def a_layer(conv: SteerableConv2d, group: str, dtype: type = np.float64, relu: bool = True) -> SteerableLayer:
    assert conv.bias is not None
    plan = a_plan(group, "trivial" if conv.in_size == 1 else "regular", conv.kernel_size)
    return SteerableLayer(plan, conv.coefficients.numpy(), conv.bias.numpy(), dtype, relu)


def images(*shape: int, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def run(
    layer: SteerableLayer, inputs: object, shape: tuple[int, ...], dtype: type = np.float64, **kind: int
) -> np.ndarray:
    out = np.full(shape, np.nan, dtype)
    layer(inputs, (shape[0], *shape[2:]), map_of(out), **kind)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize(("rep", "kernel_size"), [("trivial", 3), ("regular", 3), ("regular", 1), ("regular", 5)])
@pytest.mark.parametrize("name", bases.GROUPS)
def test_it_is_the_dense_convolution(
    name: str, rep: bases.Rep, kernel_size: int, instructions: int, dtype: type
) -> None:
    conv = a_conv(name, rep, 3, 7, kernel_size)
    layer = a_layer(conv, name, dtype)
    for height, width in ((1, 1), (6, 17), (3, 203)):
        x = images(2, 3 * conv.in_size, height, width, dtype=dtype)
        expected = conv(torch.from_numpy(x.astype(np.float64))).relu().numpy()
        found = run(layer, [Input(map_of(x), 3)], expected.shape, dtype, instructions=instructions)
        np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize(("name", "fields"), [("c4", 29), ("c8", 9), ("d4", 19), ("d8", 9)])
def test_fields_are_computed_a_few_at_a_time(name: str, fields: int, instructions: int) -> None:
    conv, x = a_conv(name, "regular", fields, 4), images(1, fields * Group.parse(name).order, 6, 230)
    expected = conv(torch.from_numpy(x)).relu().numpy()
    found = run(a_layer(conv, name), [Input(map_of(x), fields)], expected.shape, instructions=instructions)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[np.float64])


@pytest.mark.parametrize("name", ["c8", "d4"])
def test_threads_and_strips_change_not_a_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conv = a_conv(name, "regular", 3, 4)
    layer, x = a_layer(conv, name), images(3, 24, 133, 310)
    one = run(layer, [Input(map_of(x), 3)], (3, 32, 133, 310))
    np.testing.assert_array_equal(run(layer, [Input(map_of(x), 3)], one.shape, threads=3), one)
    monkeypatch.setattr(layers, "MOST_SCRATCH", 1)
    monkeypatch.setattr(layers, "FEWEST_LINES", 6)
    assert layer._strip(310, 24) == 80
    np.testing.assert_array_equal(run(layer, [Input(map_of(x), 3)], one.shape, threads=2), one)


def test_a_layer_that_ran_alone_feeds_another_one() -> None:
    """What it wrote then may be gone, and is not written again."""
    first, second = a_conv("d4", "regular", 5, 2), a_conv("d4", "regular", 2, 3)
    one, two, x = a_layer(first, "d4"), a_layer(second, "d4"), images(1, 40, 6, 34)
    alone = run(one, [Input(map_of(x), 5)], (1, 16, 6, 34))
    kept = np.full_like(alone, np.nan)
    one([Input(map_of(x), 5)], (1, 6, 34), map_of(kept))
    kept[:] = np.nan
    found = run(two, Before(one, [Input(map_of(x), 5)]), (1, 24, 6, 34))
    np.testing.assert_allclose(found, second(torch.from_numpy(alone)).relu().numpy(), atol=1e-11)
    assert np.isnan(kept).all()


@pytest.mark.parametrize("scratch", [1, layers.MOST_SCRATCH])
@pytest.mark.parametrize("shape", [(2, 2), (6, 34), (34, 250)])
def test_it_does_what_a_block_of_the_net_does(
    shape: tuple[int, int], scratch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two parts, one of them upsampled; a layer that feeds the next one row by row; pooling, and a head."""
    monkeypatch.setattr(layers, "MOST_SCRATCH", scratch)
    monkeypatch.setattr(layers, "FEWEST_LINES", 6)
    height, width = shape
    skip, low = images(2, 16, height, width), images(2, 24, height // 2, width // 2)
    first, second = a_conv("d4", "regular", 5, 2), a_conv("d4", "regular", 2, 3)
    up = F.interpolate(torch.from_numpy(low), scale_factor=2.0, mode="bilinear", align_corners=False)
    expected = second(first(torch.from_numpy(skip), up).relu()).relu()

    one, two = a_layer(first, "d4"), a_layer(second, "d4")
    weights = images(24)
    two.set_head(weights, 0.5)
    out, pooled, logits = (np.full((2, c, height // by, width // by), np.nan) for c, by in ((24, 1), (24, 2), (1, 1)))
    inputs = Before(one, [Input(map_of(skip), 2), Input(map_of(low), 3, upsampled=True)])
    for kept, threads in itertools.product((out, None), (1, 2)):
        small = None if kept is None else map_of(pooled)
        two(inputs, (2, *shape), None if kept is None else map_of(out), small, map_of(logits), threads=threads)
        head = np.einsum("bchw,c->bhw", expected.numpy(), weights)[:, None] + 0.5
        np.testing.assert_allclose(logits, head, atol=1e-11)
        logits[:] = np.nan
    np.testing.assert_allclose(out, expected.numpy(), atol=1e-11)
    np.testing.assert_array_equal(pooled, F.max_pool2d(torch.from_numpy(out), 2).numpy())


def test_maps_lie_in_memory_as_they_like() -> None:
    conv = a_conv("d4", "regular", 3, 7)
    x = np.zeros((4, 9, 40, 30)).transpose(0, 2, 1, 3)[::2, 5:29, :, 3:25]
    x[:] = images(*x.shape)
    found = run(a_layer(conv, "d4", relu=False), [Input(map_of(x), 3)], (2, 56, 9, 22))
    np.testing.assert_allclose(found, conv(torch.from_numpy(x.copy())).numpy(), atol=1e-12)
    with pytest.raises(ValueError, match="do not lie side by side"):
        map_of(x[..., ::2])


def test_what_is_not_a_number_is_not_hidden() -> None:
    conv, x = a_conv("d4", "regular", 3, 7), images(1, 24, 9, 20)
    x[0, 0, 4, 5] = np.nan
    found = run(a_layer(conv, "d4"), [Input(map_of(x), 3)], (1, 56, 9, 20))
    expected = np.zeros((9, 20), bool)
    expected[3:6, 4:7] = True
    assert (np.isnan(found).any((0, 1)) == expected).all()
