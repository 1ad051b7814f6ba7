"""The report of eval: one page that opens from disk, with all that it shows inside; it asks nothing of any network."""

import base64
import hashlib
import math
from importlib import resources
from pathlib import Path
from string import Template

import geseg
from geseg.files import atomic_path, check_writable, refuse_to_overwrite
from geseg.steps.evalresult import EvalResult
from geseg.steps.report import charts, moves, words
from geseg.steps.report.charts import Pooled
from geseg.steps.report.plates import Album, Plate
from geseg.steps.report.svg import element, legend, text
from geseg.steps.report.words import FIGURES, anchor, badness, name_of, number
from geseg.steps.scores import ImageScore, Row

NAME = "index.html"
FILES = resources.files("geseg.steps.report")
OVERLAY_KEY = (
    ("swatch", "hit", "hit: vessel in mask and label"),
    ("swatch", "miss", "miss: in the label only"),
    ("swatch", "false", "false alarm: in the mask only"),
)
CARD_FIGURES = ("dice", "cldice", "sensitivity", "specificity")


def place(folder: Path, overwrite: bool) -> Path:
    """Where the page goes, in a folder that is made now: what cannot be written must not be found out after an hour.

    Raises:
        OutputError: a page is there already and `overwrite` is false, or the folder cannot be made.
    """
    refuse_to_overwrite(folder / NAME, overwrite, "--report")
    check_writable(folder / NAME, "--report")
    return folder / NAME


def write(path: Path, result: EvalResult, pooled: Pooled, album: Album) -> None:
    """Write the page, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    style, script = (FILES.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    page = Template(FILES.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        title=text(words.title(result)),
        lead=words.lead(result),
        notes=words.notes(result),
        facts=words.facts(result),
        tables=words.tables(result),
        meanings=words.meanings(),
        curves=charts.curves(result, pooled) or element("p", NO_CURVES, class_="without"),
        dice=charts.dice_of_images(result),
        moves=moves.panel(result) or element("p", NO_MOVES, class_="without"),
        key=legend(OVERLAY_KEY),
        threshold=text(words.threshold_words(result)[result.at]),
        gallery=_gallery(result, album),
        version=text(geseg.__version__),
    )
    with atomic_path(path, "--report") as partial:
        partial.write_text(page, encoding="utf-8")


NO_CURVES = (
    "There are none: at least one of the maps holds nothing but two values, so that among its pixels there is no order."
)
NO_MOVES = "Not asked for: <code>geseg eval</code> with <code>--equivariance</code> turns and mirrors every photograph."


def _hash(source: str) -> str:
    """By which the page's own policy knows this very style or script, and lets no other run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _gallery(result: EvalResult, album: Album) -> str:
    """A card for each image, the worst first."""
    row = Row("model", "fov", result.at)
    entries = sorted(
        zip(range(len(album.plates)), result.images, album.plates, strict=True),
        key=lambda entry: badness(entry[1].rows[row]["dice"]),
    )
    what = "mask" if row_is_mask(result) else "probability"
    return "".join(_card(anchor(number), image, plate, row, what) for number, image, plate in entries)


def row_is_mask(result: EvalResult) -> bool:
    """Whether the maps are masks, which have no areas under curves."""
    return all(math.isnan(image.rows[Row("model", "fov", result.at)]["auc"]) for image in result.images)


def _card(id_: str, image: ImageScore, plate: Plate, row: Row, what: str) -> str:
    figures, name = image.rows[row], text(name_of(image))
    said = "".join(
        element("span", f"{FIGURES[key][0]} {element('b', number(figures[key]))}", class_="figure")
        for key in CARD_FIGURES
    )
    head = element("header", element("h3", name, id=f"{id_}-name") + element("p", said))
    pictures = (
        ("photograph", plate.photograph, "photograph"),
        ("label", plate.label, "label of the first observer"),
        (what, plate.map, what),
        ("overlay", plate.overlay, "hits, misses and false alarms over the photograph"),
    )
    drawn = "".join(_picture(kind, uri, f"{about} of {name_of(image)}", plate) for kind, uri, about in pictures)
    order = {f"data_{key}": "" if math.isnan(figures[key]) else repr(figures[key]) for key in ("dice", "cldice")}
    body = head + element("div", drawn, class_="plates")
    return element(
        "article", body, class_="card", id=id_, data_name=name_of(image), aria_labelledby=f"{id_}-name", **order
    )


def _picture(kind: str, uri: str, about: str, plate: Plate) -> str:
    size = f'width="{plate.width}" height="{plate.height}"'
    image = f'<img src="{uri}" {size} alt="{text(about)}" decoding="async">'
    button = element("button", image, type="button", aria_label=f"Enlarge the {about}", data_kind=kind)
    return element("figure", button + element("figcaption", text(kind)))
