"""The mean of maps at several angles: what it is, that it moves along, and that every output says so."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import geseg
from geseg.data.images import read_image
from geseg.data.normalise import normalise
from geseg.errors import ConfigError, OutputError
from geseg.inference import onnxfile
from geseg.metrics.equivariance import SYMMETRIES, Move
from geseg.model.group import Group
from geseg.steps import evaluate, moving, predict
from geseg.steps.evalresult import EvalConfig
from geseg.steps.origin import read_header
from geseg.steps.predict import PredictConfig
from geseg.steps.segmenting import between, mean_of_turns
from geseg.steps.truths import choose, open_truths

Draw = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.mark.parametrize(
    ("group", "number", "degrees"),
    [("d4", 1, []), ("d4", 2, [45]), ("c4", 3, [30, 60]), ("d8", 3, [15, 30]), ("c1", 4, [90, 180, 270])],
)
def test_angles_lie_between_those_with_which_the_net_commutes(group: str, number: int, degrees: list[int]) -> None:
    assert between(Group.parse(group).rotations, number) == tuple(map(Move, degrees))


def test_it_is_the_mean_of_the_moved_maps(run_folder: Path, patch_file: Path) -> None:
    whole = choose(open_truths(patch_file), "test")[1][0].read()
    one, three = geseg.load(run_folder), geseg.load(run_folder, turns=3)
    moves, scales = (Move(0), Move(30), Move(60)), one.segmenter.scales_of(whole)
    channels = np.moveaxis(whole.image, -1, 0).astype(np.float32)
    planes = normalise(channels, np.array(whole.record.mean), np.array(whole.record.contrast))
    assert scales == (1, 1)
    maps = [move.back(one.segmenter.planes(move.forth(planes), scales), whole.fov.shape) for move in moves]
    found = three.segmenter.planes(planes, scales)
    np.testing.assert_allclose(found, np.mean(maps, axis=0), atol=1e-6, rtol=0)
    assert np.abs(found - maps[0])[whole.fov].max() > 0.01
    np.testing.assert_array_equal(next(moving.backs_of(three, whole, [Move(0)])), found)
    around = three.segmenter.whole(whole)  # what lies far from the field of view is left out there
    np.testing.assert_allclose(around[whole.fov], found[whole.fov], atol=0.01, rtol=0)


@pytest.mark.parametrize("turns", [2, 3, 4])
def test_it_moves_along_at_odd_sizes(run_folder: Path, draw_eye: Draw, turns: int) -> None:
    model, (image, _, fov) = geseg.load(run_folder, turns=turns), draw_eye(3, 61, 48)
    whole = model.segment(image, fov)
    for element, move in zip(Group.parse("d4").exact_elements, SYMMETRIES, strict=True):
        moved = np.ascontiguousarray(element(image.transpose(2, 0, 1)).transpose(1, 2, 0))
        back = move.back(model.segment(moved, move.region(fov)), fov.shape)
        np.testing.assert_allclose(back[fov], whole[fov], atol=1e-5, rtol=0)


def test_a_mirror_changes_no_bit_of_the_mean() -> None:
    upright, *others = np.random.default_rng(0).random((5, 9, 9), np.float32)
    np.testing.assert_array_equal(mean_of_turns(upright, others), mean_of_turns(upright, others[::-1]))
    np.testing.assert_allclose(mean_of_turns(upright, others), np.mean([upright, *others], axis=0), rtol=1e-6)
    np.testing.assert_array_equal(mean_of_turns(upright, []), upright)


def test_masks_say_it_and_are_not_taken_for_others(draw_eye: Draw, tmp_path: Path, run_folder: Path) -> None:
    photograph = tmp_path / "photos" / "eye.png"
    photograph.parent.mkdir()
    Image.fromarray(draw_eye(0, 40, 51)[0]).save(photograph)
    images, masks = photograph.parent, tmp_path / "masks"
    config = PredictConfig(images=images, out=masks, model=run_folder, device="cpu", turns=3)
    assert predict.run(config).device.endswith("mean of 3 angles")
    header = read_header(masks / "eye.png")
    assert header is not None
    assert header.origin.turns == 3
    assert predict.run(config).done_before == 1
    with pytest.raises(OutputError, match="has turns 3, not 1; go on with --turns 3, choose"):
        predict.run(PredictConfig(images=images, out=masks, model=run_folder, device="cpu"))
    model = geseg.load(run_folder, device="cpu", turns=3)
    image = read_image(photograph)
    expected = (model.segment(image) >= model.threshold) & geseg.find_fov(image)
    np.testing.assert_array_equal(read_image(masks / "eye.png")[..., 0] > 0, expected)


def test_figures_are_of_the_mean(run_folder: Path, patch_file: Path) -> None:
    one = evaluate.run(EvalConfig(model=run_folder, truths=patch_file, split="test", device="cpu"))
    three = evaluate.run(EvalConfig(model=run_folder, truths=patch_file, split="test", device="cpu", turns=3))
    assert three.made_by == f"{one.made_by}, mean of 3 angles"
    assert three.images != one.images


def test_what_cannot_be_turned_is_told(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="turns is 0; expected 1 or more"):
        geseg.load(run_folder, turns=0)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "01_test.png").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds masks, and --turns needs a model"):
        evaluate.run(EvalConfig(model=tmp_path / "masks", truths=patch_file, turns=3))


def test_an_onnx_file_of_a_group_that_is_not_known_has_one_angle(run_folder: Path, tmp_path: Path) -> None:
    path, proto = tmp_path / "model.onnx", onnx.load(run_folder / "model.onnx")
    onnxfile.write_header(proto, dataclasses.replace(onnxfile.read_header(run_folder / "model.onnx"), group="d16"))
    onnx.save(proto, path)
    assert geseg.load(path, device="cpu").segmenter.turns == ()
    with pytest.raises(ConfigError, match="group 'd16' is not known; choose one of"):
        geseg.load(path, device="cpu", turns=3)
