"""Hostile, broken and unusual files, one by one: the photograph that they show, or one line that says why not."""

import contextlib
import gzip
import io
import itertools
import json
import os
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data import images, pnm
from geseg.data import tiff as tiffs
from geseg.data.images import read_image, read_mask, read_pixels
from geseg.errors import ImageError

CORPUS = runpy.run_path(str(Path(__file__).parents[1] / "corpus.py"))
BOMBS = runpy.run_path(str(Path(__file__).parents[1] / "bombs.py"))["BOMBS"]
CASES, PHOTO, PPM, encoded = CORPUS["CASES"], CORPUS["PHOTO"], CORPUS["PPM"], CORPUS["encoded"]


def refusal(path: Path, read: Callable[[Path], object] = read_image) -> str:
    with pytest.raises(ImageError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message.removeprefix(str(path))
    return message


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name))
def test_every_file_has_its_outcome(tmp_path: Path, case: tuple, capfd: pytest.CaptureFixture[str]) -> None:  # type: ignore[type-arg]
    name, write, outcome, levels = case
    (tmp_path / "plain.png").write_bytes(CORPUS["PNG"])  # what a link leads to
    (tmp_path / "loop back.png").symlink_to("loop.png") if name == "loop.png" else None
    (tmp_path / "loop.png").symlink_to("loop back.png") if name == "loop back.png" else None
    write(tmp_path / name)
    if isinstance(outcome, str):
        assert outcome in refusal(tmp_path / name)
    else:
        found = read_image(tmp_path / name)
        assert found.shape == outcome.shape
        assert np.abs(found.astype(int) - outcome).max() <= levels
    assert capfd.readouterr() == ("", ""), "libraries are silent"


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert refusal(tmp_path / "a.png").endswith(
        "a.png cannot be read as an image: Is a directory; replace or remove it"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mask_of_no_numbers_is_not_an_empty_mask(tmp_path: Path, value: float) -> None:
    Image.fromarray(np.array([[0, 1, value]], np.float32)).save(tmp_path / "a.tif")
    for read in (read_mask, read_pixels):
        assert "it has pixels that are no numbers" in refusal(tmp_path / "a.tif", read)


SMALL = PHOTO[20:30, 10:22]
WHOLE = {
    "png": encoded(SMALL, "PNG"),
    "palette png": encoded(Image.fromarray(SMALL).quantize(16), "PNG"),
    "16-bit png": CORPUS["png16"](SMALL.astype(np.uint16) * 257),
    "jpg": encoded(SMALL, "JPEG"),
    "progressive jpg": encoded(SMALL, "JPEG", progressive=True),
    "gif": encoded(Image.fromarray(SMALL).quantize(16), "GIF"),
    "bmp": encoded(SMALL, "BMP"),
    "tif": encoded(SMALL, "TIFF"),
    "lzw tif": encoded(SMALL, "TIFF", compression="tiff_lzw"),
    "16-bit tif": encoded(SMALL[:, :, 0].astype(np.uint16) * np.uint16(257), "TIFF", compression="tiff_deflate"),
    "webp": encoded(SMALL, "WEBP", lossless=True),
    "ppm": b"P6 12 10 255\n" + SMALL.tobytes(),
    "ppm.gz": gzip.compress(b"P6 12 10 255\n" + SMALL.tobytes()),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_anywhere_shows_all_of_the_photograph_or_nothing(tmp_path: Path, kind: str) -> None:
    path, data = tmp_path / "a.png", WHOLE[kind]
    path.write_bytes(data)
    whole, refused = read_image(path), 0
    for length in range(len(data)):
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(path), whole, err_msg=f"{length} bytes")
        except ImageError:
            refused += 1
    assert refused > 0.8 * len(data)


@pytest.mark.parametrize("kind", ["png", "palette png", "16-bit png", "ppm.gz"])
def test_one_damaged_byte_never_shows_another_photograph(tmp_path: Path, kind: str) -> None:
    """In formats with checksums; gzip has none for its own header."""
    path, data = tmp_path / "a.png", WHOLE[kind]
    path.write_bytes(data)
    whole = read_image(path)
    for place in range(10 if kind == "ppm.gz" else 0, len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with contextlib.suppress(ImageError):
            np.testing.assert_array_equal(read_image(path), whole, err_msg=f"byte {place}")


def test_programs_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow would hand an EPS to Ghostscript."""
    monkeypatch.setattr(subprocess, "Popen", None)
    Image.fromarray(PHOTO).save(tmp_path / "a.eps")
    assert "it has no known format" in refusal((tmp_path / "a.eps").rename(tmp_path / "a.png"))


@pytest.mark.parametrize("change", ["grows", "shrinks", "is written again"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    path, decode = tmp_path / "a.ppm", images.decode
    path.write_bytes(PPM)

    def change_after(file: io.BufferedReader) -> images.Pixels:
        pixels = decode(file)
        if change == "grows":
            path.write_bytes(PPM + b" ")
        elif change == "shrinks":
            os.truncate(path, 99)
        else:
            os.utime(path, ns=(1, 1))
        return pixels

    monkeypatch.setattr(images, "decode", change_after)
    assert refusal(path) == f"{path} changed while it was read; repeat this when it is complete"


@pytest.mark.parametrize("how", [Path.unlink, lambda path: path.with_name("other.png").rename(path)])
def test_what_is_open_stays_whole_while_its_name_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[Path], object]
) -> None:
    path, decode = tmp_path / "a.png", images.decode
    path.write_bytes(CORPUS["png16"](PHOTO.astype(np.uint16) * 257))  # it is decoded twice
    (tmp_path / "other.png").write_bytes(encoded(255 - PHOTO, "PNG"))

    def change_before(file: io.BufferedReader) -> images.Pixels:
        how(path)
        return decode(file)

    monkeypatch.setattr(images, "decode", change_before)
    np.testing.assert_array_equal(read_image(path), PHOTO)


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_a_file_that_is_written_again_and_again(tmp_path: Path, kind: str) -> None:
    """Slowly, so that every state lasts longer than the clock of the file system ticks, and now and then long enough
    for a machine that is busy with other things to read it.
    """
    path, done = tmp_path / "a.png", threading.Event()
    one, other = (encoded(pixels, kind, compression="raw") for pixels in (PHOTO, 255 - PHOTO))
    path.write_bytes(one)

    def write() -> None:
        while not done.is_set():
            for data in (other, one):
                with path.open("wb", buffering=0) as file:
                    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
                        time.sleep(0.012)
                        file.write(part)
                time.sleep(next(rests))

    rests = itertools.cycle([0.012] * 5 + [0.2])
    thread = threading.Thread(target=write)
    thread.start()
    deadline = time.monotonic() + 60
    shown = refused = tries = 0
    try:
        while tries < 300 or (not (shown and refused) and time.monotonic() < deadline):
            tries += 1
            try:
                found = read_image(path)
            except ImageError:
                refused += 1
                continue
            assert (found == PHOTO).all() or (found == 255 - PHOTO).all()
            shown += 1
    finally:
        done.set()
        thread.join()
    assert shown
    assert refused


@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("planar", [False, True])
def test_deep_tiles_larger_than_the_image(
    tmp_path: Path, tiff: Callable[..., bytes], compression: int, planar: bool
) -> None:
    values = SMALL.astype(np.uint16) * 257
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values, compression=compression, planar=planar, block=(32, 48), predictor=compression > 1))
    np.testing.assert_array_equal(read_image(path), SMALL)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("compression", "rows"), [(1, None), (1, 3), (8, 3)])
def test_deep_photographs_in_several_bands(
    tmp_path: Path,
    tiff: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
    compression: int,
    rows: int,
    planar: bool,
) -> None:
    monkeypatch.setattr(tiffs, "BAND", 4 * 3 * SMALL.shape[1])
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(SMALL.astype(np.uint16) * 257, compression=compression, planar=planar, block=rows))
    np.testing.assert_array_equal(read_image(path), SMALL)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("comment", [b"", b"# 1 2 3\n", b"#\n#\n", b"# 9 9"])
def test_plain_numbers_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, comment: bytes
) -> None:
    monkeypatch.setattr(pnm, "BLOCK", block)
    numbers = b" ".join(b"%d" % value for value in SMALL.ravel()) + b"\n"
    middle = numbers.index(b" ", 500) + 1
    text = numbers[:middle] + comment + numbers[middle:] if comment.endswith(b"\n") else numbers[:-1] + comment
    (tmp_path / "a.ppm").write_bytes(b"P3 12 10 255\n" + text)
    np.testing.assert_array_equal(read_image(tmp_path / "a.ppm"), SMALL)


AS_NOBODY = """
import os
from pathlib import Path
from geseg.data.images import read_image
from geseg.errors import ImageError
read_image(Path("b.png"))  # loads what is needed from folders that may be closed to others
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
read_image(Path("b.png"))
try:
    read_image(Path("a.png"))
except ImageError as error:
    print(error)
"""


def test_no_permission(tmp_path: Path) -> None:
    """Root may read everything, so it becomes somebody else for this."""
    tmp_path.chmod(0o755)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(CORPUS["PNG"])
    (tmp_path / "a.png").chmod(0)
    command = [sys.executable, "-c", AS_NOBODY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "a.png cannot be read as an image: Permission denied; make it readable\n"


MEASURE = """
import json, os, sys, time
from pathlib import Path
from geseg.data.images import read_image
from geseg.errors import ImageError

def megabytes(what):  # the highest point is that of this process alone, unlike that of getrusage
    (line,) = (line for line in open("/proc/self/status") if line.startswith(what))
    return int(line.split()[1]) / 1024

read_image(Path("plain.png"))
for name in sys.argv[1:]:
    print(end="", flush=True)
    if os.fork() == 0:
        before, start = megabytes("VmRSS"), time.perf_counter()
        try:
            found = read_image(Path(name)).shape[:2]
        except ImageError as error:
            found = str(error)
        seconds, memory = time.perf_counter() - start, megabytes("VmHWM") - before
        print(json.dumps([name, found, seconds, memory]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is measured as Linux tells it")
def test_bombs_take_neither_long_nor_much_memory(tmp_path: Path) -> None:
    (tmp_path / "plain.png").write_bytes(CORPUS["PNG"])
    for name, (data, _) in BOMBS.items():
        (tmp_path / name).write_bytes(data)
    os.truncate(tmp_path / "sparse.tif", 20_000_000_000)
    command = [sys.executable, "-c", MEASURE, *BOMBS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=300)
    assert done.stderr == ""
    found = {name: rest for name, *rest in map(json.loads, done.stdout.splitlines())}
    assert found.keys() == BOMBS.keys(), "none has killed its process"
    for name, (_, outcome) in BOMBS.items():
        result, seconds, memory = found[name]
        assert (tuple(result) == outcome) if isinstance(outcome, tuple) else (outcome in result), (name, result)
        assert seconds < 20, f"{name}: {seconds} s; 3 s at most on a usual computer"
        assert memory < 300, f"{name}: {memory} MB; the largest shows 81 megapixels"
