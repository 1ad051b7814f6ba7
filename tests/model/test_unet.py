from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from geseg.errors import ConfigError
from geseg.model.group import SYMMETRIES, Element, Group
from geseg.model.restrict import restrict
from geseg.model.unet import UNet, build, count_parameters, find_widths, parameters_of

Untrained = Callable[[str], UNet]
GROUPS = ["c2", "c4", "c8", "d1", "d2", "d4", "d8"]


def noise(h: int, w: int, seed: int) -> Tensor:
    return torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.parametrize("name", GROUPS)
@settings(max_examples=20)
@given(h=st.integers(1, 6), w=st.integers(1, 6), seed=st.integers(0, 2**16))
def test_segmentation_moves_with_the_image(untrained: Untrained, name: str, h: int, w: int, seed: int) -> None:
    net, image = untrained(name), noise(4 * h, 4 * w, seed)
    for element in Group.parse(name).exact_elements:
        torch.testing.assert_close(net(element(image)), element(net(image)), atol=1e-9, rtol=0)
    assert net(noise(16, 16, seed)).std() > 1e-2


@pytest.mark.parametrize(
    ("name", "element"),
    [("c1", e) for e in SYMMETRIES[1:]]
    + [("c4", Element(0, True)), ("c2", Element(1, False)), ("d1", Element(1, False)), ("d2", Element(1, False))],
)
def test_no_group_promises_more_than_its_elements(untrained: Untrained, name: str, element: Element) -> None:
    """Keeps the test above honest: a network that ignores its input would pass it."""
    net, image = untrained(name), noise(16, 16, 0)
    assert (net(element(image)) - element(net(image))).abs().max() > 1e-2


@pytest.mark.parametrize("name", ["c1", "c8", "d4"])
def test_it_still_commutes_while_training(name: str) -> None:
    """One element for the whole batch; the statistics of a batch do not change when all of it is turned."""
    torch.manual_seed(0)
    net, image = build(Group.parse(name), (1, 2)).double().train(), noise(8, 8, 0).repeat(2, 1, 1, 1)
    for element in Group.parse(name).exact_elements:
        torch.testing.assert_close(net(element(image)), element(net(image)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["c1", *GROUPS])
@pytest.mark.parametrize("parameters", [20_000, 62_500])
def test_widths_for_a_number_of_parameters(name: str, parameters: int) -> None:
    group = Group.parse(name)
    widths = find_widths(group, parameters)
    assert list(widths) == sorted(widths)
    assert abs(parameters_of(group, widths) - parameters) <= 0.02 * parameters
    assert count_parameters(build(group, widths)) == parameters_of(group, widths)


def test_too_few_parameters_for_a_group() -> None:
    with pytest.raises(ConfigError, match=r"no widths give group d8 300 parameters within 2 % \(closest \d+\)"):
        find_widths(Group.parse("d8"), 300)


@pytest.mark.parametrize("widths", [(), (3, 0, 2)])
def test_impossible_widths(widths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="must be positive whole numbers"):
        build(Group.parse("d4"), widths)


@pytest.mark.parametrize("name", ["c1", *GROUPS])
def test_a_restricted_net_is_the_same_function_on_plain_layers(untrained: Untrained, name: str) -> None:
    net, image = untrained(name), noise(24, 16, 3)
    plain = restrict(net)
    assert {type(module).__module__.split(".")[0] for module in plain.modules()} <= {"torch", "geseg"}
    assert not [module for module in plain.modules() if type(module).__name__ in ("SteerableConv2d", "FieldNorm")]
    torch.testing.assert_close(plain(image), net(image), atol=1e-10, rtol=0)
    single = restrict(build(Group.parse(name), (2, 3)).eval())
    assert single(image.float()).dtype == torch.float32


def test_restricting_in_float32_changes_probabilities_by_less_than_1e5(untrained: Untrained) -> None:
    import copy

    net, image = copy.deepcopy(untrained("d4")).float(), noise(64, 64, 0).float()
    with torch.no_grad():
        difference = torch.sigmoid(restrict(net)(image)) - torch.sigmoid(net(image))
    assert difference.abs().max() < 1e-5


def test_the_cost_that_the_readme_names() -> None:
    """A d4 net does 10.5 times the multiplications of the plain net of as many parameters, pixel for pixel."""
    counts = []
    for name in ("d4", "c1"):
        plain = restrict(build(Group.parse(name), find_widths(Group.parse(name), 62_500)).eval())
        multiplications: list[int] = []
        for module in plain.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(
                    lambda conv, _, out, seen=multiplications: seen.append(conv.weight.numel() * out[0, 0].numel())
                )
        plain(torch.zeros(1, 3, 32, 32))
        counts.append(sum(multiplications))
    assert round(counts[0] / counts[1], 1) == 10.5


@pytest.mark.parametrize("name", ["c1", *GROUPS])
@pytest.mark.parametrize("fields", [1, 2, 3, 8])
def test_the_head_begins_with_fields_for_and_against_a_vessel(name: str, fields: int) -> None:
    """All of one sign, as chance has it in a quarter of the nets of three fields, a net hardly learns."""
    head = build(Group.parse(name), (fields, 2)).head
    (weight,) = (parameter for key, parameter in head.named_parameters() if key != "bias")
    assert weight.sign().flatten().tolist() == ([1.0, -1.0] * fields)[: weight.shape[1]]
    assert torch.sigmoid(head.bias).item() == pytest.approx(0.12)
