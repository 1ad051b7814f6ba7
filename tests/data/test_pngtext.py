from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from geseg.data import images
from geseg.data.pngtext import read_text

TEXT = '{"threshold": 0.5}'


def test_every_kind_of_output_carries_its_text(tmp_path: Path) -> None:
    mask = np.eye(9, dtype=bool)
    images.write_mask(tmp_path / "mask.png", mask, TEXT)
    images.write_probability(tmp_path / "probability.png", mask.astype(np.float32), TEXT)
    images.write_overlay(tmp_path / "overlay.png", np.zeros((9, 9, 3), np.uint8), mask, TEXT)
    for path in tmp_path.iterdir():
        assert read_text(path) == TEXT
        with Image.open(path) as image:
            assert image.info == {"geseg": TEXT}, "no time, and nothing else"


def test_the_same_pixels_and_text_make_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        images.write_mask(tmp_path / name, np.eye(9, dtype=bool), TEXT)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_files_have_none(tmp_path: Path) -> None:
    images.write_mask(tmp_path / "none.png", np.eye(9, dtype=bool))
    other = PngInfo()
    other.add_text("Comment", "x")
    Image.new("L", (3, 3)).save(tmp_path / "other.png", pnginfo=other)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    for path in tmp_path.iterdir():
        assert read_text(path) is None


def test_a_file_that_was_cut_off_or_damaged_has_none(tmp_path: Path) -> None:
    images.write_mask(tmp_path / "mask.png", np.eye(9, dtype=bool), TEXT)
    data = (tmp_path / "mask.png").read_bytes()
    path = tmp_path / "cut.png"
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert read_text(path) is None
    path.write_bytes(data.replace(b"0.5", b"0.6"))
    assert read_text(path) is None


def test_a_chunk_of_endless_length_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXtgeseg\0")
    assert read_text(tmp_path / "a.png") is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "a.png")
