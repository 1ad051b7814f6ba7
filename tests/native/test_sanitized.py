"""The kernel by itself, without Python, under the address and the undefined-behaviour sanitizers."""

import ctypes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from geseg.model import kernels
from geseg.model.group import Group
from geseg.native import build_hook, library
from geseg.native.build_hook import SETS, TYPES, NoKernelError
from geseg.native.layer import Input, SteerableLayer
from geseg.native.library import Layer, Map, Sparse
from geseg.native.plan import factorise

SOURCES = Path(build_hook.__file__).parent
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g")
STRICT = ("-std=gnu11", "-fPIC", "-Wall", "-Wextra", "-Werror")
CASES = (
    ("c2", "trivial", 3, 3, 1), ("c2", "regular", 3, 1, 6), ("c4", "trivial", 3, 3, 2), ("c4", "regular", 3, 2, 4),
    ("c8", "trivial", 3, 1, 1), ("c8", "regular", 3, 1, 2), ("d1", "trivial", 3, 2, 3), ("d1", "regular", 3, 3, 5),
    ("d2", "trivial", 3, 3, 2), ("d2", "regular", 3, 2, 2), ("d4", "trivial", 3, 3, 3), ("d4", "regular", 3, 3, 4),
    ("d8", "trivial", 3, 3, 1), ("d8", "regular", 3, 1, 2), ("d8", "regular", 3, 2, 1),
    ("c4", "regular", 5, 2, 1), ("c4", "regular", 3, 1, 2), ("d4", "regular", 1, 2, 3), ("d4", "regular", 5, 3, 1),
    ("d4", "regular", 3, 9, 2), ("d8", "regular", 3, 5, 3),
)  # fmt: skip
"""Group, fields of the input, kernel size, and how many fields: products of one to eight rows, and so of all blocks,
and more fields than are computed at a time.

The second layer of a group can read the first one, which the kernel may do without maps in between.
"""


@pytest.fixture(scope="module")
def compiler() -> list[str]:
    try:
        return build_hook.find_compiler()
    except NoKernelError as error:
        pytest.skip(f"nothing compiles the kernel here: {error}")


def captured(case: tuple[str, str, int, int, int]) -> tuple[Layer, SteerableLayer, np.ndarray, np.ndarray]:
    """What a layer would tell the kernel, the layer, its bias and its dense kernel [out, |ρ_out|, in, |ρ_in|, k, k]."""
    name, rep, size, in_fields, out_fields = case
    group, rng = Group.parse(name), np.random.default_rng(CASES.index(case))
    basis = kernels.basis(group, rep, "regular", size).numpy()
    weights = rng.normal(size=(out_fields, in_fields, len(basis))) / np.sqrt(in_fields * len(basis))
    bias = 0.3 * rng.normal(size=out_fields)
    layer = SteerableLayer(factorise(group, basis), weights, bias, np.float64, relu=size == 3)
    told = list[Layer]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "run", lambda *arguments: told.append(arguments[0]))
        layer([Input(Map(), in_fields)], (1, 4, 4))
    return told[0], layer, bias, np.einsum("oib,bpqhw->opiqhw", weights, basis)


def at(address: int | None, kind: Callable[[], object], count: int) -> list[float]:
    return list((kind * count).from_address(address)) if count and address else []  # type: ignore[operator]


def sparse(matrix: Sparse, rows: int) -> Iterator[float]:
    start = at(matrix.start, ctypes.c_int32, rows + 1)
    yield from start
    yield from at(matrix.column, ctypes.c_int32, int(start[-1]))
    yield from at(matrix.value, ctypes.c_double, int(start[-1]))


def written(case: tuple[str, str, int, int, int]) -> str:
    """A layer as test_kernel.c reads it."""
    layer, alive, bias, dense = captured(case)
    numbers = [layer.in_size, layer.out_size, layer.in_fields, layer.out_fields, layer.mirrored, layer.kernel_size,
               layer.filters, layer.extras, layer.products, layer.relu, layer.even, layer.odd, 0.25,
               bool(layer.pairing), *at(layer.pairing, ctypes.c_int32, layer.in_size)]  # fmt: skip
    numbers += [*sparse(layer.filter, layer.filters), *sparse(layer.extra, layer.extras)]
    for i in range(layer.products):
        product = layer.product[i]
        numbers += [product.outs, product.features, *at(product.out, ctypes.c_int32, product.outs)]
        numbers += at(product.feature, ctypes.c_int32, product.features)
        numbers += at(product.weight, ctypes.c_double, product.outs * product.features)
    assert alive.out_fields == len(bias)  # what the addresses are of
    head = np.random.default_rng(1).normal(size=dense.shape[0] * dense.shape[1])
    numbers += [*bias, *head, *dense.ravel()]
    return " ".join(["-".join(map(str, case)), *(repr(float(number)) for number in numbers)])


@pytest.fixture(scope="module")
def layers() -> str:
    return "\n".join(map(written, CASES))


@pytest.fixture(scope="module")
def objects(compiler: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is not looked into, compiled quickly."""
    folder = tmp_path_factory.mktemp("objects")
    for number in TYPES:
        for name in build_hook.variants(compiler):
            compile_kernel([*compiler, "-O0"], number, name, folder / f"{number}_{name}.o")
    return folder


def compile_kernel(command: list[str], number: str, name: str, made: Path) -> None:
    macros = [f"-DREAL={number}", f"-DWHOLE={TYPES[number]}", f"-DSUFFIX={number}_{name}"]
    subprocess.run([*command, *STRICT, *SETS[name], *macros, "-c", SOURCES / "kernel.c", "-o", made], check=True)


BEST = list(SETS)[max(library.best_set() - 1, 0)]
VARIANTS = [
    pytest.param(number, name, marks=() if (number, name) == ("float", BEST) else pytest.mark.slow)
    for number in TYPES
    for name in SETS
]
"""Number types and instruction sets; that which photographs are segmented with is always tried."""


@pytest.mark.parametrize(("number", "name"), VARIANTS)
@pytest.mark.usefixtures("needs_kernel")
def test_kernel(number: str, name: str, compiler: list[str], objects: Path, layers: str, tmp_path: Path) -> None:
    of_set = list(SETS).index(name) + 1
    if of_set > library.best_set():
        pytest.skip(f"this processor has no {library.SETS[of_set]}")
    sanitized, made = [*compiler, *SANITIZED], tmp_path / f"{number}_{name}.o"
    compile_kernel(sanitized, number, name, made)
    others = [path for path in objects.iterdir() if path.name != made.name]
    flags = [f"-DREAL={number}", f"-DSET={of_set}", f"-I{SOURCES}"]
    said = {}
    for program in ("test_kernel", "test_learning"):
        command = [*sanitized, *STRICT, *flags, Path(__file__).with_name(f"{program}.c"), SOURCES / "dispatch.c"]
        subprocess.run([*command, made, *others, "-lm", "-o", tmp_path / program], check=True)
        done = subprocess.run(
            [tmp_path / program],
            input=layers,
            env={"ASAN_OPTIONS": "detect_leaks=0"},  # its detector does not run in every container; nothing allocates
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        said[program] = list(map(int, done.stdout.split()))
    alone, pairs = said["test_kernel"]
    assert alone > 100 * len(CASES)
    assert pairs > 1000
    assert said["test_learning"][0] > 80 * len(CASES)
