from pathlib import Path

import numpy as np
import pytest

import geseg
from geseg.model.modelheader import read_header
from geseg.steps.moving import MOVES, backs_of, run
from geseg.steps.truths import choose, open_truths


def test_the_table_of_an_equivariant_net(run_folder: Path, patch_file: Path) -> None:
    _, photographs, _ = choose(open_truths(patch_file), "test")
    rows = run(geseg.load(run_folder), photographs[:1])
    assert [row.move for row in rows] == [move.name for move in MOVES]
    assert [row.move for row in rows if row.exact] == [
        *(f"rot {degrees}" for degrees in (0, 90, 180, 270)),
        *("mirror", "mirror rot 90", "mirror rot 180", "mirror rot 270"),
    ]
    for row in rows:
        if row.exact:
            assert row.max_difference < 1e-5
            assert row.flipped < 1e-3
            assert row.dice == pytest.approx(rows[0].dice, abs=1e-3)
    between = [row for row in rows if not row.exact]
    assert len(between) == 20
    assert min(row.max_difference for row in between) > 1e-3  # interpolating is not nothing


def test_the_unmoved_photograph_gives_the_models_own_map(run_folder: Path, patch_file: Path) -> None:
    model, whole = geseg.load(run_folder), choose(open_truths(patch_file), "test")[1][0].read()
    np.testing.assert_array_equal(next(backs_of(model, whole, MOVES)), model.segment(whole.image))


def test_a_plain_net_does_not_move_along(patch_file: Path, tmp_path: Path) -> None:
    """Keeps the table honest: it must see what is not equivariant."""
    from geseg.steps.train import run as train
    from geseg.steps.trainconfig import TrainConfig

    out = tmp_path / "plain"
    train(TrainConfig(patches=patch_file, out=out, group="c1", widths=(4, 4), epochs=2, batch_size=4, device="cpu"))
    assert read_header(out / "model.safetensors").group == "c1"
    _, photographs, _ = choose(open_truths(patch_file), "test")
    rows = {row.move: row for row in run(geseg.load(out), photographs[:1])}
    assert rows["rot 0"].max_difference == 0
    assert min(rows[name].max_difference for name in ("rot 90", "rot 180", "mirror")) > 1e-3
