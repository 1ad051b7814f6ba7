"""Wheels hold the compiled kernel where a C compiler is; without one they are for any machine, and geseg works."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from geseg.native import build_hook, library
from geseg.native.build_hook import NoKernelError

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "geseg" / "native"
INSIDE = f"geseg/native/{library.NAME}"


def found_compiler() -> list[str]:
    """The compiler that an installation uses; tests that need one are skipped where there is none."""
    try:
        compiler = build_hook.find_compiler()
        build_hook.variants(compiler)
    except NoKernelError as error:
        pytest.skip(f"nothing compiles the kernel here: {error}")
    return compiler


def script(folder: Path, commands: str) -> Path:
    """A program `cc`."""
    path = folder / "cc"
    path.write_text(f"#!/bin/sh\n{commands}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the source distribution holds."""
    folder = tmp_path_factory.mktemp("sdist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=ROOT, check=True)
    (packed,) = folder.glob("*.tar.gz")
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    return folder / packed.name.removesuffix(".tar.gz")


@pytest.fixture
def quick_compiler(tmp_path: Path) -> Path:
    """A compiler that does not optimise, and writes down how it was called: log.txt beside it."""
    folder = tmp_path / "a compiler"
    folder.mkdir()
    return script(folder, f'echo "$@" >>"{folder}/log.txt"; exec {" ".join(found_compiler())} "$@" -O0')


def make(source: Path, out: Path, compiler: str, *program: str) -> tuple[Path, str]:
    """The wheel that a program makes of a folder, and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", *program, str(out)],
        cwd=source,
        env={**os.environ, "CC": compiler, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (wheel,) = out.glob("*.whl")
    return wheel, done.stdout


PIP = ("pip", "wheel", "--verbose", "--no-build-isolation", "--no-deps", "--no-index", ".", "--wheel-dir")
BACKEND = ("hatchling", "build", "-t", "wheel", "-d")
"""What pip calls, without pip's seconds."""


def run_installed(folder: Path, *arguments: str) -> str:
    """What Python says in a folder where geseg, but nothing else, is installed."""
    command, env = [sys.executable, *arguments], {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_where_a_compiler_is_the_kernel_is_too() -> None:
    """Keeps the tests that need the kernel honest: they are skipped without it."""
    compiler = found_compiler()
    assert library.load(), f"{compiler[0]} is here, the kernel is not: sh tests/run.sh installs geseg with it"
    assert library.best_set() in library.SETS


def test_a_wheel_with_the_kernel(unpacked: Path, quick_compiler: Path, tmp_path: Path) -> None:
    wheel, said = make(unpacked, tmp_path / "out", f"'{quick_compiler}' -g0", *PIP)
    assert re.fullmatch(r"geseg-[\d.]+-py3-none-(linux|macosx)_\w+\.whl", wheel.name), wheel.name
    (line,) = re.findall(r"^ *geseg: (.*kernel.*)", said, re.MULTILINE)
    sets = ", ".join(build_hook.variants(found_compiler()))
    assert line == f"kernel compiled with '{quick_compiler}' -g0 ({sets})"
    names = zipfile.ZipFile(wheel).namelist()
    assert names.count(INSIDE) == 1
    assert not [name for name in names if name.endswith((".c", ".h", ".o", "build_hook.py"))]
    assert not (unpacked / INSIDE).exists(), "an installation leaves nothing in the folder that it is from"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", tmp_path / "site", wheel], check=True)
    code = "import geseg; from geseg.native import library; print(geseg.__file__, library.best_set())"
    place, best = run_installed(tmp_path / "site", "-c", code).split()
    assert Path(place).is_relative_to(tmp_path / "site")
    assert int(best) in library.SETS


def test_a_wheel_without_a_compiler(unpacked: Path, tmp_path: Path) -> None:
    (unpacked / INSIDE).write_text("of an earlier editable installation")
    wheel, said = make(unpacked, tmp_path / "out", "/no/such/cc -m64", *BACKEND)
    (unpacked / INSIDE).unlink()
    assert re.fullmatch(r"geseg-[\d.]+-py3-none-any\.whl", wheel.name), wheel.name
    (reason,) = re.findall(r"geseg is installed without its compiled kernel.*: (.*)", said)
    assert reason == "$CC is '/no/such/cc -m64', which is not there"
    with zipfile.ZipFile(wheel) as packed:
        assert INSIDE not in packed.namelist()
        packed.extractall(tmp_path / "site")
    code = "from geseg.native import library; assert library.load() is None; assert library.best_set() == 0"
    code += "; import sys; from geseg.cli.app import main; sys.argv[1:] = ['info', 'shipped']; main()"
    assert "d4" in run_installed(tmp_path / "site", "-c", code)


def compile_with(compiler: Path, target: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", f"'{compiler}'")
        build_hook.compile_kernel(SOURCES, target)


def test_the_compiler_is_told_nothing_of_this_machine(quick_compiler: Path, tmp_path: Path) -> None:
    compile_with(quick_compiler, tmp_path / library.NAME)
    assert [path.name for path in tmp_path.glob("*.so")] == [library.NAME]
    calls = [call for call in (quick_compiler.parent / "log.txt").read_text().splitlines() if " -c " in call]
    assert len(calls) == 1 + 2 * len(build_hook.variants(found_compiler()))
    for call in calls:
        assert call.startswith("-O3 -std=gnu11 -fPIC ")
        assert not re.search(r"-march|-mtune|-Werror", call), call


def test_an_editable_installation_has_no_stale_kernel(
    unpacked: Path, quick_compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = build_hook.KernelHook(str(unpacked), {}, None, None, "", "wheel")  # type: ignore[arg-type]
    built, data = unpacked / INSIDE, {"force_include": dict[str, str]()}
    built.write_text("stale")
    monkeypatch.setenv("CC", f"'{quick_compiler}'")
    hook.initialize("editable", data)
    hook.finalize("editable", data, "")
    assert len(built.read_bytes()) > 10_000
    assert [path.name for path in built.parent.glob("*.so")] == [library.NAME]
    monkeypatch.setenv("CC", "/no/such/cc")
    hook.initialize("editable", data)
    hook.finalize("editable", data, "")
    assert not built.exists(), "nobody knows which sources it was of"
    assert data == {"force_include": {}}


def test_a_compiler_that_fails_is_no_failure(tmp_path: Path) -> None:
    broken = script(
        tmp_path, 'case "$*" in *-dM*) echo "#define __GNUC__ 4";; *) echo "x.c:1: error: old" >&2; exit 1; esac'
    )
    with pytest.raises(NoKernelError, match=r"cc fails: x\.c:1: error: old$"):
        compile_with(broken, tmp_path / "x.so")
    script(tmp_path, "echo '#define _MSC_VER 1900'")
    with pytest.raises(NoKernelError, match="is neither GCC nor clang"):
        compile_with(broken, tmp_path / "x.so")
    script(tmp_path, "exit 3")
    with pytest.raises(NoKernelError, match="cc fails: exit status 3"):
        compile_with(broken, tmp_path / "x.so")
    assert not list(tmp_path.glob("*.so"))


def test_no_compiler_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(NoKernelError, match="no C compiler is there"):
        build_hook.find_compiler()
    for name in ("clang", "cc"):
        (tmp_path / name).touch(0o755)
        assert build_hook.find_compiler() == [name]


def test_processors_other_than_x86_get_the_portable_kernel(tmp_path: Path) -> None:
    arm = script(tmp_path, "echo '#define __GNUC__ 12'; echo '#define __aarch64__ 1'")
    assert list(build_hook.variants([str(arm)])) == ["portable"]


def test_the_library_has_one_name() -> None:
    assert build_hook.NAME == library.NAME
