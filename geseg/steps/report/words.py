"""What a report says in words and tables: what was scored, how, and all figures with what they mean."""

import math
from collections.abc import Iterator

from geseg.steps.evalresult import EvalResult
from geseg.steps.report.svg import element, text
from geseg.steps.scores import ALL, Figures, ImageScore, Region, Row, Summary
from geseg.steps.truths import WORDS

HUMAN = Row("second observer", "fov", "mask")
FIGURES = {
    "dice": ("Dice", "overlap of mask and label, 2 tp / (2 tp + fp + fn)"),
    "cldice": ("clDice", "the same of their centre lines: vessels found along their length, whatever their width"),
    "sensitivity": ("sensitivity", "share of the vessel pixels that were found"),
    "specificity": ("specificity", "share of the background pixels that were left alone"),
    "accuracy": ("accuracy", "share of all pixels that are called right"),
    "mcc": ("MCC", "correlation of mask and label (Matthews), in [−1, 1]"),
    "auc": ("AUC", "area under the ROC curve, over all thresholds"),
    "aupr": ("AUPR", "area under the precision-recall curve, as average precision"),
    "ece": ("ECE", "how far “70 %” is from 70 vessels in 100 pixels, mean over 15 bins; 0 is best"),
    "iou": ("IoU", "intersection over union, tp / (tp + fp + fn)"),
}
"""Name and meaning of each figure; 1 is best where nothing else is said."""
REGIONS: dict[Region, str] = {"fov": "inside the field of view", "all": "on all pixels, the black border included"}
LONGEST_NAME = 22


def name_of(image: ImageScore) -> str:
    """Such as drive/21."""
    return f"{image.dataset}/{image.id}"


def anchor(number: int) -> str:
    """Where on the page the pictures of an image are, by its place in the result."""
    return f"image-{number + 1}"


def shorten(name: str) -> str:
    """A name that fits beside a chart.

    >>> shorten("a-very-long-name-of-a-photograph.v2")
    'a-very-long…tograph.v2'
    """
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[1 - half :]}"


def badness(dice: float) -> float:
    """Sorts the worst first, and what is undefined last."""
    return math.inf if math.isnan(dice) else dice


def number(value: float) -> str:
    """Four decimals, or a dash for what is undefined."""
    return "–" if math.isnan(value) else f"{value:.4f}".replace("-", "−")


def threshold_words(result: EvalResult) -> dict[str, str]:
    """What each threshold is, by its name; one that has two names is told once."""
    fixed = "{:g}, fixed beforehand on the validation images of the model"
    told = {at: value for at, value in result.thresholds.items() if not result.repeats(at)}
    return {at: (fixed if at == "fixed" else "{:g}").format(value) for at, value in told.items()}


def title(result: EvalResult) -> str:
    """Such as "20 test images of drive"."""
    sets = [name for name in result.summaries if name != ALL]
    many = len(result.images)
    return f"{many} {WORDS[result.split]} image{'s' if many > 1 else ''} of {' and '.join(sets)}"


def lead(result: EvalResult) -> str:
    """The finding in a sentence or two, as HTML."""
    rows = list(result.summaries.values())[-1]  # of all sets, if there are several
    ours = rows[Row("model", "fov", result.at)]
    what = "The masks reach" if result.made_by == "files" else "The model reaches"
    found = f"{what} a mean Dice of {element('strong', _with_spread(ours))} inside the field of view"
    found += f" at the threshold {text(threshold_words(result)[result.at])}"
    if HUMAN in rows:
        human = rows[HUMAN]
        of = "" if human.images == ours.images else f" (on {human.images} images)"
        found += f"; a second human observer reaches {element('strong', _with_spread(human))}{of}"
        found += ". Both are compared with the first observer"
    return f"{found}."


def _with_spread(summary: Summary) -> str:
    spread = f" ± {number(summary.std['dice'])}" if summary.images > 1 else ""
    return number(summary.mean["dice"]) + spread


def facts(result: EvalResult) -> str:
    """What was scored, against what and how, as a list of terms."""
    rows = {
        "Model" if result.made_by != "files" else "Masks": f"{result.model}",
        "Run by": "files, as they are" if result.made_by == "files" else result.made_by,
        "Images": f"{result.protocol}, from {result.truths}",
        "Split": f"{WORDS[result.split]} images",
        "Region": "Curves, pictures and single images: inside the field of view. The table: also on all pixels, which "
        "raises accuracy and specificity for nothing",
        "Threshold": "; ".join(threshold_words(result).values()) + ". None was chosen on these images for this report",
        "Human level": "the drawing of the second observer against that of the first"
        if any(HUMAN in rows for rows in result.summaries.values())
        else "unknown: no second observer has drawn these images",
    }
    pairs = (element("div", element("dt", text(term)) + element("dd", text(said))) for term, said in rows.items())
    return element("dl", "".join(pairs), class_="facts")


def notes(result: EvalResult) -> str:
    """The warnings, or nothing."""
    if not result.notes:
        return ""
    lines = "".join(element("li", text(note)) for note in result.notes)
    return element("aside", element("h2", "Notes") + element("ul", lines), class_="notes")


def tables(result: EvalResult) -> str:
    """All figures of each data set, in both regions."""
    return "".join(
        element("div", _table(result, dataset), class_="scroll", tabindex=0, role="region", aria_label=f"{dataset}")
        for dataset in result.summaries
    )


def _table(result: EvalResult, dataset: str) -> str:
    heads = "".join(element("th", element("abbr", name, title=about), scope="col") for name, about in FIGURES.values())
    head = element("thead", element("tr", element("td") + heads))
    bodies = "".join(element("tbody", "".join(_region(result, dataset, region))) for region in REGIONS)
    caption = element("caption", text(dataset) + element("small", " mean ± standard deviation over the images"))
    return element("table", caption + head + bodies)


def _region(result: EvalResult, dataset: str, region: Region) -> Iterator[str]:
    """The rows of a region: mean and spread of each, and all pixels as if of one image."""
    words = REGIONS[region]
    head = element("th", words[0].upper() + words[1:], colspan=len(FIGURES) + 1, scope="rowgroup")
    yield element("tr", head, class_="region")
    for row, summary in result.summaries[dataset].items():
        if row.region == region and not result.repeats(row.at):
            yield element("tr", _head(result, dataset, row) + _cells(summary.mean, summary.std, summary.images))
            pooled = element("th", "all pixels as of one image", scope="row")
            yield element("tr", pooled + _cells(summary.pooled, None, 1), class_="pooled")


def _head(result: EvalResult, dataset: str, row: Row) -> str:
    if row.by == "model":
        who = "masks" if result.made_by == "files" else "model"
        return element("th", f"{who}, threshold {text(threshold_words(result)[row.at])}", scope="row")
    return element("th", f"second observer{result.how_few(dataset, row)}", scope="row", class_="human")


def _cells(figures: Figures, spread: Figures | None, images: int) -> str:
    cells = []
    for name in FIGURES:
        known = spread is not None and images > 1 and not math.isnan(figures[name])
        below = element("small", f"± {number(spread[name])}") if spread is not None and known else ""
        cells.append(element("td", number(figures[name]) + below))
    return "".join(cells)


def meanings() -> str:
    """What the figures are, to be opened."""
    pairs = "".join(
        element("div", element("dt", text(name)) + element("dd", text(about))) for name, about in FIGURES.values()
    )
    summary = element("summary", "What the figures mean")
    return element("details", summary + element("dl", pairs, class_="facts"))
