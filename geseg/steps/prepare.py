"""Pack data set folders into one patch file."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geseg.data import patches, patchfile, scale, split
from geseg.data.orientation import DIRECTIONS, TEST_BINS, TRAIN_BINS
from geseg.data.samples import Sample
from geseg.errors import ConfigError, ImageError, StoppedError
from geseg.files import atomic_path, refuse_to_overwrite, remove_partials
from geseg.progress import Stop, Track, never, silent
from geseg.steps.phrases import many
from geseg.steps.preparenotes import describe_copies, describe_empty, describe_people, describe_unused, noting
from geseg.steps.shift import pack_shifted
from geseg.steps.sources import find_sources, read_whole

SHOWN = 3
"""Reasons that an error names of those why images cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Everything that decides what goes into a patch file."""

    sources: tuple[Path, ...]
    out: Path = Path("patches.h5")
    patch_size: int = 128
    """Side of a training patch in pixels."""
    patches_per_image: int = 125
    diameter: int = 1600
    """Pixels; training photographs whose field of view is wider by more than a tenth are reduced to it."""
    val_fraction: float = 0.2
    """Share of the training people who validate; 0 for none."""
    protocols: tuple[str, ...] = ()
    """Names of splits to follow in place of the usual ones of the data sets that have them."""
    orientation_shift: bool = False
    """Train and validate on patches whose vessels run in some directions, test on the others: see `shift`."""
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("no source is given; expected at least one data set folder")
        if len({os.path.realpath(source) for source in self.sources}) < len(self.sources):
            raise ConfigError(f"a source is given twice ({', '.join(map(str, self.sources))}); give each folder once")
        for name in ("patch_size", "patches_per_image", "diameter"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} ({getattr(self, name)}) must be at least 1")
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"val_fraction ({self.val_fraction}) must be at least 0 and below 1: somebody must train")
        if self.seed < 0:
            raise ConfigError(f"seed ({self.seed}) must be at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult:
    """What was written, and where."""

    out: Path
    header: patchfile.PatchHeader
    notes: tuple[str, ...]
    """A line on each thing that is seldom meant: see `preparenotes`."""

    @property
    def trains(self) -> bool:
        """Whether there are patches to train on."""
        return any(record.patches for record in self.header.samples)

    def contents(self) -> list[str]:
        """What the file holds, in words, a phrase per data set."""
        datasets = dict.fromkeys(sample.dataset for sample in self.header.samples)
        return [describe_contents(name, self.header) for name in datasets]


def run(config: PrepareConfig, track: Track = silent, stop: Stop = never) -> PrepareResult:
    """Write the patch file of all sources: patches of the training images, validation and test images whole.

    `stop` is asked before each photograph.

    Raises:
        OutputError: the output exists and is not to be replaced, or cannot be written.
        LayoutError: a source is no data set, or incomplete, or two samples have the same name.
        ConfigError: a protocol is none of the sources', or two are of the same source.
        ImageError: files cannot be read, or do not fit their photographs; after all were looked at.
        StoppedError: `stop` said so; nothing is written.
    """
    refuse_to_overwrite(config.out, config.overwrite)
    remove_partials(config.out.parent, [config.out.name])
    sources = find_sources(config.sources, config.protocols)
    samples = [sample for source in sources for sample in source.samples]
    if config.orientation_shift:
        samples = split.hold_out([s for s in samples if s.label], config.val_fraction, config.seed, to="test")
    samples = split.hold_out(samples, config.val_fraction, config.seed)
    header = patchfile.PatchHeader(
        seed=config.seed,
        patch_size=config.patch_size,
        patches_per_image=config.patches_per_image,
        diameter=config.diameter,
        val_fraction=config.val_fraction,
        orientation_shift=config.orientation_shift,
        sources=tuple(
            patchfile.SourceRecord(
                dataset=source.dataset,
                layout=source.layout,
                protocol=source.protocol,
                images=len(source.samples),
                unknown_persons=source.unknown_persons,
            )
            for source in sources
        ),
    )
    empty: list[patchfile.SampleRecord] = []
    with atomic_path(config.out, fresh=not config.overwrite) as partial:
        header = patchfile.write(partial, header, noting(empty, pack_all(samples, config, track, stop)))
        if not header.samples:  # of the whole, as without any photograph there is no source
            raise ImageError(
                f"no patch of {many(len(samples), 'labelled image')} shows vessels that run in one direction; expected "
                "some for --orientation-shift: do the labels show vessels?"
            )
    people = describe_people(sources, samples)
    notes = (*describe_unused(sources), *describe_empty(empty), *describe_copies(header), *people)
    return PrepareResult(out=config.out, header=header, notes=notes)


def pack_all(
    samples: Sequence[Sample], config: PrepareConfig, track: Track, stop: Stop = never
) -> Iterator[patchfile.TrainPatches | patchfile.WholeImage]:
    """Read one sample after the other, all of them even if some cannot be used.

    Raises:
        ImageError: at the end, with how many cannot be used and the first reasons.
        StoppedError: `stop` said so.
    """
    reasons: list[str] = []
    stopped = False
    for sample in track(samples, "prepare", len(samples)):
        if stopped := stop():
            break  # which takes the bar off the terminal before the line is written
        try:
            for packed in pack(sample, config):
                if not reasons:  # nothing will be kept: the others are only looked at
                    yield packed
        except ImageError as error:
            reasons.append(str(error))
    if stopped:
        raise StoppedError(f"nothing is written to {config.out}")
    if reasons:
        shown = [f"({number}) {reason}" for number, reason in enumerate(reasons[:SHOWN], 1)]
        first = reasons[0] if len(reasons) == 1 else "; ".join(shown)
        raise ImageError(f"{len(reasons)} of {many(len(samples), 'image')} cannot be used: {first}")


def pack(sample: Sample, config: PrepareConfig) -> Iterator[patchfile.TrainPatches | patchfile.WholeImage]:
    """What the file holds of a sample: patches if it is for training, else all of it."""
    size, count = config.patch_size, config.patches_per_image
    rng = np.random.default_rng(split.draw(config.seed, sample.dataset, sample.id))
    if sample.split != "train" and not config.orientation_shift:
        yield read_whole(sample)
        return
    record, layers = reduce(read_whole(dataclasses.replace(sample, second=None)), config.diameter)
    if config.orientation_shift:
        yield from pack_shifted(record, layers, size, count, rng)
    else:
        yield patchfile.TrainPatches(record, patches.cut(layers, size, count, rng))


def reduce(whole: patchfile.WholeImage, widest: int) -> tuple[patchfile.SampleRecord, np.ndarray]:
    """What patches of a labelled photograph are cut from, and its record, with a field of view at most that wide."""
    assert whole.label is not None, "find_source lets no training sample without a label pass"
    record = whole.record
    by = 1.0 if record.diameter is None else scale.factor(record.diameter, whole.fov.shape, (0.0, float(widest)))
    shape = scale.scaled_shape(whole.fov.shape, by)
    if record.diameter is not None:
        record = dataclasses.replace(record, height=shape[0], width=shape[1], diameter=by * record.diameter)
    return record, patches.stack_layers(whole.image, whole.label, whole.fov, shape)


def describe_contents(dataset: str, header: patchfile.PatchHeader) -> str:
    """What the file holds of a data set, in words."""
    sources = [source for source in header.sources if source.dataset == dataset]
    train, val, test = (
        [sample for sample in header.samples if sample.dataset == dataset and sample.split == part]
        for part in ("train", "val", "test")
    )
    followed = ", ".join(dict.fromkeys(source.protocol for source in sources if source.protocol))
    phrase = f"{dataset} (split {followed})" if followed else dataset
    phrase += f": {many(sum(r.patches for r in train), 'train patch', 'es')} of {many(len(train), 'image')}"
    thing, ending = ("patch", "es") if header.orientation_shift else ("image", "s")
    phrase += f", {many(len(val), f'val {thing}', ending)}"
    if not val and header.val_fraction and len({sample.person for sample in train}) == 1:
        phrase += " (a lone person trains)"
    phrase += f", {many(len(test), f'test {thing}', ending)}"
    if header.orientation_shift:
        directions = [" and ".join(str(DIRECTIONS[bin_]) for bin_ in bins) for bins in (TRAIN_BINS, TEST_BINS)]
        phrase += f" (vessels at {directions[0]} degrees in train and val, {directions[1]} in test)"
    if unlabelled := sum(not sample.labelled for sample in test):
        phrase += f" ({unlabelled} without labels)"
    if unknown := sum(source.unknown_persons for source in sources):
        total = sum(source.images for source in sources)
        these = "they show is unknown: each image" if unknown == total else ""
        these = these or f"{unknown} of all {total} images show is unknown: each"
        phrase += f" (whom {these} counts as a person)"
    return phrase
