import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from geseg.errors import ModelFileError
from geseg.inference import onnxgraph
from geseg.inference.onnxfile import KEY, SEAL, OnnxHeader, open_session, read_header, remove_remarks, write_header

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


def save(path: Path, proto: onnx.ModelProto | None = None, **metadata: str) -> Path:
    proto = proto or model()
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
    assert [entry.key for entry in onnx.load(path).metadata_props] == ["author", KEY, SEAL]


def test_remarks_go_and_the_graph_stays() -> None:
    proto, plain = with_weights(), with_weights()
    for part in (proto.graph, proto.graph.node[0], proto.graph.initializer[0], proto.graph.input[0]):
        part.doc_string = "made on a Monday"
        part.metadata_props.add(key="stack_trace", value='File "/home/ada/geseg/model/unet.py", line 64')
    remove_remarks(proto)
    assert proto == plain


def test_a_file_of_another_program(tmp_path: Path) -> None:
    path = save(tmp_path / "other.onnx", author="someone")
    with pytest.raises(ModelFileError, match=r"other\.onnx is an ONNX file, but has no entry 'geseg' .* geseg export$"):
        read_header(path)


def test_an_unknown_format(tmp_path: Path) -> None:
    path = save(tmp_path / "new.onnx", geseg=json.dumps({"format": 99, "what": "ever"}))
    with pytest.raises(
        ModelFileError,
        match=r"new\.onnx has header format 99, written by geseg of unknown version, but this geseg reads .* 3;",
    ):
        read_header(path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"format": 3}',
        json.dumps({**json.loads(HEADER.to_json()), "threshold": "high"}),
        json.dumps({**json.loads(HEADER.to_json()), "calibre": 0}),
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


def signed(path: Path, proto: onnx.ModelProto) -> Path:
    """What somebody writes who knows how to write our header and checksum."""
    write_header(proto, HEADER)
    path.write_bytes(proto.SerializeToString())  # onnx would read the other file
    return path


def message_of(path: Path) -> str:
    """Why a file is refused; onnxruntime must not have seen it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ort, "InferenceSession", None)
        with pytest.raises(ModelFileError) as caught:
            open_session(path, ort.SessionOptions(), ["CPUExecutionProvider"])
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path} ")


def test_any_other_byte_is_noticed(tmp_path: Path) -> None:
    path = signed(tmp_path / "model.onnx", model())
    data = path.read_bytes()
    assert read_header(path) == HEADER
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ModelFileError):
            read_header(path)


def test_a_file_without_its_checksum(tmp_path: Path) -> None:
    assert "is damaged: its bytes do not fit its" in message_of(save(tmp_path / "new.onnx", geseg=HEADER.to_json()))
    for number in (1, 2):
        old = json.dumps(json.loads(HEADER.to_json()) | {"format": number})
        message = message_of(save(tmp_path / "old.onnx", geseg=old))
        assert message.startswith(f"has header format {number}, written by geseg ")
        assert message.endswith("reads format 3; train and export it again, or use that version")


def with_weights(**change: object) -> onnx.ModelProto:
    proto = model()
    tensor = proto.graph.initializer.add()
    tensor.CopyFrom(numpy_helper.from_array(np.zeros((2, 3), np.float32), "w"))
    for name, value in change.items():
        if name == "dims":
            tensor.dims[:] = value  # type: ignore[index]
        else:
            setattr(tensor, name, value)
    return proto


def outside(location: bool = True) -> onnx.ModelProto:
    """Weights in another file, with and without the mark that says so."""
    proto = with_weights(**({"data_location": TensorProto.EXTERNAL} if location else {}))
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    return proto


def looping() -> onnx.ModelProto:
    proto = model()
    attribute = helper.make_attribute("body", proto.graph)
    proto.graph.node[0].attribute.append(attribute)
    return proto


def with_node(**kind: str) -> onnx.ModelProto:
    proto = model()
    proto.graph.node.append(helper.make_node(**({"op_type": "Relu"} | kind), inputs=["x"], outputs=["z"]))
    return proto


def constant() -> onnx.ModelProto:
    """Weights of a constant, inside of an attribute, in another file."""
    proto = with_node(op_type="Constant")
    proto.graph.node[1].attribute.append(helper.make_attribute("value", outside().graph.initializer[0]))
    return proto


def large() -> onnx.ModelProto:
    proto = model()
    proto.graph.doc_string = "x" * 2**21
    return proto


STRANGERS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "external data": (outside, "weights in another file, which geseg never writes"),
    "external data without the mark": (lambda: outside(False), "weights in another file, which geseg never writes"),
    "the mark alone": (lambda: with_weights(data_location=1), "weights in another file, which geseg never writes"),
    "external data of a constant": (constant, "weights in another file, which geseg never writes"),
    "a graph in a graph": (looping, "graphs inside of its graph, which geseg never writes"),
    "an operator that loops": (lambda: with_node(op_type="Loop"), "the operator 'Loop', which geseg never writes"),
    "an operator of somebody": (
        lambda: with_node(domain="ai.evil"),
        "operators of 'ai.evil', which geseg never writes",
    ),
    "weights without bytes": (
        lambda: with_weights(dims=[10**9, 10**9]),
        "weights of shape [1000000000, 1000000000] in",
    ),
    "weights of many axes": (lambda: with_weights(dims=[1] * 9), "weights of more than 8 axes"),
    "a long text": (large, "bytes beside its weights, expected 1048576 at most"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_file_from_a_stranger_is_refused_before_onnxruntime_opens_it(tmp_path: Path, kind: str) -> None:
    make, message = STRANGERS[kind]
    path = signed(tmp_path / "model.onnx", make())
    assert f"cannot be read as an ONNX file: it has {message}" in re.sub(
        r"has \d+ bytes", "has bytes", message_of(path)
    )


def test_plain_weights_are_read(tmp_path: Path) -> None:
    """Keeps the test above honest."""
    path = signed(tmp_path / "model.onnx", with_weights())
    assert open_session(path, ort.SessionOptions(), ["CPUExecutionProvider"]).get_outputs()[0].name == "y"


def test_functions_and_training_graphs_are_refused(tmp_path: Path) -> None:
    proto = model()
    proto.functions.add(name="f", domain="d")
    assert "it has functions, which geseg never writes" in message_of(signed(tmp_path / "a.onnx", proto))
    proto = model()
    proto.training_info.add()
    assert "it has training graphs, which geseg never writes" in message_of(signed(tmp_path / "a.onnx", proto))


@pytest.mark.parametrize(
    "data", [b"\x08", b"\x3a\xff\xff\xff\xff\x07", b"\x3b", b"\x00", b"\x80" * 99, b"\x38\x01", b"\x39"]
)
def test_damaged_parts(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(data)
    assert message_of(tmp_path / "a.onnx").startswith("cannot be read as an ONNX file: it")


def test_many_parts_take_no_time(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x3a\xfe\xff\x7f" + b"\x0a\x00" * (2**20 - 1))
    assert "cannot be read as an ONNX file: it has more than 32768 parts" in message_of(tmp_path / "a.onnx")


def test_too_many_bytes(tmp_path: Path) -> None:
    with (tmp_path / "a.onnx").open("wb") as file:
        file.truncate(onnxgraph.MOST_BYTES + 1)
    assert "it has 536870913 bytes, expected 536870912 at most" in message_of(tmp_path / "a.onnx")


def test_two_headers(tmp_path: Path) -> None:
    proto = model()
    write_header(proto, HEADER)
    proto.metadata_props.add(key=KEY, value=HEADER.to_json())
    onnx.save(proto, tmp_path / "a.onnx")
    assert "it has two entries 'geseg' in its metadata" in message_of(tmp_path / "a.onnx")
