"""The benchmarks compare like with like, and their table says what was measured."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from geseg.model.unet import count_parameters
from geseg.native import library
from tests.benchmarks import child, predicting, results, timing, training
from tests.benchmarks.photographs import write_folder
from tests.benchmarks.results import Row
from tests.benchmarks.timing import Spread

MACHINE = {"processor": "p", "cores": 2, "busy": 0.0, "system": "s", "threads": "1", "versions": {"torch": "2"}}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations in e2cnn
        yield


@pytest.mark.parametrize("group", ["d4", "c8"])
def test_the_net_of_e2cnn_learns_the_same(group: str) -> None:
    """Same function, loss, optimiser and averages: nothing is left out of either side."""
    torch.manual_seed(0)
    make, batch = training.nets(group, (1, 2, 2, 2)), training.held_batch(2, 32)
    ours = training.learner_of(make["geseg"](), "fp32")
    torch.manual_seed(0)
    theirs = training.learner_of(make["e2cnn"](), "fp32")
    losses = [[learner.step(*batch, done=0.5) for _ in range(4)] for learner in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-3)
    assert losses[0][0] - losses[0][3] > 0.01
    numbers = [sum(v.numel() for v in learner.average.state_dict().values()) for learner in (ours, theirs)]
    assert numbers[0] == numbers[1]
    assert count_parameters(ours.net) == count_parameters(theirs.net)


def test_the_plain_net_is_as_wide_as_the_fields_have_channels() -> None:
    make = training.nets("d4", (1, 2, 2, 2))
    plain, ours = make["plain"](), make["geseg"]()
    kernels = [conv.weight.shape for conv in plain.modules() if isinstance(conv, torch.nn.Conv2d)]
    assert kernels == [module.kernel().shape for module in ours.modules() if hasattr(module, "kernel")]


def test_sides_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []
    sides = {name: lambda name=name: calls.append(name) for name in "ab"}  # type: ignore[misc]
    seconds = timing.race(sides, rounds=3, warm_up=1)
    assert "".join(calls) == "baabbaab"
    assert [len(times) for times in seconds.values()] == [3, 3]


def a_row(**changes: Any) -> Row:  # noqa: ANN401 - any of its fields
    values: dict[str, Any] = {"what": "w", "against": "a", "figure": Spread.of([0.5, 0.7, 0.9]), "goal": 0.7}
    return Row(**values | changes)


def test_the_table_says_what_was_measured_and_whether_it_is_enough() -> None:
    rows = [a_row(), a_row(goal=0.699), a_row(against="", figure=Spread.of([2.0]), goal=8, unit="s", detail="d")]
    table = results.to_markdown(MACHINE, rows).splitlines()
    assert table[0] == "p, 2 cores, threads: 1, load per core before 0.0; s; torch 2."
    assert table[-3:] == [
        "| w | a | 0.700 (0.600 to 0.800) | 0.700 | yes |",
        "| w | a | 0.700 (0.600 to 0.800) | 0.699 | **no** |",
        "| w |  | 2.000 s; d | 8.000 s | yes |",
    ]
    text = results.to_json(MACHINE, rows)
    assert [row["reached"] for row in json.loads(text)["rows"]] == [True, False, True]
    assert results.from_json(text) == (MACHINE, rows)


def test_the_figures_of_the_page_are_those_of_the_committed_results() -> None:
    """Else: python -m tests.benchmarks.results tests/benchmarks/results.json tests/benchmarks/README.md."""
    folder = Path(__file__).parent
    page = (folder / "README.md").read_text()
    assert results.filled_in("<!-- a -->\nold\n<!-- end -->", "a", "new\n") == "<!-- a -->\nnew\n<!-- end -->"
    files = list(folder.glob("results*.json"))
    assert files
    for path in files:
        table = results.to_markdown(*results.from_json(path.read_text()))
        assert results.filled_in(page, path.name, table) == page


def test_growth_is_seen() -> None:
    flat = [(0.1 * count, count, 100.0) for count in range(20, 200)]
    assert predicting.compare_halves(flat) == pytest.approx(
        {"time": 1, "memory": 1, "mib_per_1000": 0, "seconds_each": 0.1}
    )
    growing = [(0.001 * count**2, count, 100 + 0.1 * count) for count in range(20, 200)]
    found = predicting.compare_halves(growing)
    assert found["time"] > 1.5
    assert found["memory"] == pytest.approx(119.9 / 110.9, abs=1e-3)
    assert found["mib_per_1000"] == pytest.approx(100, rel=0.02)


@pytest.mark.slow
def test_everything_can_be_measured(tmp_path: Path, patch_file: Path) -> None:
    steps = child.call("training.step_seconds", "d4", ["geseg", "e2cnn", "plain"], "fp32", 2, 1, 32)
    assert {name: len(times) for name, times in steps.items()} == {"geseg": 2, "e2cnn": 2, "plain": 2}
    assert child.call("training.step_memory", "d4", "e2cnn", "fp32", 4, 64) > 10
    assert set(child.call("training.epoch_seconds", str(patch_file), 1, 1)) == {"epoch", "held"}
    folder = write_folder(tmp_path / "in", 9, 200, 190)
    assert len({path.read_bytes() for path in folder.iterdir()}) == 9
    seconds = child.call("predicting.against_session", str(folder), 1)
    assert 0.5 < seconds["onnx"][0] / seconds["session"][0] < 5
    assert 0.2 < seconds["auto"][0] / seconds["session"][0] < 5
    assert 1.5 < seconds["turns"][0] / seconds["auto"][0] < 10
    if library.best_set():
        assert set(child.call("engines.seconds", "d4", 62_500, 1)) == {"native", "onnx", "plain"}
    assert 10 < child.call("predicting.memory_of", str(folder / "0000.tif")) < 1000
    assert child.call("predicting.growth", str(folder))["seconds_each"] > 0
    child.call("starting.save_model", str(tmp_path / "m.safetensors"), "d8")
    assert set(child.call("starting.build_and_load", str(tmp_path / "m.safetensors"), "d8")) == {"build", "load"}
    with pytest.raises(RuntimeError, match=r"no_such.*is no file"):
        child.call("starting.build_and_load", str(tmp_path / "no_such"), "d8")
