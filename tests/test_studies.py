"""The studies as they are typed, on drawn photographs; and what makes them honest and lets them go on."""

import dataclasses
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geseg.data.patchfile import PatchFile
from geseg.data.samples import Sample
from geseg.errors import ConfigError
from geseg.files import sha256
from geseg.model import modelweights
from geseg.model.modelheader import read_header
from geseg.steps import models, train
from geseg.steps.trainconfig import TrainConfig

EXAMPLES = Path(__file__).parents[1] / "examples"
STUDIES = ("study_rotation", "study_labels", "validate_recipe")


def study(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / f"{name}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what --tiny makes of each study."""
    root = tmp_path_factory.mktemp("studies")
    for name in STUDIES:
        done = study(name, "--tiny", "-o", root / name)
        assert (done.returncode, done.stderr) == (0, "")
    return root


@pytest.fixture
def run(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Runs a study in this process, which has loaded torch already: exit code, output, errors."""

    def run(name: str, *arguments: str | Path) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        code: object = 0
        try:
            load(name).main()
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a file of examples/ or examples/studies/."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def results(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return values


def first_table(folder: Path) -> list[list[str]]:
    lines = (folder / "table.md").read_text().split("\n\n")[0].splitlines()
    return [line.strip("| ").split(" | ") for line in lines]


@pytest.mark.parametrize("name", STUDIES[:2])
def test_a_study_ends_in_figures_a_table_and_curves(tiny: Path, name: str) -> None:
    values, table = results(tiny / name), first_table(tiny / name)
    picture = np.asarray(Image.open(tiny / name / "curves.png").convert("RGB"))
    assert picture.shape[1] > 1200
    assert all((np.abs(picture.astype(int) - colour).sum(axis=2) < 30).any() for colour in ((0, 0, 0), (0xD5, 0x5E, 0)))
    for line in table[2:]:
        for amount, cell in zip(table[0][1:], line[1:], strict=True):
            row = next((row for row in values["rows"] if (row["net"], f"{row['amount']}") == (line[0], amount)), None)
            if row is None:
                assert (cell, amount) == ("", "0"), "only nets that go on from others learn from no photograph"
                continue
            assert cell.startswith(f"{row['mean']:.3f}")
            assert cell.endswith(f"({row['seeds']})")
            assert row["mean"] == pytest.approx(np.mean(row["values"]))
    assert len(table) == 2 + len({row["net"] for row in values["rows"]})


def test_the_recipe_is_scored_on_every_photograph_that_it_has_not_seen(tiny: Path) -> None:
    assert [line[:3] for line in first_table(tiny / "validate_recipe")[2:]] == [
        ["2 folds", "drive", "4"],
        ["2 folds", "eyes", "3"],
        ["drive only", "eyes", "3"],
        ["left out", "drive", "4"],
        ["left out", "eyes", "3"],
    ]
    runs = list((tiny / "validate_recipe" / "runs").iterdir())
    assert len(runs) == 4 * 5, "three cycles of each, and the mean"
    assert not [run for run in runs if (run / "state.safetensors").exists()], "nothing that is large stays"
    assert not list((tiny / "validate_recipe" / "patches").iterdir())


def test_the_recipe_ends_in_the_mean_with_a_cycle_that_varies_the_camera(tiny: Path) -> None:
    run = tiny / "validate_recipe" / "runs" / "left-out-drive-seed0"
    *cycles, mean = (
        run.with_name(name) / "model.safetensors" for name in (*(f"{run.name}-{n}" for n in (1, 2, 3)), run.name)
    )
    (_, one), (_, other), (header, weights) = map(modelweights.load, (*cycles[1:], mean))
    for name, values in weights.items():
        np.testing.assert_allclose(values, one[name] / 2 + other[name] / 2, rtol=1e-5, atol=1e-7)
    assert any((one[name] != other[name]).any() for name in weights)
    configs = [read_header(path).training["config"] for path in cycles]
    assert [config["augmentation"]["camera"] for config in configs] == [False, False, True]
    assert [config["seed"] for config in configs] == [0, 1, 2]
    assert header.training["mean_sha256"] == list(map(sha256, cycles[1:]))


def test_a_mean_takes_the_place_of_no_other_model(
    tiny: Path, tmp_path: Path, load: Callable[[str], ModuleType]
) -> None:
    runs = tiny / "validate_recipe" / "runs"
    one, other = (runs / f"left-out-eyes-seed0-{n}" / "model.safetensors" for n in (2, 3))
    shutil.copytree(runs / "left-out-drive-seed0", tmp_path / "weights")
    before = sha256(tmp_path / "weights" / "model.safetensors")
    with pytest.raises(ConfigError, match="choose another place"):
        load("studies.recipe").write_mean(
            one, other, TrainConfig(patches=tmp_path / "none.h5", out=tmp_path / "weights")
        )
    assert sha256(tmp_path / "weights" / "model.safetensors") == before


@pytest.mark.parametrize("name", STUDIES[1:])
def test_no_net_has_seen_what_it_is_scored_on(tiny: Path, name: str) -> None:
    """By the contents of the photographs, too; each is learned from by some net, which tells its hash."""
    hashes: dict[str, str] = {}
    learned, scored = [], []
    for path in (tiny / name / "cells").iterdir():
        cell = json.loads(path.read_text())
        figures = cell["figures"] if name == "validate_recipe" else next(iter(cell["figures"].values()))
        trained = "starts/d4" if cell["cell"].get("amount") == 0 else f"runs/{path.stem}"
        header = read_header(tiny / name / trained / "model.safetensors")
        samples, config = header.training["samples"], header.training["config"]
        hashes |= samples["train"]
        learned.append({*samples["train"].values(), *samples["val"].values()})
        scored.append(set(figures))
        if name == "validate_recipe":
            assert samples["val"], "which fix its threshold, as of the weights that ship"
            assert config["augmentation"]["camera"], "in its last cycle"
            before = read_header(tiny / name / f"{trained}-1" / "model.safetensors").training["config"]
            assert not before["augmentation"]["camera"]
        else:
            assert (header.threshold, samples["val"]) == (0.5, {})
            expected = cell["cell"]["amount"] + 3 * ("tuned" in path.stem)
            assert len(learned[-1]) == expected, "photographs of the fold, and all of the other data set"
            varied = dict.fromkeys(("colour", "scale", "mirror", "rotation"), True)
            assert config["augmentation"] == varied | {"camera": False}
    assert all(scored)
    for known, names in zip(learned, scored, strict=True):
        assert not known & {hashes[photograph] for photograph in names if photograph in hashes}
    assert set().union(*scored) & set(hashes)


def test_the_loss_is_that_of_all_test_patches_in_their_field_of_view(tiny: Path) -> None:
    folder = tiny / "study_rotation"
    path = sorted((folder / "cells").iterdir())[0]
    model = models.load(folder / "runs" / path.stem, engine="torch", device="cpu")
    overlap = total = crossed = pixels = 0.0
    with PatchFile.open(folder / "patches.h5") as file:
        for whole in file.whole("test"):
            p = model.segmenter.whole(whole).astype(float)[whole.fov].clip(1e-6, 1 - 1e-6)
            y = np.asarray(whole.label)[whole.fov]
            overlap, total = overlap + p[y].sum(), total + p.sum() + y.sum()
            crossed, pixels = crossed - np.log(np.where(y, p, 1 - p)).sum(), pixels + y.size
    expected = crossed / pixels + 1 - (2 * overlap + 1) / (total + 1)
    assert json.loads(path.read_text())["loss"] == pytest.approx(expected, abs=1e-4)


def test_test_patches_are_of_other_people_and_turning_them_changes_only_the_plain_net(tiny: Path) -> None:
    with PatchFile.open(tiny / "study_rotation" / "patches.h5") as file:
        people = {part: {r.person for r in file.header.samples if r.split == part} for part in ("train", "val", "test")}
    assert not people["test"] & (people["train"] | people["val"])
    values = results(tiny / "study_rotation")
    turned = {(row["net"], row["amount"]): row["values"] for row in values["turned"]}
    straight = {row["net"]: np.array(row["values"]) for row in values["rows"] if row["amount"] == 16}
    for degrees in (0, 90, 180, 270):
        np.testing.assert_allclose(turned["d4", degrees], straight["d4"], atol=1e-5)
        assert (np.abs(np.array(turned["plain", degrees]) - straight["plain"]).max() > 1e-4) == (degrees > 0)
    assert np.abs(np.array(turned["d4", 45]) - straight["d4"]).max() > 1e-3


def test_what_is_there_is_not_done_again(tiny: Path, tmp_path: Path, run: Callable[..., tuple[object, ...]]) -> None:
    out = tmp_path / "study_rotation"
    shutil.copytree(tiny / "study_rotation", out)
    before = results(out)
    lost = sorted((out / "cells").iterdir())[0]
    for path in (lost, out / "results.json", out / "table.md", out / "curves.png"):
        path.unlink()
    assert run("study_rotation", "--tiny", "-o", out) == (0, f"cell 8 of 8: {lost.stem}\n", "")
    assert results(out)["rows"] == before["rows"], "the same net is trained again"
    assert (out / "table.md").read_text() == (tiny / "study_rotation" / "table.md").read_text()
    assert (out / "curves.png").read_bytes() == (tiny / "study_rotation" / "curves.png").read_bytes()
    advice = "go on with the same, or choose another folder with -o"
    refusal = f"geseg: {out} holds cells with steps 8, not 9; {advice}\n"
    assert run("study_rotation", "--tiny", "-o", out, "--steps", "9") == (1, "", refusal)


def test_a_study_does_not_go_on_with_other_photographs(
    tiny: Path, tmp_path: Path, run: Callable[..., tuple[object, ...]]
) -> None:
    advice = "go on with the same, or choose another folder with -o"
    shutil.copytree(tiny / "study_rotation", rotation := tmp_path / "study_rotation")
    shutil.copytree(tiny / "study_labels", labels := tmp_path / "study_labels")
    other = tiny / "validate_recipe" / "eyes"
    refusal = f"geseg: {rotation} holds cells with other images; {advice}\n"
    assert run("study_rotation", other, "--tiny", "-o", rotation) == (1, "", refusal)
    refusal = f"geseg: {labels} holds cells with other images to start from; {advice}\n"
    command = ("study_labels", labels / "drive", "--tiny", "-o", labels, "--others", other)
    assert run(*command) == (1, "", refusal)


def test_photographs_to_score_are_refused_as_a_start_and_named_ones_are_trained_on(
    tiny: Path, tmp_path: Path, run: Callable[..., tuple[object, str, str]]
) -> None:
    drive = tiny / "study_labels" / "drive"
    code, _, error = run("study_labels", drive, "--tiny", "-o", tmp_path / "a", "--others", drive)
    assert (code, error.count("is one of the photographs to score")) == (1, 1)
    folder = tmp_path / "b" / "runs" / "plain-seed0"
    named = run("study_labels", drive, "--tiny", "-o", tmp_path / "b", "--groups", "plain", "--named", "22", "24")
    assert named == (0, f"{folder}: geseg eval {folder} {drive} --split test\n", "")
    samples = read_header(folder / "model.safetensors").training["samples"]
    assert (list(samples["train"]), samples["val"]) == (["drive/22", "drive/24"], {})
    code, _, error = run("study_labels", drive, "--tiny", "-o", tmp_path / "c", "--groups", "plain", "--named", "99")
    assert (code, error.count("no training photograph 99")) == (1, 1)


def test_a_training_that_is_killed_goes_on(
    load: Callable[[str], ModuleType], patch_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = load("studies.training")
    config = TrainConfig(patches=patch_file, out=tmp_path / "one", widths=(1, 2), epochs=3, batch_size=4, device="cpu")
    steps = training.run(config)
    epochs: list[int] = []
    epoch = train._Run.epoch

    def killed(run: train._Run, *arguments: Any) -> None:  # noqa: ANN401 - whatever it takes
        if len(epochs) == 2:
            raise RuntimeError
        epochs.append(run.learner.progress.epoch)
        epoch(run, *arguments)

    again = dataclasses.replace(config, out=tmp_path / "two")
    monkeypatch.setattr(train._Run, "epoch", killed)
    with pytest.raises(RuntimeError):
        training.run(again)
    epochs.clear()
    assert training.run(again) == steps
    assert epochs == [2], "only the last epoch is left"
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_a_grid_that_is_stopped_keeps_what_it_has(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    grid = load("studies.grid")
    cells = [grid.Cell(net="d4", amount=amount, seed=0) for amount in (1, 2, 3)]
    reports: list[int] = []

    def measure(cell: Any) -> dict[str, Any]:  # noqa: ANN401 - the class is loaded late
        if cell.amount == 3 and len(reports) == 2:
            raise RuntimeError
        return {"loss": cell.amount / 2}

    def report(records: list[dict[str, Any]]) -> None:
        reports.append(len(records))

    with pytest.raises(RuntimeError):
        grid.run_cells(cells, tmp_path, measure, report)
    assert [record["loss"] for record in grid.read_cells(tmp_path)] == [0.5, 1.0]
    reports.append(0)
    for _ in range(2):
        grid.run_cells(cells, tmp_path, measure, report)
    assert reports == [1, 2, 0, 3, 3], "at last nothing is measured, all is reported"


def test_the_most_telling_cells_come_first(load: Callable[[str], ModuleType]) -> None:
    grid = load("studies.grid")
    nets = ("d8", "d4-tuned", "c4", "d4", "c8", "plain")
    cells = [grid.Cell(net=net, amount=n, seed=s) for net in nets for n in (16, 2, 5, 1, 10) for s in (1, 0)]
    ordered = grid.in_order(cells, ("plain", "d4"))
    first, second, third, last = ordered[:12], ordered[12:30], ordered[30:40], ordered[40:]
    assert {(cell.net, cell.amount) for cell in first} == {(net, n) for net in ("plain", "d4") for n in (1, 5, 16)}
    assert [cell.seed for cell in first] == [0] * 6 + [1] * 6
    assert {cell.net for cell in second} == {"plain", "d4", "d4-tuned"}
    assert {cell.net for cell in third} == {"c4"}
    assert {cell.net for cell in last} == {"c8", "d8"}
    start = grid.Cell(net="d4-tuned", amount=0, seed=0)
    assert grid.in_order([start], ("plain", "d4")) == [start]


def eye(person: str, name: str, dataset: str = "eyes") -> Sample:
    path = Path(f"{name}.png")
    return Sample(dataset=dataset, id=name, person=person, split="train", image=path, label=path, fov=None)


def test_folds_keep_people_together_and_score_everybody_once(load: Callable[[str], ModuleType]) -> None:
    training = load("studies.training")
    samples = [eye(f"p{number // 2}", f"i{number}", name) for name in ("eyes", "more") for number in range(10)]
    sides = training.split_folds(samples, 5)
    assert sorted((s.dataset, s.id) for _, scored in sides for s in scored) == sorted(
        (s.dataset, s.id) for s in samples
    )
    for learned, scored in sides:
        assert [len([s for s in scored if s.dataset == name]) for name in ("eyes", "more")] == [2, 2]
        assert len(learned) == 16
        assert not {(s.dataset, s.person) for s in learned} & {(s.dataset, s.person) for s in scored}
    for folds in (1, 6):
        with pytest.raises(ConfigError, match=f"{folds} folds cannot be made of the 5 people of eyes"):
            training.split_folds(samples, folds)


def test_tables_and_bands_are_over_seeds_with_all_folds(load: Callable[[str], ModuleType]) -> None:
    grid, scoring = load("studies.grid"), load("studies.scoring")

    def record(net: str, seed: int, fold: int, dice: float) -> dict[str, Any]:
        cell = grid.Cell(net=net, amount=1000, seed=seed, fold=fold)
        return {"cell": dataclasses.asdict(cell), "figures": {net: {f"drive/{fold}": {"dice": dice}}}}

    records = [record("d4", 0, 0, 0.7), record("d4", 0, 1, 0.8), record("d4", 1, 0, 0.2), record("d4", 1, 1, 0.5)]
    records += [record("plain", 0, 0, 0.5), record("plain", 0, 1, 0.6), record("plain", 1, 0, 0.1)]
    curves = scoring.curves_of(records, "steps", "dice", 2, ("plain", "d4"))
    assert grid.table(curves, "Dice").splitlines() == [
        "| Dice | 1,000 |",
        "| --- | --- |",
        "| plain | 0.550 (1) |",
        "| d4 | 0.550 ± 0.283 (2) |",
    ]
    assert not scoring.curves_of(records, "time", "dice", 2, ("plain", "d4"))


def test_names_of_lines_do_not_overlap(load: Callable[[str], ModuleType]) -> None:
    figure = load("studies.figure")
    places = figure.spread([0.1, *[0.97] * 9])
    assert (places[0], places[-1] <= 1, np.diff(places).min() > 0.9 * figure.APART) == (0.1, True, True)


def test_the_wide_net_has_the_channels_of_the_d4_net(load: Callable[[str], ModuleType]) -> None:
    for name in STUDIES[:2]:
        nets = load(name).NETS
        assert [title for title, net in nets.items() if net.wide] == ["plain-wide"]
        assert nets["plain-wide"].widths(62_500) == tuple(8 * width for width in nets["d4"].widths(62_500))
        assert nets["plain"].widths(62_500) == (8, 14, 24, 40)
