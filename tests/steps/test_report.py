"""The report of eval as a file: what it says, what it draws, what it refuses; a browser looks at it in another test."""

import base64
import dataclasses
import io
import itertools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.images import write_mask, write_probability
from geseg.data.patchfile import WholeImage
from geseg.errors import ConfigError, OutputError
from geseg.steps import reportcharts, reportmoves, reportpage, reportplates, reportwords
from geseg.steps.evalresult import Beside
from geseg.steps.evaluate import EvalConfig, EvalResult, run
from geseg.steps.moving import MOVES, Moved
from geseg.steps.reportplates import FALSE_ALARM, HIT, MISS, Album, overlay, shrink
from geseg.steps.reportsvg import Plane, Scale, around, element, text, unit
from geseg.steps.scores import Row, tally
from geseg.steps.truths import open_truths

Make = Callable[..., Path]


@pytest.fixture
def maps(make_generic: Make, tmp_path: Path) -> tuple[Path, Path]:
    """Probability maps of three photographs, and the photographs: a is the best, c the worst."""
    root = make_generic()
    for step, photograph in enumerate(open_truths(root).photographs):
        label = photograph.read().label
        assert label is not None
        noise = np.random.default_rng(step).random(label.shape)
        write_probability(
            tmp_path / "maps" / f"{photograph.stem}.png", np.where(label, 0.8, 0.1) * noise ** (0.2 * step + 0.1)
        )
    return tmp_path / "maps", root


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
    row = reportwords.HUMAN
    mean = f"{result.summaries['drive'][row].mean['dice']:.4f}"
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
    with pytest.raises(OutputError, match=r"cannot make the folder .*file: .*; choose another with --report"):
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


def a_result(maps: tuple[Path, Path], **changes: object) -> EvalResult:
    return dataclasses.replace(run(EvalConfig(model=maps[0], truths=maps[1])), **changes)  # type: ignore[arg-type]


def moved(dice: float, difference: float) -> tuple[Moved, ...]:
    zero = MOVES[0].name
    return tuple(Moved(m.name, m.exact, dice, 0.9, 0.0 if m.name == zero else difference, 0.1, 0.02) for m in MOVES)


def test_the_equivariance_panel_has_a_line_for_each_model(maps: tuple[Path, Path]) -> None:
    beside = Beside(Path("runs/<plain>"), "cpu", moved(0.7, 1e-2))
    panel = reportmoves.panel(a_result(maps, moved=moved(0.8, 1e-7), beside=beside))
    assert panel.count("<svg") - panel.count('aria-hidden="true"') == 4
    assert panel.count('class="line s0"') == panel.count('class="line s1"') == 4 + 1  # and the legend
    assert "runs/&lt;plain&gt;, mirror rot 90: 0.7" in panel
    assert panel.count("rot 15: 1e-07") == 1
    assert reportmoves.panel(a_result(maps)) == ""


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


def test_several_data_sets_have_a_curve_each(maps: tuple[Path, Path]) -> None:
    result = a_result(maps)
    whole = open_truths(maps[1]).photographs[0].read()
    assert whole.label is not None
    probability = np.where(whole.label, 0.9, 0.2).astype(np.float32)
    tallies = tally(whole, probability, result.thresholds)
    drawn = reportcharts.curves(result, {"one": tallies, "<two>": tallies})
    assert drawn.count('class="line s0"') == drawn.count('class="line s1"') == 3 + 1
    assert "&lt;two&gt;, threshold 0.5: 1 − specificity 0.0000, sensitivity 1.0000" in drawn


# Pictures


@pytest.fixture
def whole(make_generic: Make) -> WholeImage:
    return open_truths(make_generic(stems=("a",))).photographs[0].read()


def test_overlays_have_the_colours_of_the_legend(whole: WholeImage) -> None:
    assert whole.label is not None
    mask = np.roll(whole.label, 1, axis=1)
    painted = overlay(whole, mask, whole.fov.shape)
    cases = ((HIT, mask & whole.label), (MISS, ~mask & whole.label), (FALSE_ALARM, mask & ~whole.label))
    for colour, pixels in cases:
        assert (pixels & whole.fov).any()
        assert (painted[pixels & whole.fov] == colour).all()
    elsewhere = painted[~mask & ~whole.label]
    assert (elsewhere == elsewhere[:, :1]).all(), "the photograph is grey"
    assert (painted[~whole.fov] == 0).all()
    style = (reportpage.FILES / "page.css").read_text()
    for name, colour in (("hit", HIT), ("miss", MISS), ("false", FALSE_ALARM)):
        assert f"--{name}: rgb({' '.join(map(str, colour))})" in style


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_overlays_turn_with_the_photograph(whole: WholeImage, turns: int, mirrored: bool) -> None:
    def act(pixels: np.ndarray) -> np.ndarray:
        turned = np.rot90(pixels, turns)
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

    assert whole.label is not None
    mask = np.roll(whole.label, 2, axis=0)
    moved = dataclasses.replace(whole, image=act(whole.image), label=act(whole.label), fov=act(whole.fov))
    np.testing.assert_array_equal(
        overlay(moved, act(mask), moved.fov.shape), act(overlay(whole, mask, whole.fov.shape))
    )


def lab(colour: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB (IEC 61966-2-1 primaries, D65)."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ colour
    f = np.cbrt(np.maximum(xyz / np.array([0.9505, 1.0, 1.089]), 0.008856))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


VISION = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
    "no colours": np.full((3, 3), [0.2126, 0.7152, 0.0722]),
}
"""Machado et al. 2009 (doi:10.1109/TVCG.2009.113), at full severity, on linear RGB; and a printer without colours."""


@pytest.mark.parametrize("vision", VISION)
def test_colours_can_be_told_apart_by_everybody(vision: str) -> None:
    """A difference of 2.3 can just be seen; lines of a pixel need more, which three greys cannot have."""
    backdrop = (reportplates.BRIGHTEST,) * 3
    seen = [lab(VISION[vision] @ (np.array(c) / 255) ** 2.2) for c in (HIT, MISS, FALSE_ALARM, backdrop)]
    least = min(float(np.linalg.norm(p - q)) for p, q in itertools.combinations(seen[:3], 2))
    assert least > (30 if vision != "no colours" else 0)
    assert min(float(np.linalg.norm(colour - seen[3])) for colour in seen[:3]) > 25


def test_large_photographs_are_reduced() -> None:
    assert shrink((584, 565), 20e6 / 20) == 1
    assert shrink((2336, 3504), 20e6 / 15) == pytest.approx(3504 / 1024)
    assert math.prod(side / shrink((2048, 2048), 20e6 / 200) for side in (2048, 2048)) == pytest.approx(100_000)
    assert 2048 / shrink((2048, 2048), 1) == reportplates.SHORTEST
    assert shrink((64, 64), 1) == 1


def test_reduced_pictures_mix_what_they_cover(whole: WholeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reportplates, "LONGEST", 36)
    monkeypatch.setattr(reportplates, "SHORTEST", 8)
    assert whole.label is not None
    album = Album(1, 0.5)
    album.add(whole, whole.label.astype(np.float32))
    (plate,) = album.plates
    assert (plate.width, plate.height) == (34, 36)
    page = " ".join(f'src="{uri}"' for uri in (plate.photograph, plate.label, plate.map, plate.overlay))
    photograph, label, _, painted = pictures(page)
    assert photograph.size == (34, 36)
    mean = np.asarray(label)[:, :, 0].mean() / 255
    assert mean == pytest.approx(whole.label.mean(), abs=0.01), "a thin vessel fades, but is not lost"
    assert np.asarray(painted).max() <= max(HIT)


def test_twenty_photographs_of_drive_are_a_page_of_less_than_30_mb(real_data: Path) -> None:
    """With a probability that is as rough as a photograph."""
    (photograph, *_) = open_truths(real_data / "DRIVE").photographs
    whole, album = photograph.read(), Album(20, 0.5)
    album.add(whole, (whole.image[:, :, 1] / np.float32(255)).astype(np.float32))
    (plate,) = album.plates
    assert (plate.width, plate.height) == (565, 584)
    assert 20 * sum(map(len, (plate.photograph, plate.label, plate.map, plate.overlay))) < 30e6


# Drawing


def test_names_are_escaped_wherever_they_stand() -> None:
    assert text("<b>\"&'\n\u202e") == "&lt;b&gt;&quot;&amp;&#x27;\\n\\u202e"
    assert element("a", "x", title='"><script>', data_name="\udcff") == (
        '<a title="&quot;&gt;&lt;script&gt;" data-name="\\udcff">x</a>'
    )


def test_an_axis_fills_its_chart_and_ends_on_round_numbers() -> None:
    scale = around([0.7312, 0.8499, math.nan], "Dice")
    assert (scale.low, scale.high) == (pytest.approx(0.7), pytest.approx(0.85))
    assert [name for _, name in scale.ticks] == ["0.70", "0.75", "0.80", "0.85"]
    assert around([1.0, 1.0], "Dice").high == 1
    short = around([0.8, 0.8001], "Dice", least=0.05)
    assert short.high - short.low == pytest.approx(0.05)
    assert around([math.nan], "Dice").low == 0


def test_places_on_a_plane() -> None:
    plane = Plane(x=unit("x"), y=Scale(low=1e-4, high=1, logarithmic=True), width=100, height=100)
    assert (plane.px(0), plane.px(1)) == (48, 88)
    assert plane.py(1e-2) == pytest.approx((plane.py(1) + plane.py(1e-4)) / 2)
    assert plane.py(1e-9) == plane.py(1e-4)
    assert plane.line([(0, 1), (0.001, 1), (math.nan, 1), (1, 1)], "s0").count("M") == 2
    assert plane.mark((math.nan, 1), "dot", "s0", "") == ""
