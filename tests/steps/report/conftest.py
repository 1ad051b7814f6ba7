"""Photographs with maps of them, and what eval finds: what the parts of a report are tested on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geseg.data.images import write_probability
from geseg.data.patchfile import WholeImage
from geseg.steps.evaluate import EvalConfig, EvalResult, run
from geseg.steps.truths import open_truths

Make = Callable[..., Path]


@pytest.fixture
def maps(make_generic: Make, tmp_path: Path) -> tuple[Path, Path]:
    """Probability maps of three photographs, and the photographs: a is the best, c the worst."""
    root = make_generic()
    for step, photograph in enumerate(open_truths(root).photographs):
        label = photograph.read().label
        assert label is not None
        noise = np.random.default_rng(step).random(label.shape)
        write_probability(
            tmp_path / "maps" / f"{photograph.stem}.png", np.where(label, 0.8, 0.1) * noise ** (0.2 * step + 0.1)
        )
    return tmp_path / "maps", root


@pytest.fixture
def scored(maps: tuple[Path, Path]) -> EvalResult:
    return run(EvalConfig(model=maps[0], truths=maps[1]))


@pytest.fixture
def whole(make_generic: Make) -> WholeImage:
    return open_truths(make_generic(stems=("a",))).photographs[0].read()
