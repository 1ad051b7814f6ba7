"""A long run over photographs of all kinds, some broken: each has its mask or its reason, and memory is flat."""

import gzip
import io
import json
import os
import random
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from geseg.data import drawn
from geseg.data.images import split_suffix
from geseg.inference.onnxfile import read_header, write_header

CASES = runpy.run_path(str(Path(__file__).parents[1] / "corpus.py"))["CASES"]
EVERY = 20
"""One photograph of so many is broken."""
SIDES = (256, 600)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def turned() -> Image.Exif:
    """The orientation of a camera that was held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


KINDS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": lambda image: encode(image, "PNG", compress_level=1),
    "jpg": lambda image: encode(image, "JPEG", quality=90),
    "turned.jpg": lambda image: encode(image, "JPEG", exif=turned()),
    "cmyk.jpeg": lambda image: encode(image.convert("CMYK"), "JPEG"),
    "progressive.JPG": lambda image: encode(image, "JPEG", progressive=True),
    "tif": lambda image: encode(image, "TIFF", compression="tiff_lzw"),
    "deep.tiff": lambda image: encode(deep(image), "TIFF"),
    "deep.png": lambda image: encode(deep(image), "PNG", compress_level=1),
    "grey.png": lambda image: encode(image.convert("L"), "PNG", compress_level=1),
    "alpha.png": lambda image: encode(image.convert("RGBA"), "PNG", compress_level=1),
    "palette.gif": lambda image: encode(image.quantize(64), "GIF"),
    "bmp": lambda image: encode(image, "BMP"),
    "ppm": lambda image: encode(image, "PPM"),
    "ppm.gz": lambda image: gzip.compress(encode(image, "PPM"), 1),
}


def broken_files(scratch: Path) -> list[tuple[str, bytes, str]]:
    """Suffix, bytes and reason of every plain file of the corpus that is to be refused."""
    found = []
    for case in CASES:
        case.write(path := scratch / case.name)
        if isinstance(case.outcome, str) and path.is_file() and not path.is_symlink():
            found.append((split_suffix(case.name)[1], path.read_bytes(), case.outcome))
    return found


def write_photographs(folder: Path, scratch: Path, number: int) -> dict[str, str]:
    """Names of the broken ones, with the reason for each."""
    kinds, broken, chance = list(KINDS), broken_files(scratch), random.Random(0)
    drawings = [Image.fromarray(drawn.draw(seed, SIDES[1], SIDES[1]).image) for seed in range(max(2, number // 50))]
    bad = dict[str, str]()
    for place in range(number):
        if place % EVERY == EVERY // 2:
            suffix, data, reason = broken[place // EVERY % len(broken)]
            name = f"{place:04}{suffix}"
            bad[name] = reason
        else:
            kind = kinds[place % len(kinds)]
            name = f"{place:04}.{kind}"
            image = chance.choice(drawings).resize((chance.randint(*SIDES), chance.randint(*SIDES)))
            data = KINDS[kind](image.rotate(90 * chance.randrange(4), expand=True))
        (folder / name).write_bytes(data)
    return bad


def resident(process: int) -> float:
    """Megabytes of memory that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(folder: Path, run_folder: Path, number: int) -> list[tuple[int, float]]:
    """Segment so many photographs; returns how much memory was held when so many masks were there."""
    for name in ("photos", "scratch"):
        (folder / name).mkdir()
    bad = write_photographs(folder / "photos", folder / "scratch", number)
    model = onnx.load(run_folder / "model.onnx")
    write_header(model, replace(read_header(run_folder / "model.onnx"), diameters=None))  # at their own sizes
    onnx.save(model, folder / "model.onnx")

    command = [sys.executable, "-m", "geseg", "predict", "photos", "-o", "masks", "--model", "model.onnx", "-q"]
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen([*command, "--device", "cpu"], cwd=folder, stdout=stderr, stderr=stderr)
    held = list[tuple[int, float]]()
    while process.poll() is None:
        held.append((len(list(folder.glob("masks/*.png"))), resident(process.pid)))
        time.sleep(0.05)

    said = (folder / "stderr").read_text()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == f"geseg: {len(bad)} images could not be segmented, as listed above"
    rows = {row["image"]: row for row in json.loads((folder / "masks" / "report.json").read_text())["images"]}
    names = sorted(path.name for path in (folder / "photos").iterdir())
    assert list(rows) == names, "each photograph has a row, in order"
    for name in names:
        row = rows[name]
        if name in bad:
            assert (row["status"], bad[name] in row["reason"]) == ("failed", True), row
            assert f"photos/{name} " in said
        else:
            assert (row["status"], row["reason"]) == ("done", None), row
    stems = {name.removesuffix(".gz").rpartition(".")[0] for name in names if name not in bad}
    assert {path.stem for path in (folder / "masks").glob("*.png")} == stems
    assert [path.name for path in (folder / "masks").iterdir() if path.suffix != ".png"] == ["report.json"]
    return held


def test_a_small_folder_of_all_kinds(tmp_path: Path, run_folder: Path) -> None:
    soak(tmp_path, run_folder, 30)


@pytest.mark.slow
def test_two_thousand_photographs(tmp_path: Path, run_folder: Path) -> None:
    """Memory must not grow from the second quarter, when every size has been seen, to the last."""
    held = soak(tmp_path, run_folder, 2000)
    done = max(number for number, _ in held)
    quarters = [max(mb for number, mb in held if q * done // 4 <= number <= (q + 1) * done // 4) for q in range(4)]
    assert quarters[3] <= 1.05 * quarters[1] + 10, quarters
