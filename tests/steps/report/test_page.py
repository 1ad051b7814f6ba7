"""The report of eval as a file: what it says, what it draws, what it refuses; a browser looks at it in another test."""

import base64
import dataclasses
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.images import write_mask
from geseg.errors import ConfigError, OutputError
from geseg.steps.evaluate import EvalConfig, run
from geseg.steps.report.words import HUMAN
from geseg.steps.scores import Row
from geseg.steps.truths import open_truths


def pictures(page: str) -> Iterator[Image.Image]:
    for kind, data in re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page):
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.format == kind.upper()
            yield image.convert("RGB")


def test_the_page_says_what_was_scored(maps: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(EvalConfig(model=maps[0], truths=maps[1], report=tmp_path / "r"))
    assert result.report == tmp_path / "r" / "index.html"
    page = result.report.read_text(encoding="utf-8")
    assert "<h1>3 training images of photos</h1>" in page
    mean = f"{result.summaries['photos'][Row('model', 'fov', '0.5')].mean['dice']:.4f}"
    assert f"The masks reach a mean Dice of <strong>{mean} ±" in page
    for words in ("Inside the field of view", "On all pixels", "masks, threshold 0.5", "no second observer has drawn"):
        assert words in page
    assert re.findall(r'<article class="card" id="image-\d" data-name="photos/(\w)"', page) == ["c", "b", "a"]
    auc = result.summaries["photos"][Row("model", "fov", "0.5")].pooled["auc"]
    assert f"<figcaption>ROC curve<small>AUC {auc:.4f}</small></figcaption>" in page
    sizes = {image.size for image in pictures(page)}
    assert sizes == {(68, 72)}
    assert len(list(pictures(page))) == 12
    assert page.count('<svg viewBox="0 0 340 300"') == 3


def test_the_page_holds_all_it_shows(maps: tuple[Path, Path], tmp_path: Path) -> None:
    run(EvalConfig(model=maps[0], truths=maps[1], report=tmp_path / "r"))
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "r").iterdir()] == ["index.html"]
    page = re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL)
    links = re.findall(r'(?:src|href|action|url)\s*[=(]\s*"?([^"\s>)]*)', page)
    assert links
    assert all(link.startswith(("data:image/", "#image-")) for link in links)
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
    assert "default-src 'none'" in page


def test_masks_have_no_curves(maps: tuple[Path, Path], tmp_path: Path) -> None:
    for photograph in open_truths(maps[1]).photographs:
        write_mask(tmp_path / "masks" / f"{photograph.stem}.png", photograph.read().label)  # type: ignore[arg-type]
    run(EvalConfig(model=tmp_path / "masks", truths=maps[1], report=tmp_path / "r"))
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert "There are none: at least one of the maps holds nothing but two values" in page
    assert '<svg viewBox="0 0 340 300"' not in page
    assert 'data-kind="mask"' in page
    assert 'data-kind="probability"' not in page


def test_the_human_level_stands_beside(known_dataset: Callable[[str], Path], tmp_path: Path) -> None:
    root = known_dataset("drive")
    result = run(EvalConfig(model=root / "test" / "2nd_manual", truths=root, report=tmp_path / "r"))
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    mean = f"{result.summaries['drive'][HUMAN].mean['dice']:.4f}"
    assert re.search(rf"a second human observer reaches <strong>{mean} ±[^<]*</strong>\. Both are compared", page)
    assert page.count("drive/01, second observer: ") == 1
    assert page.count(">second observer</th>") == 2


def test_what_is_there_is_not_replaced(maps: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "r"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "index.html").write_text("mine")
    config = EvalConfig(model=maps[0], truths=maps[1], report=out)
    with pytest.raises(OutputError, match=r"index\.html exists already; choose another place"):
        run(config)
    assert (out / "index.html").read_text() == "mine"
    run(dataclasses.replace(config, overwrite=True))
    assert "<!doctype html>" in (out / "index.html").read_text(encoding="utf-8")
    assert (out / "notes.txt").read_text() == "mine"


def test_a_place_that_cannot_be_is_told_before_the_work(maps: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/index\.html: a file is where .* should be; choose .* --report"):
        run(EvalConfig(model=tmp_path / "nowhere", truths=tmp_path / "nowhere", report=tmp_path / "file"))


def test_the_same_command_makes_the_same_bytes(maps: tuple[Path, Path], tmp_path: Path) -> None:
    pages = []
    for name in ("r", "r2"):
        run(EvalConfig(model=maps[0], truths=maps[1], report=tmp_path / name))
        pages.append((tmp_path / name / "index.html").read_bytes())
    assert pages[0] == pages[1]


def test_another_model_is_for_the_equivariance_table() -> None:
    with pytest.raises(ConfigError, match=r"--beside plain is for the equivariance table only.*: add --equivariance"):
        EvalConfig(model=Path("run"), beside=Path("plain"))


def test_an_undefined_figure_is_a_dash_and_comes_last(maps: tuple[Path, Path], tmp_path: Path) -> None:
    truths = open_truths(maps[1])
    empty = np.zeros((72, 68), bool)
    write_mask(maps[1] / "masks" / "b.png", empty)
    write_mask(maps[0] / "b.png", empty)
    assert len(truths.photographs) == 3
    run(EvalConfig(model=maps[0], truths=maps[1], report=tmp_path / "r"))
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r'data-name="photos/(\w)"', page) == ["c", "a", "b"]
    assert re.search(r'data-name="photos/b"[^>]* data-dice="" data-cldice=""', page)
    assert "Dice <b>–</b>" in page
    assert "nan" not in re.sub(r"undefined \(nan\)|base64,[^\"]*", "", page)
