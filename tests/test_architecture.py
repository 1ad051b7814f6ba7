"""The import directions: cli -> steps -> {data | model | metrics | inference} -> the base.

The base: {errors, progress, files, headers, cores}.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "geseg"
BASE = {"errors", "progress", "files", "headers", "cores"}
MIDDLE = {"data", "model", "metrics", "inference"}
ALLOWED = {
    "cli": {"cli", "steps", "data", *BASE, ""},
    "steps": {"steps", "native", *MIDDLE, *BASE, ""},
    **{name: {name, *BASE, ""} for name in MIDDLE},
    "native": {"native", "model", *BASE, ""},
    **dict.fromkeys(BASE, BASE),
    "__main__": {"cli"},
    "": {"steps", *MIDDLE, *BASE},
}
"""Per part of the package, what it may import of geseg; "" is `geseg` itself (its version)."""
TORCH = {"model", "steps"}
"""Parts that may import torch, and files beside them."""
BESIDE = {
    "inference/torch_engine.py",
    *(f"native/{name}.py" for name in ("between", "convolution", "head", "training", "tritonlayer", "workers")),
}


def imports(path: Path) -> set[str]:
    """Whole names of the modules a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            assert node.module is not None
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    name = inside.parts[0] if len(inside.parts) > 1 else inside.stem
    return "" if name == "__init__" else name


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_only_go_down(path: Path) -> None:
    for name in imports(path):
        top, *rest = name.split(".")
        if top == "geseg":
            known = rest and ((PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file())
            target = rest[0] if known else ""
            assert target in ALLOWED[part(path)], f"{path} imports {name}"
        if top == "torch":
            assert part(path) in TORCH or path.relative_to(PACKAGE).as_posix() in BESIDE, f"{path} imports torch"
        if top == "e2cnn":
            assert path.name == "kernels.py", f"{path} imports e2cnn"
        if top == "triton":
            assert path.name.startswith("triton"), f"{path} imports triton, which only builds of torch for CUDA bring"
        if top == "onnx":
            assert path.name in ("export.py", "onnxfile.py"), f"{path} imports onnx"


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 30
    assert {part(path) for path in FILES} >= {"cli", "steps", *MIDDLE, *BASE}
