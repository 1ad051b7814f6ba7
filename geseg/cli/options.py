"""Options that several commands share, so that they read and mean the same everywhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists at the output.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn at random.")]
Patches = Annotated[Path, typer.Argument(help="Patch file that geseg prepare has written.")]
Device = Annotated[str, typer.Option(help="auto (a GPU where one works), cpu, cuda or cuda:N.")]
Turns = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Mean of N angles: with 3, mostly better masks in about 4 times the time."),
]
Model = Annotated[Path, typer.Argument(help="Run folder that geseg train has written, or a model file.")]


class Split(StrEnum):
    """Which whole images to score; a patch file has no training images whole, a data set folder has them."""

    test = "test"
    val = "val"
    train = "train"


class Engine(StrEnum):
    """What runs the network."""

    auto = "auto"
    native = "native"
    onnx = "onnx"
    torch = "torch"


class GroupName(StrEnum):
    """The symmetries of nets: rotations, and with d mirrors, too."""

    c1 = "c1"
    c2 = "c2"
    c4 = "c4"
    c8 = "c8"
    d1 = "d1"
    d2 = "d2"
    d4 = "d4"
    d8 = "d8"


class Loss(StrEnum):
    """What training minimises."""

    dice_bce = "dice+bce"
    dice_bce_cldice = "dice+bce+cldice"
    dice = "dice"
    bce = "bce"
    iou = "iou"


class Precision(StrEnum):
    """Type of the numbers in the convolutions while training."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class FractionOf(StrEnum):
    """What a fraction of the training data counts."""

    images = "images"
    patches = "patches"
