"""What `eval` remarks on: images that a model has seen, maps that are seldom meant so, and undefined figures."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from geseg.data.patchfile import SampleRecord
from geseg.files import sha256
from geseg.steps import origin, seen
from geseg.steps.maps import Maps
from geseg.steps.models import FOLDER, SHIPPED
from geseg.steps.preparenotes import many
from geseg.steps.runfolder import WEIGHTS
from geseg.steps.scores import ImageScore


def describe_seen(
    opened: Mapping[str, Path], records: Sequence[SampleRecord], people: Mapping[str, str]
) -> Iterator[str]:
    """What the models, by the beginning of their lines, have seen of these images."""
    for whose, model in opened.items():
        yield from (whose + note for note in seen.notes(model, records, people))


def describe_writers(maps: Maps, records: Sequence[SampleRecord], people: Mapping[str, str]) -> Iterator[str]:
    """What the weights have seen that `geseg predict` wrote these files with; files of other tools name none."""
    written: dict[str, list[SampleRecord]] = {}
    for photograph, record in zip(maps.photographs, records, strict=True):
        if photograph in maps.files and (weights := _weights_of(maps.files[photograph])):
            written.setdefault(weights, []).append(record)
    shipped = FOLDER / WEIGHTS
    for weights, theirs in written.items():
        if weights == sha256(shipped):
            yield from describe_seen({f"maps of {SHIPPED}: ": shipped}, theirs, people)
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


def describe_undefined(images: Sequence[ImageScore]) -> Iterator[str]:
    """Lines about figures of the maps that are undefined for some images, as their means are then undefined, too."""
    where: dict[tuple[str, ...], list[str]] = {}
    for name in next(iter(images[0].rows.values())):
        hit = [i for i in images if any(math.isnan(f[name]) for row, f in i.rows.items() if row.by == "model")]
        where.setdefault(tuple(f"{image.dataset}/{image.id}" for image in hit), []).append(name)
    for hits, names in where.items():
        if hits:
            yield f"undefined (nan) for {len(hits)} of {len(images)} images, first {hits[0]}: {', '.join(names)}"
