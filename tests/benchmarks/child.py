"""Measurements run in processes of their own: without the checks of pytest, and none sees the memory of another."""

import importlib
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def call(function: str, *args: Any) -> Any:  # noqa: ANN401 - what goes through JSON
    """Call "module.function" of this folder in a new process; arguments and result are what JSON can say.

    Raises:
        RuntimeError: it failed; with what it wrote to stderr.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.child", function, json.dumps(args)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{function}{args} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def geseg(*words: object) -> None:
    """Run the command line as a user does, in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    program = Path(sys.executable).with_name("geseg.exe" if sys.platform == "win32" else "geseg")
    start = [str(program)] if program.is_file() else [sys.executable, "-m", "geseg"]
    done = subprocess.run([*start, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"geseg {' '.join(map(str, words))} failed:\n{done.stderr}")


def resident() -> float:
    """MiB of memory that this process has now."""
    return _status("VmRSS")


def peak() -> float:
    """MiB of memory that this process had at most since `forget_peak`.

    The kernel's other count, ru_maxrss, begins with the memory of the process that started this one.
    """
    return _status("VmHWM")


def forget_peak() -> None:
    """Let the peak start anew from what there is now; where that is not allowed, from the start of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(".")
    result = getattr(importlib.import_module(f"tests.benchmarks.{module}"), name)(*json.loads(sys.argv[2]))
    print(json.dumps(result))  # noqa: T201 - it is how the result comes back
