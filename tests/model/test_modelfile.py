import json
import struct
from pathlib import Path

import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

from geseg.errors import ModelFileError
from geseg.model import modelfile, modelweights
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader, seal
from geseg.model.restrict import restrict
from geseg.model.unet import build

HEADER = ModelHeader(group="d4", widths=(1, 2), normalisation="none", threshold=0.4, metrics={"val_dice": 0.5})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    modelfile.save(build(Group.parse("d4"), (1, 2)), HEADER, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    net = build(Group.parse("d4"), (1, 2))
    net(torch.randn(2, 3, 8, 8))  # so that the norms are not as new
    modelfile.save(net, HEADER, tmp_path / "m.safetensors")
    loaded, header = modelfile.load(tmp_path / "m.safetensors")
    assert header == HEADER
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(loaded(x), net.eval()(x))
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_restricted_model_needs_no_e2cnn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = build(Group.parse("d4"), (1, 2)).eval()
    path = tmp_path / "plain.safetensors"
    header = ModelHeader(group="d4", widths=(1, 2), normalisation="none", threshold=0.4, kind="restricted")
    modelfile.save(restrict(net), header, path)

    def forbidden(*_: object) -> None:
        raise AssertionError("e2cnn was asked for a basis")

    monkeypatch.setattr("geseg.model.kernels.basis", forbidden)
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(modelfile.load(path)[0](x), net(x), atol=1e-5, rtol=0)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"none\.safetensors is no file; expected a model such as"):
        modelfile.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, struct.pack("<Q", 2**60) + b"{}"])
def test_not_a_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="is no safetensors file"):
        modelfile.load(path)


def test_the_length_of_the_header_is_checked_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 90_000_000) + b"{" + b" " * 89_999_999)
    monkeypatch.setattr(safetensors, "safe_open", None)
    with pytest.raises(ModelFileError, match=r"no safetensors file \(its header would have 90000000 bytes\); expected"):
        modelfile.load(path)


def test_any_other_weight_is_noticed(model: Path) -> None:
    data = bytearray(model.read_bytes())
    for place in (len(data) - 1, len(data) - 400, data.index(b"0.4") + 2):
        model.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ModelFileError, match=r"\(its bytes do not fit its checksum\); the file is damaged"):
            modelfile.load(model)
    model.write_bytes(data)
    modelfile.load(model)


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    """Libraries that hash at random would order what they write at random."""
    net = build(Group.parse("d1"), (1, 2))
    files = [tmp_path / str(number) for number in range(8)]
    for file in files:
        modelfile.save(net, HEADER, file)
    assert len({file.read_bytes() for file in files}) == 1


def rewritten(model: Path, **change: object) -> Path:
    """The file with something else in its header, by somebody who knows how to write its checksum."""
    text = json.dumps(json.loads(HEADER.to_json()) | change)
    state = safetensors.torch.load_file(model)
    sealed = seal(text, modelweights.digest(text, safetensors.numpy.load_file(model)))
    safetensors.torch.save_file(state, model, metadata={"geseg": sealed})
    return model


def test_a_file_without_its_checksum(model: Path) -> None:
    state = safetensors.torch.load_file(model)
    safetensors.torch.save_file(state, model, metadata={"geseg": HEADER.to_json()})
    with pytest.raises(ModelFileError, match="its bytes do not fit its checksum"):
        modelfile.load(model)
    for old in (1, 2):
        values = json.loads(HEADER.to_json()) | {"format": old}
        safetensors.torch.save_file(state, model, metadata={"geseg": json.dumps(values)})
        with pytest.raises(
            ModelFileError, match=f"its format is number {old}, .*; train it again, or use that version"
        ):
            modelfile.load(model)


def test_of_another_program(tmp_path: Path) -> None:
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match="of another program"):
        modelfile.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 99, "versions": {"geseg": "7.0"}},
            "its format is number 99, written by geseg 7.0; train it again, .*; this geseg reads format 3",
        ),
        ({"group": "d5"}, "group 'd5' is not known"),
        ({"surprise": 1}, "unknown fields"),
        ({"widths": [1, 3]}, "the weights do not fit the header"),
        ({"widths": [10**5, 10**5]}, "numbers are too few for the widths"),
        ({"widths": [1] * 1000}, "are out of range"),
        ({"widths": []}, "are out of range"),
        ({"threshold": float("nan")}, "are out of range"),
        ({"threshold": "high"}, 'threshold is "high", expected float'),
        ({"diameters": [9, 3]}, "are out of range"),
        ({"calibre": -1}, "calibre -1.0 is out of range"),
        ({"format": [1]}, r"its format is number \[1\], written by geseg unknown"),
        ({"training": {"samples": {"train": ["drive/21"]}}}, r"training.samples.train is \["),
        ({"metrics": [[[]]]}, "metrics is"),
    ],
)
def test_a_header_that_does_not_fit(model: Path, change: dict[str, object], message: str) -> None:
    rewritten(model, **change)
    with pytest.raises(ModelFileError, match=message):
        modelfile.load(model)
