"""Steerable convolutions in Triton: in its interpreter, and compiled, both of which need no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is there for Linux only")
CASES = Path(__file__).with_name("triton_cases.py")


def run(case: str, **environment: str) -> None:
    threads = {"OMP_NUM_THREADS": "1"}  # few of the interpreter's arrays are large
    subprocess.run([sys.executable, CASES, case], check=True, env=os.environ | threads | environment, timeout=300)


@pytest.mark.parametrize("case", ["groups", "kernels", "bfloat16", "nets"])
def test_it_computes_and_learns_as_the_dense_path(case: str) -> None:
    run(case, TRITON_INTERPRET="1")


def test_it_compiles_for_gpus(tmp_path: Path) -> None:
    run("compiled", TRITON_CACHE_DIR=str(tmp_path), TRITON_DEFAULT_FP_FUSION="1")
