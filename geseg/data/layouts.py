"""Which data set a folder is, and which of its files belong together."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from geseg.data import samplescsv
from geseg.data.datasets import LAYOUTS, Layout, split_by_path
from geseg.data.images import split_suffix
from geseg.data.samples import Sample, Source
from geseg.errors import ConfigError, LayoutError

DEEPEST = 3
"""Folders below a source that are searched; a bound, so that links in a circle and whole disks come to an end."""


def find_source(root: Path, protocols: Sequence[str] = (), layouts: Sequence[Layout] = LAYOUTS) -> Source:
    """Recognise the data set in the folder `root` and pair every image with its label and field of view.

    A samples.csv in the folder decides. Else the first layout of the table that has an image with a label wins. Labels
    of test images may be missing. Of the splits in use, the one that `protocols` names is taken, else the usual one.

    Raises:
        LayoutError: `root` is no folder, holds no known data set, or lacks the label of a training or validation image.
        ConfigError: `protocols` holds several splits of this data set.
    """
    files = Files(root)
    if samplescsv.is_there(root):
        return samplescsv.read(root)
    found = [(layout, samples) for layout in layouts if (samples := match(files, layout, protocols))]
    if not found:
        raise LayoutError(unknown(root, files, layouts))
    labelled = ((layout, samples) for layout, samples in found if any(sample.label for sample in samples))
    layout, samples = next(labelled, found[-1])  # without any label, the most general one says best what to do
    refuse_missing_labels(root, layout, samples)
    if len(mine := dict.fromkeys(name for name in protocols if name in layout.splits)) > 1:
        raise ConfigError(
            f"{root} ({layout.name}) can follow one protocol only; got {', '.join(mine)}: leave all but one"
        )
    return Source(
        dataset=samples[0].dataset,
        root=root,
        layout=layout.name,
        samples=tuple(samples),
        unknown_persons=len(samples) if layout.person is None else 0,
        unused=() if layout.own_name else unused(files, samples),
        protocol=choose(layout, protocols),
        protocols=tuple(layout.splits),
    )


def choose(layout: Layout, protocols: Sequence[str]) -> str | None:
    """The name of the split to follow: the first of its own among `protocols`, else the usual one, if it has any."""
    return next((name for name in (*protocols, *layout.splits) if name in layout.splits), None)


def match(files: "Files", layout: Layout, protocols: Sequence[str]) -> list[Sample]:
    """The samples of a folder, read as if it had this layout; none if it has not."""
    samples = []
    protocol = choose(layout, protocols)
    split = split_by_path if protocol is None else layout.splits[protocol]
    dataset = layout.name if layout.own_name else Path(os.path.realpath(files.root)).name
    for file in files.paths:
        if found := re.fullmatch(layout.image, file):
            at = found.groupdict(default="")
            name = layout.id.format_map(at)
            sample = Sample(
                dataset=dataset,
                id=name,
                person=name if layout.person is None else layout.person.format_map(at),
                split=split(at),
                image=files.root / file,
                label=files.find(layout.label.format_map(at)),
                fov=None if layout.fov is None else files.find(layout.fov.format_map(at)),
                second=None if layout.second is None else files.find(layout.second.format_map(at)),
            )
            samples.append(sample)
    twice = [name for name, times in Counter(sample.id for sample in samples).items() if times > 1]
    if twice:
        images = " and ".join(str(sample.image) for sample in samples if sample.id == twice[0])
        raise LayoutError(f"{images} differ in their suffix only, so that they share a label: rename or remove one")
    return samples


def refuse_missing_labels(root: Path, layout: Layout, samples: Sequence[Sample]) -> None:
    """Raise LayoutError if a training or validation image has no label."""
    missing = [sample.image for sample in samples if sample.label is None and sample.split != "test"]
    if missing:
        found = re.fullmatch(layout.image, missing[0].relative_to(root).as_posix())
        assert found, "the sample came from a match"
        raise LayoutError(
            f"{root} looks like {layout.name} ({layout.looks}), but {len(missing)} of its {len(samples)} images lack "
            f"their label, first {layout.label.format_map(found.groupdict(default=''))}: add the labels or remove the "
            "images; only test images may go without"
        )


def unused(files: "Files", samples: Sequence[Sample]) -> tuple[str, ...]:
    """The files of a folder that belong to no sample."""
    used = {path for sample in samples for path in (sample.image, sample.label, sample.fov, sample.second)}
    return tuple(path for path in files.paths if files.root / path not in used)


class Files:
    """The files of a folder, by path and by path without suffix; hidden ones do not count."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.exists():
            raise LayoutError(f"{root} does not exist; give the folder of a data set")
        if not root.is_dir():
            raise LayoutError(f"{root} is a file; give the folder of a data set")
        self.paths = sorted(file.relative_to(root).as_posix() for file in walk(root, DEEPEST))
        self.stems: dict[str, list[str]] = {}
        for path in self.paths:
            stem, suffix = split_suffix(path)
            if suffix:
                self.stems.setdefault(stem, []).append(path)

    def find(self, path: str) -> Path | None:
        """The file of that path, whose ending `.*` stands for any suffix of an image; None if there is none.

        Raises:
            LayoutError: several files differ in their suffix only.
        """
        if not path.endswith(".*"):
            return self.root / path if (self.root / path).is_file() else None
        found = self.stems.get(path.removesuffix(".*"), [])
        if len(found) > 1:
            raise LayoutError(
                f"{self.root} holds {' and '.join(found)}, but only one can belong to the image: remove the others"
            )
        return self.root / found[0] if found else None


def walk(folder: Path, depth: int) -> Iterator[Path]:
    """The files below a folder, also through links, at most `depth` folders down."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise LayoutError(f"{folder} cannot be listed: {error.strerror}; make it readable") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield entry
        elif depth > 0:
            yield from walk(entry, depth - 1)


def unknown(root: Path, files: Files, layouts: Sequence[Layout]) -> str:
    """Say what a folder holds that is no data set, and what would be one."""
    folders = [root / name for name in sorted({path.partition("/")[0] for path in files.paths if "/" in path})]
    nested = [
        str(folder)
        for folder in folders
        if samplescsv.is_there(folder) or any(match(Files(folder), row, ()) for row in layouts)
    ]
    if nested:
        return f"{root} is no data set that geseg knows, but holds some: give {' '.join(nested)} instead"
    holds = f"{len(files.paths)} files, first {files.paths[0]}," if files.paths else "no files"
    known = ", ".join(dict.fromkeys(layout.name for layout in layouts if layout.own_name))
    return (
        f"{root} holds {holds} and no data set that geseg knows ({known}): put images into images/ and their labels of "
        f"the same names into masks/, or list them in {samplescsv.NAME}"
    )
