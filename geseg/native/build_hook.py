"""Compiles the kernel while geseg is installed or packed: hatchling calls it, as pyproject.toml says.

It needs GCC or clang, whose vector types the kernel is written in. Without one, geseg is installed without its kernel
and works as before; nothing fails, and one line (of `pip install --verbose`) says why.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "libgeseg.so"
"""As in library.py, which needs numpy and cannot be imported here."""
FLAGS = ("-O3", "-std=gnu11", "-fPIC")
TYPES = {"float": "int32_t", "double": "int64_t"}
"""The number types, and integers of their sizes."""
SETS = {
    "portable": ("-DVECTOR=16",),
    "avx2": ("-DVECTOR=32", "-mavx2", "-mfma"),
    "avx512": ("-DVECTOR=64", "-mavx512f", "-mfma"),
}
"""Flags of the instruction sets, among which dispatch.c chooses while the program runs; never those of this machine."""


class NoKernelError(Exception):
    """The kernel cannot be compiled; the message says why."""


def find_compiler() -> list[str]:
    """The words of $CC, else the first of cc, gcc and clang that is there.

    Raises:
        NoKernelError: there is none.
    """
    if sys.platform == "win32":  # GCC aligns vectors on its stack wrongly there (its bug 54412), and MSVC has none
        raise NoKernelError("it is not built on Windows")
    asked = shlex.split(os.environ.get("CC", ""))
    for words in [asked] if asked else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(words[0]):
            return words
    raise NoKernelError(f"$CC is {shlex.join(asked)!r}, which is not there" if asked else "no C compiler is there")


def variants(compiler: list[str]) -> dict[str, tuple[str, ...]]:
    """The instruction sets to compile for, by name, with their flags: on processors other than x86-64 only one.

    Raises:
        NoKernelError: the compiler does not run, or is neither GCC nor clang.
    """
    macros = {line.split()[1] for line in _output([*compiler, "-dM", "-E", "-x", "c", os.devnull]).splitlines()}
    if "__GNUC__" not in macros:
        raise NoKernelError(f"{shlex.join(compiler)} is neither GCC nor clang")
    return SETS if "__x86_64__" in macros else {"portable": SETS["portable"]}


def digest(sources: Path) -> str:
    """Hexadecimal SHA-256 of the C files of a folder, as library.py computes it, too."""
    found = hashlib.sha256()
    for path in sorted(sources.glob("[!.]*.[ch]")):  # Emacs marks an open file with a dangling link .#kernel.c
        found.update(path.read_bytes())
    return found.hexdigest()


def compile_kernel(sources: Path, target: Path) -> str:
    """Compile the C files of a folder into the library `target`, whole or not at all; returns what was compiled.

    Raises:
        NoKernelError: it cannot be compiled.
    """
    compiler = find_compiler()
    sets = variants(compiler)
    beside = target.with_name(f"{target.stem}.{os.getpid()}{target.suffix}")
    with tempfile.TemporaryDirectory() as folder:
        jobs = {"dispatch.o": [f'-DSOURCES="{digest(sources)}"', "dispatch.c"]}
        for number, whole in TYPES.items():
            for name, flags in sets.items():
                macros = [f"-DREAL={number}", f"-DWHOLE={whole}", f"-DSUFFIX={number}_{name}"]
                jobs[f"{number}_{name}.o"] = [*flags, *macros, "kernel.c"]
        commands = [[*compiler, *FLAGS, "-c", *job, "-o", f"{folder}/{made}"] for made, job in jobs.items()]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(lambda command: _output(command, sources), commands):
                pass
        try:
            _output([*compiler, "-shared", *(f"{folder}/{made}" for made in jobs), "-o", str(beside)])
            beside.replace(target)  # a process that has the old one open keeps it
        finally:
            beside.unlink(missing_ok=True)
    return f"kernel compiled with {shlex.join(compiler)} ({', '.join(sets)})"


def _output(command: list[str], folder: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoKernelError(f"{command[0]} does not run: {error}") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or done.stderr.splitlines()
        raise NoKernelError(f"{command[0]} fails: {said[0] if said else f'exit status {done.returncode}'}")
    return done.stdout


class KernelHook(BuildHookInterface[Any]):
    """Puts the library into the wheel, which is for one platform and any Python then; editable, beside its sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is made; `version` is "standard" or "editable"."""
        sources = Path(self.root, "geseg", "native")
        self._folder = tempfile.TemporaryDirectory()
        target = sources / NAME if version == "editable" else Path(self._folder.name, NAME)
        try:
            self.app.display_info(f"geseg: {compile_kernel(sources, target)}")
        except NoKernelError as error:
            target.unlink(missing_ok=True)  # an older one may belong to other sources
            self.app.display_warning(f"geseg is installed without its compiled kernel, and slower for it: {error}")
            return
        if version != "editable":
            build_data["force_include"][str(target)] = f"geseg/native/{NAME}"
            build_data["pure_python"] = False
            platform = self.build_config.builder.get_best_matching_tag().rsplit("-", 1)[1]
            build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when it is made."""
        self._folder.cleanup()
