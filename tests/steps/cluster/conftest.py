"""A real Ray cluster of two workers on this machine, with a token, and photographs to send to it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geseg.data import drawn
from geseg.progress import Track, silent
from geseg.steps.predict import PredictConfig, PredictResult, run

PHOTOGRAPHS = 18
BROKEN = "07.png"
VARIABLES = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 of them, of which the eighth is none."""
    folder = tmp_path_factory.mktemp("cluster") / "photos"
    folder.mkdir()
    for number in range(PHOTOGRAPHS):
        Image.fromarray(drawn.draw(number, 96 + number, 110).image).save(folder / f"{number:02}.png")
    (folder / BROKEN).write_bytes(b"no photograph")
    return folder


@pytest.fixture(scope="session")
def started() -> Iterator[str]:
    """The address of a cluster of two cores that knows nothing of geseg."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    code = """if True:
        import logging, ray, sys
        here = ray.init(address="local", num_cpus=2, num_gpus=0, include_dashboard=False, _temp_dir=sys.argv[1],
                        object_store_memory=100 << 20, logging_level=logging.CRITICAL)
        print(here.address_info["gcs_address"], flush=True)
        sys.stdin.read()
        ray.shutdown()"""
    with tempfile.TemporaryDirectory(prefix="geseg-test-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        head = subprocess.Popen(
            [sys.executable, "-c", code, folder],
            env=os.environ | VARIABLES | {"RAY_USAGE_STATS_ENABLED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with head:
            assert head.stdout
            yield head.stdout.readline().strip()
            head.communicate()


@pytest.fixture
def address(started: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, with what its users have to have in their environment."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return started


@pytest.fixture
def predict(photos: Path, tmp_path: Path, run_folder: Path) -> Callable[..., PredictResult]:
    """Runs `predict` on the photographs, into `masks`, with whatever differs; `track` is not of the config."""

    def start(track: Track = silent, **changes: Any) -> PredictResult:  # noqa: ANN401 - any field
        usual: dict[str, Any] = {"images": photos, "out": tmp_path / "masks", "model": run_folder, "device": "cpu"}
        return run(PredictConfig(**usual | changes), track)

    return start


@pytest.fixture(scope="session")
def report() -> Callable[[Path], dict[str, Any]]:
    """Reads a report without what may differ from run to run."""

    def read(out: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((out / "report.json").read_text())
        for row in found["images"]:
            del row["seconds"]
        return found

    return read


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Reads all files of a folder."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*.*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
