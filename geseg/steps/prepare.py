"""Pack data set folders into one patch file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geseg.data import fov, images, layouts, normalise, patches, patchfile, split
from geseg.errors import ConfigError, ImageError, LayoutError
from geseg.files import atomic_path, refuse_to_overwrite, sha256
from geseg.progress import Track, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Everything that decides what goes into a patch file."""

    sources: tuple[Path, ...]
    out: Path = Path("patches.h5")
    patch_size: int = 128
    """Side of a training patch in pixels."""
    patches_per_image: int = 125
    val_fraction: float = 0.2
    """Share of the training people who validate; 0 for none."""
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.sources:
            raise ConfigError("no source is given; expected at least one data set folder")
        if len({source.resolve() for source in self.sources}) < len(self.sources):
            raise ConfigError(f"a source is given twice ({', '.join(map(str, self.sources))}); give each folder once")
        for name in ("patch_size", "patches_per_image"):
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

    def contents(self) -> list[str]:
        """What the file holds, in words, a phrase per data set."""
        datasets = dict.fromkeys(sample.dataset for sample in self.header.samples)
        return [describe_contents(name, self.header) for name in datasets]


def run(config: PrepareConfig, track: Track = silent) -> PrepareResult:
    """Write the patch file of all sources: patches of the training images, validation and test images whole.

    Raises:
        OutputError: the output exists and is not to be replaced, or cannot be written.
        LayoutError: a source is no data set, or incomplete, or two samples have the same name.
        ImageError: a file cannot be read, or does not fit its photograph.
    """
    refuse_to_overwrite(config.out, config.overwrite)
    sources = [layouts.find_source(source) for source in config.sources]
    samples = [sample for source in sources for sample in source.samples]
    check_names(samples)
    samples = split.hold_out(samples, config.val_fraction, config.seed)
    header = patchfile.PatchHeader(
        seed=config.seed,
        patch_size=config.patch_size,
        patches_per_image=config.patches_per_image,
        val_fraction=config.val_fraction,
        sources=tuple(
            patchfile.SourceRecord(
                dataset=source.dataset,
                folder=source.root.resolve().name,
                layout=source.layout.name,
                persons_known=source.layout.person is not None,
            )
            for source in sources
        ),
    )
    with atomic_path(config.out) as partial:
        header = patchfile.write(partial, header, pack_all(samples, config, track))
    return PrepareResult(out=config.out, header=header)


def check_names(samples: Sequence[layouts.Sample]) -> None:
    """Raise LayoutError if two samples of different sources have the same name."""
    seen: dict[tuple[str, str], layouts.Sample] = {}
    for sample in samples:
        other = seen.setdefault((sample.dataset, sample.id), sample)
        if other is not sample:
            raise LayoutError(
                f"{other.image} and {sample.image} are both {sample.id} of {sample.dataset}: give each data set once, "
                "and different names to folders with different data"
            )


def pack_all(
    samples: Sequence[layouts.Sample], config: PrepareConfig, track: Track
) -> Iterator[patchfile.TrainPatches | patchfile.WholeImage]:
    """Read one sample after the other."""
    for sample in track(samples, "prepare", len(samples)):
        yield pack(sample, config)


def pack(sample: layouts.Sample, config: PrepareConfig) -> patchfile.TrainPatches | patchfile.WholeImage:
    """Read a sample, check that its parts fit, and cut it if it is for training."""
    image = images.read_image(sample.image)
    label = None if sample.label is None else read_fitting_mask(sample.label, "label", sample.image, image)
    view = fov.find_fov(image) if sample.fov is None else read_fitting_mask(sample.fov, "FOV", sample.image, image)
    if not view.any():
        raise ImageError(f"the FOV {sample.fov} is empty; expected the part that shows retina, or no file: remove it")
    record = describe(sample, image)
    if sample.split != "train":
        return patchfile.WholeImage(record, image, label, view)
    assert label is not None, "find_source lets no training sample without a label pass"
    rng = np.random.default_rng(split.draw(config.seed, sample.dataset, sample.id))
    return patchfile.TrainPatches(
        record, patches.cut(image, label, view, config.patch_size, config.patches_per_image, rng)
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


def describe(sample: layouts.Sample, image: np.ndarray) -> patchfile.SampleRecord:
    """What the header keeps of a sample."""
    mean, std = normalise.statistics(image)
    return patchfile.SampleRecord(
        dataset=sample.dataset,
        id=sample.id,
        person=sample.person,
        split=sample.split,
        height=image.shape[0],
        width=image.shape[1],
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        fov="found" if sample.fov is None else "given",
        labelled=sample.label is not None,
        image_sha256=sha256(sample.image),
        label_sha256=None if sample.label is None else sha256(sample.label),
        fov_sha256=None if sample.fov is None else sha256(sample.fov),
    )


def describe_contents(dataset: str, header: patchfile.PatchHeader) -> str:
    """What the file holds of a data set, in words."""
    train, val, test = (
        [sample for sample in header.samples if sample.dataset == dataset and sample.split == part]
        for part in ("train", "val", "test")
    )
    cut = len(train) * header.patches_per_image
    phrase = (
        f"{dataset}: {many(cut, 'train patch', 'es')} of {many(len(train), 'image')}, {many(len(val), 'val image')}"
    )
    if not val and header.val_fraction and len({sample.person for sample in train}) == 1:
        phrase += " (a lone person trains)"
    phrase += f", {many(len(test), 'test image')}"
    if unlabelled := sum(not sample.labelled for sample in test):
        phrase += f" ({unlabelled} without labels)"
    if not all(source.persons_known for source in header.sources if source.dataset == dataset):
        phrase += " (whom they show is unknown: each image counts as a person)"
    return phrase


def many(count: int, thing: str, ending: str = "s") -> str:
    """A number of things, in words."""
    return f"{count:,} {thing}{'' if count == 1 else ending}" if count else f"no {thing}{ending}"
