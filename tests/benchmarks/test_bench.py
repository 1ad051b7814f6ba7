"""The table of goals: pytest -m bench. What is measured here fails only if it cannot be measured."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from geseg.data import images
from geseg.native import library
from geseg.steps.learner import choose_precision
from tests.benchmarks import child, starting
from tests.benchmarks.photographs import write_folder, write_large
from tests.benchmarks.results import Row, both
from tests.benchmarks.timing import Spread, race, ratio

pytestmark = pytest.mark.bench
Record = Callable[[Row], None]
PRECISIONS = list(dict.fromkeys([choose_precision("auto", torch.device("cpu")), "fp32"]))
"""What `geseg train` takes here, and float32."""
needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("group", ["d4", "d8"])
def test_training_step(record: Record, group: str, precision: str) -> None:
    contenders = ["geseg", "e2cnn", *(["plain"] if group == "d4" else [])]
    if precision == "fp32" and library.best_set() >= library.AVX2:
        contenders.append("dense")
    seconds = child.call("training.step_seconds", group, contenders, precision, 12)
    what, ours = f"training step of a {group} U-Net, {precision}", seconds.pop("geseg")
    against = {
        "e2cnn": ("the same net of e2cnn's modules", 0.75),
        "plain": ("the plain net of the expanded width", 1.05),
        "dense": ("the same without geseg's kernel", {"d4": 0.6, "d8": 0.4}[group]),
    }
    for name, theirs in seconds.items():
        detail = both("ms", {"geseg": ours, name: theirs}, 1e3)
        words, goal = against[name]
        record(Row(what=what, against=words, figure=ratio(ours, theirs), goal=goal, detail=detail))


@needs_proc
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("group", ["d4", "d8"])
def test_training_memory(record: Record, group: str, precision: str) -> None:
    sides: dict[str, list[float]] = {"geseg": [], "e2cnn": []}
    for _ in range(2):
        for name, mib in sides.items():
            mib.append(child.call("training.step_memory", group, name, precision))
    record(
        Row(
            what=f"memory of that step, {group}, {precision}",
            against="the same net of e2cnn's modules",
            figure=ratio(sides["geseg"], sides["e2cnn"]),
            goal=1.0,
            detail=both("MiB", sides),
        )
    )


def test_epoch(record: Record, patches: Path, drive: tuple[str, Path]) -> None:
    seconds = child.call("training.epoch_seconds", str(patches), 10, 6)
    record(
        Row(
            what=f"10 steps of an epoch of the default net on patches of {drive[0]}",
            against="10 steps on one batch held in memory",
            figure=ratio(seconds["epoch"], seconds["held"]),
            goal=1.03,
            detail=both("s", seconds),
        )
    )


def test_prepare(record: Record, drive: tuple[str, Path], work: Path) -> None:
    out = work / "again.h5"
    seconds = race({"prepare": lambda: child.geseg("prepare", drive[1], "-o", out, "--overwrite", "--quiet")}, 3)
    what = f"`geseg prepare` of {drive[0]}, 2,000 patches"
    record(Row(what=what, figure=Spread.of(seconds["prepare"]), goal=8.0, unit="s"))


def test_predict(record: Record, drive_like: Path) -> None:
    seconds = child.call("predicting.against_session", str(drive_like), 3)
    for name, words in (("auto", ""), ("onnx", " --engine onnx")):
        record(
            Row(
                what=f"`geseg predict{words}` on 40 photographs of 584x565, start-up apart",
                against="onnxruntime's `session.run` on the same tiles",
                figure=ratio(seconds[name], seconds["session"]),
                goal=1.1,
                detail=both("s", {"predict": seconds[name], "session": seconds["session"]}),
            )
        )
    record(
        Row(
            what="`geseg predict --turns 3` on them, start-up apart",
            against="`geseg predict`",
            figure=ratio(seconds["turns"], seconds["auto"]),
            goal=4.5,
            detail=both("s", {"three angles": seconds["turns"], "one": seconds["auto"]}),
        )
    )


NETS = {("d4", 62_500): 1 / 2, ("d4", 250_000): 1 / 3, ("d4", 1_000_000): 1 / 4, ("d8", 62_500): 1 / 3}
"""Goals for the time of a net on the kernel, of that of its plain net on onnxruntime."""


@pytest.mark.skipif(not library.best_set(), reason="geseg was installed without a C compiler")
@pytest.mark.parametrize(("group", "params"), NETS)
def test_engines(record: Record, group: str, params: int) -> None:
    seconds = child.call("engines.seconds", group, params, 9)
    what = f"{group} U-Net of {params:,} parameters on geseg's kernel, one tile of 592x576"
    against = {"onnx": ("its restricted plain net on onnxruntime", NETS[group, params])}
    if (group, params) == ("d4", 62_500):
        against["plain"] = ("a plain U-Net of as many parameters on onnxruntime", 2.0)
    for name, (words, goal) in against.items():
        detail = both("ms", {"native": seconds["native"], name: seconds[name]}, 1e3)
        record(Row(what=what, against=words, figure=ratio(seconds["native"], seconds[name]), goal=goal, detail=detail))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_layer_on_a_gpu(record: Record) -> None:
    seconds = child.call("gpu.layer_seconds", 30)
    for name, words in (("forward", "forward"), ("learn", "forward and backward")):
        ours, dense = seconds[f"triton {name}"], seconds[f"dense {name}"]
        record(
            Row(
                what=f"d4 layer with 128 channels in Triton, bf16, 8 images of 256x256, {words}",
                against="cuDNN on the dense kernel, channels last",
                figure=ratio(ours, dense),
                goal=1 / 1.3,
                detail=both("ms", {"triton": ours, "dense": dense}, 1e3),
            )
        )


@needs_proc
def test_large_photograph(record: Record, work: Path) -> None:
    path = write_large(work / "large.tif", 4000)
    mib = [child.call("predicting.memory_of", str(path)) for _ in range(3)]
    assert images.read_mask(path.with_suffix(".masks") / "large.png").shape == (4000, 4000)
    what = "memory of `geseg predict` on one photograph of 4000x4000, over the idle process"
    record(Row(what=what, figure=Spread.of(mib), goal=1024, unit="MiB"))


@needs_proc
@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_many_photographs(record: Record, work: Path, count: int) -> None:
    folder = write_folder(work / f"{count}-small", 100, 128, 120)
    for number, path in enumerate(sorted(folder.iterdir()) * (count // 100 - 1), 100):
        shutil.copy(path, folder / f"{number:04}.tif")
    found = child.call("predicting.growth", str(folder))
    for name, goal, detail in (
        ("memory", 1.02, f"{found['mib_per_1000']:+.1f} MiB per 1,000 photographs"),
        ("time", 1.05, f"{1e3 * found['seconds_each']:.0f} ms each"),
    ):
        what = f"{name} of the second half of {count:,} photographs of 128x120"
        record(Row(what=what, against="of the first half", figure=Spread.of([found[name]]), goal=goal, detail=detail))


def test_start(record: Record, work: Path) -> None:
    photograph = next(write_folder(work / "tiny", 1, 64, 64).iterdir())

    def first() -> None:
        shutil.rmtree(work / "first", ignore_errors=True)  # what is done is not done again
        child.geseg("predict", photograph, "-o", work / "first", "--quiet")

    seconds = race({"first": first, "help": lambda: child.geseg("--help")}, 11)
    imports = [starting.import_seconds() for _ in range(11)]
    what = "`geseg predict` with one photograph of 64x64, from start to end"
    record(Row(what=what, figure=Spread.of(seconds["first"]), goal=1.0, unit="s"))
    record(Row(what="`import geseg`", figure=Spread.of(imports), goal=0.05, unit="s"))
    record(Row(what="`geseg --help`", figure=Spread.of(seconds["help"]), goal=0.2, unit="s"))


def test_building_and_loading(record: Record, work: Path) -> None:
    path = str(work / "d8.safetensors")
    child.call("starting.save_model", path, "d8")
    runs = [child.call("starting.build_and_load", path, "d8") for _ in range(7)]
    seconds = Spread.of([run["build"] + run["load"] for run in runs])
    detail = both("s", {name: [run[name] for run in runs] for name in ("build", "load")})
    what = "building a d8 model of default width, and loading one"
    record(Row(what=what, figure=seconds, goal=1.0, unit="s", detail=detail))
