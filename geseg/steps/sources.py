"""Data set folders as what the steps work on: sources that fit together, and their samples read whole."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geseg.data import fov, images, layouts, normalise, scale
from geseg.data.patchfile import SampleRecord, WholeImage
from geseg.data.samples import Sample, Source
from geseg.errors import ConfigError, ImageError, LayoutError
from geseg.files import sha256

MOST_LABELLED = 0.75
"""Of a field of view, that a label may mark. Vessels cover 5 to 20 % of it; what is not vessel, at least 80 %."""
LEAST_INSIDE = 0.5
"""Of what a label marks, that must be inside of the field of view; in the known data sets it is .99 and more."""


def find_sources(folders: Sequence[Path], protocols: Sequence[str] = ()) -> list[Source]:
    """Recognise several data sets; each follows the one of `protocols` that is its own, if any.

    Raises:
        LayoutError: a folder is no data set, or incomplete, or two samples have the same name.
        ConfigError: a protocol is none of any of the data sets, or two are of the same.
    """
    sources = [layouts.find_source(folder, protocols) for folder in folders]
    check_names([sample for source in sources for sample in source.samples])
    known = {source.dataset: source.protocols for source in sources if source.protocols}
    choice = "; ".join(f"{', '.join(names)} ({dataset})" for dataset, names in known.items())
    for name in protocols:
        if not any(name in names for names in known.values()):
            found = ", ".join(source.dataset for source in sources)
            raise ConfigError(
                f"{found} can follow no protocol {name!r}; "
                + (f"expected {choice}" if choice else "there is nothing to choose: leave out --protocol")
            )
    return sources


def check_names(samples: Sequence[Sample]) -> None:
    """Raise LayoutError if two samples of different sources have the same name."""
    seen: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        other = seen.setdefault((sample.dataset, sample.id), sample)
        if other is not sample:
            raise LayoutError(
                f"{other.image} and {sample.image} are both {sample.id} of {sample.dataset}: give each data set once, "
                "and different names to folders with different data"
            )


def read_whole(sample: Sample) -> WholeImage:
    """Read a sample of any split as it is, with its field of view found where none is given.

    Raises:
        ImageError: a file cannot be read, or does not fit its photograph.
    """
    image = images.read_image(sample.image)
    label = None if sample.label is None else read_fitting_mask(sample.label, "label", sample.image, image)
    second = None if sample.second is None else read_fitting_mask(sample.second, "second label", sample.image, image)
    view = fov.find_fov(image) if sample.fov is None else read_fitting_mask(sample.fov, "FOV", sample.image, image)
    if not view.any():
        raise ImageError(f"the FOV {sample.fov} is empty; expected the part that shows retina, or no file: remove it")
    for path, mask in ((sample.label, label), (sample.second, second)):
        if mask is not None:
            check_fit(path, mask, sample.fov, view)
    return WholeImage(describe(sample, image, view), image, label, view, second)


def check_fit(path: Path | None, mask: np.ndarray, fov_path: Path | None, view: np.ndarray) -> None:
    """Raise ImageError if a label and a field of view cannot both be right."""
    if (share := mask[view].mean()) > MOST_LABELLED:
        raise ImageError(
            f"the label {path} marks {share:.0%} of the field of view; expected {MOST_LABELLED:.0%} at most: is it "
            "inverted, or the mask of the field of view?"
        )
    if mask.any() and (inside := view[mask].mean()) < LEAST_INSIDE:
        where = "the field of view that was found" if fov_path is None else f"the FOV {fov_path}"
        raise ImageError(
            f"{where} holds {inside:.0%} of what the label {path} marks; expected nearly all: is the FOV inverted, or "
            "does one of them belong to another image?"
        )


def read_fitting_mask(path: Path, what: str, image_path: Path, image: np.ndarray) -> np.ndarray:
    """Read a mask that must have the size of its image."""
    mask = images.read_mask(path)
    if mask.shape != image.shape[:2]:
        (h, w), (height, width) = mask.shape, image.shape[:2]
        raise ImageError(
            f"the {what} {path} has {w}x{h} pixels, but its image {image_path} has {width}x{height}: expected the same"
        )
    return mask


def describe(sample: Sample, image: np.ndarray, view: np.ndarray) -> SampleRecord:
    """What the header keeps of a sample."""
    mean, contrast = normalise.statistics(image)
    return SampleRecord(
        dataset=sample.dataset,
        id=sample.id,
        stem=images.split_suffix(sample.image.name)[0],
        person=sample.person,
        split=sample.split,
        height=image.shape[0],
        width=image.shape[1],
        diameter=scale.diameter(view),
        mean=tuple(mean.tolist()),
        contrast=tuple(contrast.tolist()),
        fov="found" if sample.fov is None else "given",
        labelled=sample.label is not None,
        patches=0,
        image_sha256=sha256(sample.image),
        label_sha256=None if sample.label is None else sha256(sample.label),
        fov_sha256=None if sample.fov is None else sha256(sample.fov),
        second_sha256=None if sample.second is None else sha256(sample.second),
    )
