"""What `geseg predict` takes besides the network's own arithmetic, in time and in memory."""

import functools
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from geseg.inference.onnx_engine import CPU, OnnxEngine
from geseg.inference.onnxfile import INPUT, OUTPUT
from geseg.steps import models, predict
from geseg.steps.models import EngineName
from geseg.steps.predict import PredictConfig
from tests.benchmarks import child, timing


def against_session(images: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of `predict` on a folder with models that are open, and of onnxruntime alone on the tiles of one."""
    predict.load = functools.cache(predict.load)
    recorded = record_tiles(lambda: run(images, "onnx"))
    session = ort.InferenceSession(str(models.FOLDER / "model.onnx"), providers=[CPU])

    def bare() -> None:
        for tiles in recorded:
            session.run([OUTPUT], {INPUT: tiles})

    sides: dict[str, Callable[[], object]] = {"session": bare}
    sides |= {engine: functools.partial(run, images, engine) for engine in ("auto", "onnx")}
    return timing.race(sides | {"turns": functools.partial(run, images, turns=3)}, rounds)


def run(images: str, engine: EngineName = "auto", turns: int = 1) -> Path:
    """Segment a folder, or one photograph, with the weights that ship, on the CPU, into a new folder beside it."""
    out = Path(images).with_suffix(".masks")
    shutil.rmtree(out, ignore_errors=True)
    result = predict.run(PredictConfig(images=Path(images), out=out, engine=engine, device="cpu", turns=turns))
    assert not result.failures, result.failures
    return out


def record_tiles(work: Callable[[], object]) -> list[np.ndarray]:
    """The batches of tiles that the network is given while `work` runs."""
    recorded: list[np.ndarray] = []
    call = OnnxEngine.__call__

    def recording(engine: OnnxEngine, tiles: np.ndarray, *args: Any, **options: Any) -> np.ndarray:  # noqa: ANN401
        recorded.append(np.array(tiles, np.float32, order="C"))
        return call(engine, tiles, *args, **options)

    OnnxEngine.__call__ = recording  # type: ignore[method-assign]
    try:
        work()
    finally:
        OnnxEngine.__call__ = call  # type: ignore[method-assign]
    assert recorded, "the network of predict is no OnnxEngine any more"
    return recorded


def memory_of(image: str) -> float:
    """MiB that a process needs for one photograph over what it has when the model is open and nothing else is done."""
    predict.load = functools.cache(predict.load)
    predict.load(models.SHIPPED, "auto", "cpu")
    child.forget_peak()
    before = child.resident()
    run(image)
    return child.peak() - before


def growth(images: str) -> dict[str, float]:
    """How the second half of a folder compares with the first: largest memory, and seconds per photograph.

    The first tenth is left out, in which libraries are loaded and buffers find their size.
    """
    seen: list[tuple[float, int, float]] = []
    done = threading.Event()
    masks = Path(images).with_suffix(".masks")

    def watch() -> None:
        while not done.wait(0.02):
            count = len(list(masks.glob("*.png")))
            seen.append((time.perf_counter(), count, child.resident()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run(images)
    finally:
        done.set()
        watcher.join()
    total = len(list(Path(images).iterdir()))
    return compare_halves([row for row in seen if total * 0.1 <= row[1] < total])


def compare_halves(seen: list[tuple[float, int, float]]) -> dict[str, float]:
    """From rows of (seconds, photographs done, MiB), in order."""
    middle = (seen[0][1] + seen[-1][1]) / 2
    halves = [[row for row in seen if row[1] < middle], [row for row in seen if row[1] >= middle]]
    pace = [(half[-1][0] - half[0][0]) / (half[-1][1] - half[0][1]) for half in halves]
    memory = [max(row[2] for row in half) for half in halves]
    level = [statistics.median(row[2] for row in half) for half in halves]
    return {
        "time": pace[1] / pace[0],
        "memory": memory[1] / memory[0],
        "mib_per_1000": 1000 * (level[1] - level[0]) / (middle - seen[0][1]),
        "seconds_each": statistics.mean(pace),
    }
