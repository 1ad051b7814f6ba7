"""What `eval` remarks on: images that a model has seen, maps that are seldom meant so, and undefined figures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from geseg.data.patchfile import SampleRecord, WholeImage
from geseg.files import sha256
from geseg.steps import origin, seen
from geseg.steps.evalresult import Beside
from geseg.steps.maps import Maps
from geseg.steps.models import FOLDER, SHIPPED
from geseg.steps.phrases import many, named
from geseg.steps.runfolder import WEIGHTS
from geseg.steps.scores import ImageScore, Map
from geseg.steps.sources import MOST_LABELLED

DOUBTS = {
    "inverted": (
        f"more than {MOST_LABELLED:.0%} of the field of view is vessel",
        "expected white vessels on black: are they inverted?",
    ),
    "classes": (
        "no pixel of the field of view reaches 0.5",
        "expected probabilities, or 255 where there is a vessel: are these numbers of classes?",
    ),
}
"""What is seen of such a map, and what may be behind it."""


def describe_seen(
    maps: Maps, beside: Beside | None, records: Sequence[SampleRecord], people: Mapping[str, str]
) -> Iterator[str]:
    """What the model, the one beside it, or the weights that files were made with, have seen of these images."""
    opened = {"": maps.path} if maps.model is not None else {}
    opened |= {} if beside is None else {f"{beside.model}: ": beside.model}
    for whose, model in opened.items():
        yield from (whose + note for note in seen.notes(model, records, people))
    yield from _describe_writers(maps, records, people)


def _describe_writers(maps: Maps, records: Sequence[SampleRecord], people: Mapping[str, str]) -> Iterator[str]:
    """The same of the weights that `geseg predict` wrote files with; those of other tools name none."""
    written: dict[str, list[SampleRecord]] = {}
    for photograph, record in zip(maps.photographs, records, strict=True):
        if photograph in maps.files and (weights := _weights_of(maps.files[photograph])):
            written.setdefault(weights, []).append(record)
    shipped = FOLDER / WEIGHTS
    for weights, theirs in written.items():
        if weights == sha256(shipped):
            yield from (f"maps of {SHIPPED}: {note}" for note in seen.notes(shipped, theirs, people))
        else:
            yield (
                f"{many(len(theirs), 'map')} made with the weights {weights}, which may have seen these images: score "
                "them to be told"
            )


def _weights_of(path: Path) -> str | None:
    """SHA-256 of the weights that a file names as those that it was made with."""
    try:
        header = origin.read_header(path)
    except OSError:  # it was there when it was scored
        return None
    return str(header.origin.model_sha256) if header else None  # a stranger may have put anything there


def doubt(whole: WholeImage, probability: Map) -> str:
    """Why a map is hardly one of vessels, as one of `DOUBTS`; "" if nothing speaks against it."""
    inside = probability[whole.fov]
    if np.sum(inside >= 0.5) > MOST_LABELLED * inside.size:
        return "inverted"
    return "classes" if 0 < inside.max(initial=0) < 0.5 else ""


def describe_doubts(records: Sequence[SampleRecord], doubts: Sequence[str]) -> Iterator[str]:
    """Lines about maps that are scored, but hardly mean what they are scored as."""
    for name, (fault, question) in DOUBTS.items():
        hits = [record for record, about in zip(records, doubts, strict=True) if about == name]
        if hits:
            yield f"{fault} in {len(hits)} of {many(len(records), 'map')}, first that of {named(hits[0])}; {question}"


def describe_undefined(images: Sequence[ImageScore]) -> Iterator[str]:
    """Lines about figures of the maps that are undefined for some images, as their means are then undefined, too."""
    where: dict[tuple[str, ...], list[str]] = {}
    for name in next(iter(images[0].rows.values())):
        hit = [i for i in images if any(math.isnan(f[name]) for row, f in i.rows.items() if row.by == "model")]
        where.setdefault(tuple(f"{image.dataset}/{image.id}" for image in hit), []).append(name)
    for hits, names in where.items():
        if hits:
            yield f"undefined (nan) for {len(hits)} of {len(images)} images, first {hits[0]}: {', '.join(names)}"
