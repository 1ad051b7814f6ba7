"""The data sets that geseg knows: variation is a table, so that a new one is one more row and one more test case."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from geseg.data.images import IMAGE_SUFFIXES
from geseg.data.samples import Split

Groups: TypeAlias = Mapping[str, str]
"""What the groups of a layout's regular expression found in the path of an image; "" for those that did not match."""
SplitRule: TypeAlias = Callable[[Groups], Split]
SPLIT_NAMES: dict[str, Split] = {"training": "train", "train": "train", "val": "val", "test": "test"}


def split_by_path(at: Groups) -> Split:
    """The split that the path of an image names in its group `split`; training where it names none."""
    return SPLIT_NAMES[at.get("split") or "train"]


def train_if(trains: Callable[[Groups], bool]) -> SplitRule:
    """The rule by which some images train and all others test."""
    return lambda at: "train" if trains(at) else "test"


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
    second: str | None = None
    """Path of what a second observer drew."""
    id: str = "{id}"
    """What tells an image from the others of its data set; with the split where names restart in each."""
    person: str | None = None
    """Whom the image shows; None where nobody knows: then every image counts as a person of its own."""
    splits: Mapping[str, SplitRule] = field(default_factory=dict)
    """The splits in use where the data set comes with none, by name, the usual one first; if empty, `split_by_path`."""
    own_name: bool = True
    """Whether samples are called after the layout, or (a layout for anything) after the folder."""


ANY_IMAGE = rf"(?P<id>[^/]+)(?i:{'|'.join(re.escape(suffix) for suffix in IMAGE_SUFFIXES)})"

STARE_TRAIN = ("im0001", "im0002", "im0003", "im0004", "im0005", "im0044", "im0077", "im0081", "im0082", "im0139")
"""The first ten of the twenty; by name and not by rank, so that a part of the data set keeps its split."""


def prime_fold(number: int) -> SplitRule:
    """Test on three consecutive images, as the authors did.

    Source: ShamaLabUR/DeepVesselSeg4FP, code/detect_FP_vessels_w_DNN.py; fold 4 tests on 10, 11 and 12.
    """
    return train_if(lambda at: (int(at["id"]) - 1) // 3 + 1 != number)


PRIME = Layout(
    name="primefp20",
    looks="ImgFP1.tif with LabelFP1.png and MaskFP1.png, or the folders Images_FP_PRIME-FP20/ ... as published",
    image=r"ImgFP(?P<id>\d{1,2})\.tif",  # ImgFA1.tif is the angiogram of the same eye
    label="LabelFP{id}.png",
    fov="MaskFP{id}.png",
    splits={f"fold{number}": prime_fold(number) for number in range(1, 6)},
)

LAYOUTS = (
    Layout(
        name="drive",
        looks="training/images/21_training.tif with training/1st_manual/21_manual1.gif",
        image=r"(?P<split>training|test)/images/(?P<id>\d\d)_(?P=split)\.tif",
        label="{split}/1st_manual/{id}_manual1.gif",
        fov="{split}/mask/{id}_{split}_mask.gif",
        second="{split}/2nd_manual/{id}_manual2.gif",
        person="{id}",  # 40 people drawn from 400 (Staal et al. 2004, doi:10.1109/TMI.2004.825627)
    ),
    Layout(
        name="chasedb1",
        looks="Image_01L.jpg with Image_01L_1stHO.png",
        image=r"Image_(?P<id>(?P<child>\d\d)[LR])\.jpg",
        label="Image_{id}_1stHO.png",
        second="Image_{id}_2ndHO.png",
        person="{child}",  # both eyes of 14 children (Fraz et al. 2012, doi:10.1109/TBME.2012.2205687)
        splits={
            "8/20": train_if(lambda at: int(at["child"]) <= 4),
            "20/8": train_if(lambda at: int(at["child"]) <= 10),
        },
    ),
    Layout(
        name="stare",
        looks="stare-images/im0001.ppm.gz with labels-ah/im0001.ah.ppm.gz, gzipped or not",
        image=r"stare-images/(?P<id>im\d{4})\.ppm(?:\.gz)?",
        label="labels-ah/{id}.ah.*",
        second="labels-vk/{id}.vk.*",
        splits={"10/10": train_if(lambda at: at["id"] in STARE_TRAIN)},
    ),
    Layout(
        name="hrf",
        looks="images/01_dr.JPG with manual1/01_dr.tif",
        image=r"images/(?P<id>(?P<number>\d\d)_(?:dr|g|h))(?i:\.jpg)",
        label="manual1/{id}.tif",
        fov="mask/{id}_mask.tif",
        splits={"15/30": train_if(lambda at: int(at["number"]) <= 5)},
    ),
    PRIME,
    dataclasses.replace(
        PRIME,
        image=r"Images_FP_PRIME-FP20/ImgFP(?P<id>\d{1,2})_PRIME-FP20\.tif",
        label="Labels_FP_PRIME-FP20/LabelFP{id}_PRIME-FP20.png",
        fov="Masks_FP_PRIME-FP20/MaskFP{id}_PRIME-FP20.png",
    ),
    Layout(
        name="fives",
        looks="train/Original/1_A.png with train/Ground truth/1_A.png, and the same below test/",
        image=r"(?P<split>train|test)/Original/(?P<id>[^/]+)\.png",
        label="{split}/Ground truth/{id}.png",
        id="{split}/{id}",
    ),
    Layout(
        name="les-av",
        looks="images/NAME.png with vessel-segmentations/NAME.png",
        image="images/" + ANY_IMAGE,
        label="vessel-segmentations/{id}.*",
        fov="masks/{id}_mask.gif",
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
