"""Which data set a folder is: variation is a table, so that a new data set is one more row and one more test case."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geseg.data.images import IMAGE_SUFFIXES
from geseg.errors import LayoutError

Split = Literal["train", "val", "test"]
SPLIT_NAMES: dict[str, Split] = {"training": "train", "train": "train", "val": "val", "test": "test"}
DEEPEST = 3
"""Folders below a source that are searched; a bound, so that links in a circle and whole disks come to an end."""


def named_split(at: Mapping[str, str]) -> Split:
    """The official split that the path of an image names in its group `split`; training where it names none."""
    return SPLIT_NAMES[at.get("split") or "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One photograph with what belongs to it; `(dataset, id)` tells it from all others."""

    dataset: str
    id: str
    person: str
    split: Split
    image: Path
    label: Path | None
    fov: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    r"""How the files of a data set are named.

    Paths are relative to the folder of the data set, with `/` between folders. The groups of `image` fill the other
    fields: with `image=r"photos/(?P<id>\d+)\.png"` and `label="vessels/{id}.*"`, photos/7.png belongs to vessels/7.tif.
    """

    name: str
    looks: str
    """What a folder of this layout contains, in words for messages."""
    image: str
    """Regular expression of an image's whole path, with the group `id` and any others."""
    label: str
    """Path of its label; the ending `.*` stands for any suffix of an image."""
    fov: str | None = None
    """Path of its field of view, where the data set ships one."""
    id: str = "{id}"
    """What tells an image from the others of its data set; with the split where names restart in each."""
    person: str | None = None
    """Whom the image shows; None where nobody knows: then every image counts as a person of its own."""
    split: Callable[[Mapping[str, str]], Split] = named_split
    """The official split of an image by its groups; all are training images where there is no official one."""
    own_name: bool = True
    """Whether samples are called after the layout, or (a layout for anything) after the folder."""


ANY_IMAGE = rf"(?P<id>[^/]+)(?i:{'|'.join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)})"

LAYOUTS = (
    Layout(
        name="drive",
        looks="training/images/21_training.tif with training/1st_manual/21_manual1.gif",
        image=r"(?P<split>training|test)/images/(?P<id>\d\d)_(?P=split)\.tif",
        label="{split}/1st_manual/{id}_manual1.gif",
        fov="{split}/mask/{id}_{split}_mask.gif",
        person="{id}",  # 40 people drawn from 400 (Staal et al. 2004, doi:10.1109/TMI.2004.825627)
    ),
    Layout(
        name="split folders",
        looks="train/images/NAME.png with train/masks/NAME.png, and the same below test/ (and val/)",
        image=r"(?P<split>train|val|test)/images/" + ANY_IMAGE,
        label="{split}/masks/{id}.*",
        fov="{split}/fov/{id}.*",
        id="{split}/{id}",
        own_name=False,
    ),
    Layout(
        name="generic",
        looks="images/NAME.png with masks/NAME.png",
        image="images/" + ANY_IMAGE,
        label="masks/{id}.*",
        fov="fov/{id}.*",
        own_name=False,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder that was recognised, with its samples in the order of their paths."""

    dataset: str
    root: Path
    layout: Layout
    samples: tuple[Sample, ...]
    missing: tuple[str, ...]
    """Where the labels should be that training and validation images lack."""


def find_source(root: Path, layouts: Sequence[Layout] = LAYOUTS) -> Source:
    """Recognise the data set in the folder `root` and pair every image with its label and field of view.

    The first layout of the table that has an image with a label wins. Labels of test images may be missing.

    Raises:
        LayoutError: `root` is no folder, holds no known data set, or lacks the label of a training or validation image.
    """
    files = Files(root)
    found = [source for layout in layouts if (source := match(root, files, layout)).samples]
    if not found:
        raise LayoutError(unknown(root, files, layouts))
    source = next((source for source in found if any(sample.label for sample in source.samples)), found[0])
    if source.missing:
        raise LayoutError(
            f"{root} looks like {source.layout.name} ({source.layout.looks}), but {len(source.missing)} of its "
            f"{len(source.samples)} images lack their label, first {source.missing[0]}: add the labels or remove the "
            "images; only test images may go without"
        )
    return source


def match(root: Path, files: "Files", layout: Layout) -> Source:
    """Read the folder as if it had this layout; a source without samples if it has not."""
    samples, missing = [], []
    dataset = layout.name if layout.own_name else root.resolve().name
    for file in files.paths:
        if found := re.fullmatch(layout.image, file):
            at = found.groupdict(default="")
            name = layout.id.format_map(at)
            sample = Sample(
                dataset=dataset,
                id=name,
                person=name if layout.person is None else layout.person.format_map(at),
                split=layout.split(at),
                image=root / file,
                label=files.find(layout.label.format_map(at)),
                fov=None if layout.fov is None else files.find(layout.fov.format_map(at)),
            )
            samples.append(sample)
            if sample.label is None and sample.split != "test":
                missing.append(layout.label.format_map(at))
    twice = [name for name, times in Counter(sample.id for sample in samples).items() if times > 1]
    if twice:
        images = " and ".join(str(sample.image) for sample in samples if sample.id == twice[0])
        raise LayoutError(f"{images} differ in their suffix only, so that they share a label: rename or remove one")
    return Source(dataset=dataset, root=root, layout=layout, samples=tuple(samples), missing=tuple(missing))


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
            stem, dot, suffix = path.rpartition(".")
            if dot + suffix.lower() in IMAGE_SUFFIXES:
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
    """Say what a folder holds that is no data set, and what one would look like."""
    folders = [root / name for name in sorted({path.partition("/")[0] for path in files.paths if "/" in path})]
    nested = [str(folder) for folder in folders if any(match(folder, Files(folder), row).samples for row in layouts)]
    if nested:
        return f"{root} is no data set that geseg knows, but holds some: give {' '.join(nested)} instead"
    holds = f"{len(files.paths)} files" if files.paths else "no files"
    known = "; ".join(f"{layout.name}: {layout.looks}" for layout in layouts)
    return f"{root} holds {holds} and no data set that geseg knows ({known})"
