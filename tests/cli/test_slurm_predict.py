"""The job array script of `examples/`, run without SLURM: as one of its jobs would be."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from geseg.data import drawn
from geseg.steps.jobs import plan
from geseg.steps.shards import Shard, choose

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm_predict.sh"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("array") / "photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(18):
        image = drawn.draw(number % 3, 48 + 3 * number, 64).image
        Image.fromarray(image).save(folder / ("deep" if number % 2 else "") / f"{number:02}.png")
    return folder


def test_it_parses() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_it_counts_its_jobs_once() -> None:
    text = SCRIPT.read_text()
    (jobs,) = re.findall(r"^#SBATCH --array=1-(\d+)$", text, re.MULTILINE)
    (shards,) = re.findall(r"^shards=(\d+) ", text, re.MULTILINE)
    assert jobs == shards


@pytest.mark.parametrize("job", ["1", "16"])
def test_a_job_does_its_shard(photos: Path, tmp_path: Path, run_folder: Path, job: str) -> None:
    environment = os.environ | {
        "SLURM_ARRAY_TASK_ID": job,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    arguments = ["photos", tmp_path / "masks", "--model", run_folder, "--device", "cpu"]
    done = subprocess.run(
        ["bash", SCRIPT, *arguments], cwd=photos.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "masks" / f"report-{job}-of-16.json").read_text())
    expected = [job.name for job in choose(plan(photos, True, {"mask": tmp_path})[0], Shard(int(job), 16))]
    assert [row["image"] for row in report["images"]] == expected
    assert expected
    assert sorted(path.relative_to(tmp_path / "masks").as_posix() for path in tmp_path.rglob("*.png")) == expected


def test_it_says_what_it_lacks() -> None:
    """Without SLURM, or without folders, it stops before anything happens."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    done = subprocess.run(["bash", SCRIPT, "a", "b"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "SLURM_ARRAY_TASK_ID: unbound variable" in done.stderr
