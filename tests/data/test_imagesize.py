"""The size of a photograph from its header: that of its pixels, and nothing where it could not be read."""

import os
import runpy
import time
from pathlib import Path

import numpy as np
from PIL import Image

from geseg.data.images import read_image
from geseg.data.imagesize import count_pixels

CASES = runpy.run_path(str(Path(__file__).parents[1] / "corpus.py"))["CASES"]


def test_of_every_kind_of_file(tmp_path: Path) -> None:
    """What can be read has the pixels that are read; of the others some headers are whole, but none is an error."""
    for case in CASES:
        case.write(tmp_path / case.name)
    for case in CASES:
        found = count_pixels(tmp_path / case.name)
        if isinstance(case.outcome, str):
            assert 0 <= found <= 120_000_000, ascii(case.name)
        else:
            assert found == read_image(tmp_path / case.name)[..., 0].size, ascii(case.name)
    assert count_pixels(tmp_path / "plain.png") == 56 * 40


def test_it_reads_the_header_alone(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((6000, 5000), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:60])
    start = time.process_time()
    assert count_pixels(path) == 30_000_000
    assert time.process_time() - start < 0.1


def test_a_size_beyond_what_may_be_read_counts_nothing(tmp_path: Path) -> None:
    """It is refused when it is read, and must not take a part of a folder for itself."""
    path = tmp_path / "bomb.pgm"
    path.write_bytes(b"P5 30000 30000 255\n")
    assert count_pixels(path) == 0
    path.write_bytes(b"P5 300 400 255\n")
    assert count_pixels(path) == 120_000


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    assert [count_pixels(tmp_path / name) for name in ("pipe.png", "circle.png", "none.png", ".")] == [0, 0, 0, 0]
