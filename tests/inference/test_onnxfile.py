import dataclasses
import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from geseg.errors import ModelFileError
from geseg.inference.onnxfile import KEY, OnnxHeader, read_header, write_header

HEADER = OnnxHeader(
    geseg_version="0.1.0",
    model_sha256="ab" * 32,
    group="d4",
    widths=(8, 16, 32),
    divisor=4,
    threshold=0.45,
    normalisation="subtract the mean and divide by the standard deviation",
    input="normalised photograph",
    output="probability of a vessel",
)


def model() -> onnx.ModelProto:
    """The smallest graph that there is."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 3, "H", "W"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Sigmoid", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def save(path: Path, **metadata: str) -> Path:
    proto = model()
    helper.set_model_props(proto, metadata)
    onnx.save(proto, path)
    return path


def test_header_round_trip_keeps_other_entries(tmp_path: Path) -> None:
    proto, path = model(), tmp_path / "model.onnx"
    helper.set_model_props(proto, {"author": "someone"})
    write_header(proto, dataclasses.replace(HEADER, group="c8"))
    write_header(proto, HEADER)
    onnx.save(proto, path)
    onnx.checker.check_model(path)
    assert read_header(path) == HEADER
    assert [entry.key for entry in onnx.load(path).metadata_props] == ["author", KEY]


def test_a_file_of_another_program(tmp_path: Path) -> None:
    path = save(tmp_path / "other.onnx", author="someone")
    with pytest.raises(ModelFileError, match=r"other\.onnx is an ONNX file, but has no entry 'geseg' .* geseg export$"):
        read_header(path)


def test_an_unknown_format(tmp_path: Path) -> None:
    path = save(tmp_path / "new.onnx", geseg=json.dumps({"format": 99, "what": "ever"}))
    with pytest.raises(ModelFileError, match=r"new\.onnx has header format 99, but this geseg reads format 1; export"):
        read_header(path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"format": 1}',
        json.dumps({**json.loads(HEADER.to_json()), "threshold": "high"}),
        json.dumps({**json.loads(HEADER.to_json()), "extra": 1}),
    ],
)
def test_a_damaged_header(tmp_path: Path, text: str) -> None:
    path = save(tmp_path / "bad.onnx", geseg=text)
    with pytest.raises(ModelFileError, match=r"bad\.onnx has a damaged geseg header \(.*\); export it again") as caught:
        read_header(path)
    assert "\n" not in str(caught.value)


def test_not_an_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.onnx"
    path.write_text("no model\n" * 50)
    with pytest.raises(ModelFileError, match=r"notes\.onnx cannot be read as an ONNX file: .*; make one") as caught:
        read_header(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelFileError, match=r"nothing\.onnx does not exist; expected an ONNX file"):
        read_header(tmp_path / "nothing.onnx")
    with pytest.raises(ModelFileError, match=r" is a folder; expected an ONNX file"):
        read_header(tmp_path)
