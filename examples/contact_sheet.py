"""One picture per data set of what a patch file holds: python examples/contact_sheet.py patches.h5 [runs/NAME]."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import geseg
from geseg.data.images import save_png
from geseg.data.patchfile import PatchFile, WholeImage
from geseg.errors import DataError, GesegError, OutputError
from geseg.steps.trainconfig import TrainConfig, default_folder

SIDE, GAP, LINE = 240, 6, 14
"""In pixels: the longer side of a panel, the space below and beside it, and the height of its title."""
GREY = 90
"""What stands where there is no label."""


def main() -> None:
    """Draw each validation and test image as a row, into sheet-DATASET.png beside the patch file.

    A row is the photograph, its label, its field of view, and the probability inside of it.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("patches", type=Path, help="what geseg prepare has written")
    parser.add_argument("model", type=Path, nargs="?", help="run folder; by default the one that geseg train makes")
    args = parser.parse_args()
    try:
        draw_sheets(args.patches, args.model)
    except GesegError as error:
        parser.exit(1, f"geseg: {error}\n")


def draw_sheets(patches: Path, run: Path | None = None) -> None:
    """Write the sheets of a patch file, and say which."""
    with PatchFile.open(patches) as file:
        whole = [record for record in file.header.samples if record.split != "train"]
        if not whole:
            raise DataError(f"{patches} has no validation or test images to show; prepare it from more people")
        paths = {record.dataset: patches.with_name(f"sheet-{record.dataset}.png") for record in whole}
        if taken := [str(path) for path in paths.values() if path.exists()]:
            raise OutputError(f"{taken[0]} exists already: move or remove it")
        model = geseg.load(run or default_folder(TrainConfig(patches=patches), file))
        sheets: dict[str, list[Image.Image]] = {name: [] for name in paths}
        for image in (*file.whole("val"), *file.whole("test")):
            sheets[image.record.dataset].append(draw_row(image, model.segmenter.whole(image)))
    for name, rows in sheets.items():
        save_png(paths[name], join(rows, down=True))
        print(f"{paths[name]}: {len(rows)} images")


def draw_row(whole: WholeImage, probability: np.ndarray) -> Image.Image:
    """The four panels of an image side by side, each under its title."""
    record = whole.record
    label = np.full(whole.fov.shape, GREY, np.uint8) if whole.label is None else whole.label
    panels = {
        f"{record.dataset}/{record.id}, {record.split}": whole.image,
        "label" if whole.label is not None else "no label": label,
        "field of view": whole.fov,
        "probability": np.rint(probability * whole.fov * 255).astype(np.uint8),
    }
    return join([draw_panel(title, pixels) for title, pixels in panels.items()])


def draw_panel(title: str, pixels: np.ndarray) -> Image.Image:
    """One picture under its title; as wide as all panels, as high as it needs."""
    small = Image.fromarray(pixels).convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    panel = Image.new("RGB", (SIDE + GAP, LINE + small.height + GAP), "white")
    ImageDraw.Draw(panel).text((2, 1), title, fill="black")
    panel.paste(small, (0, LINE))
    panel.paste("white", (SIDE, 0, SIDE + GAP, LINE))  # a long title ends with its panel
    return panel


def join(pictures: list[Image.Image], down: bool = False) -> Image.Image:
    """Put pictures side by side, or below one another."""
    axis = 1 if down else 0
    size = [max(picture.size[side] for picture in pictures) for side in range(2)]
    size[axis] = sum(picture.size[axis] for picture in pictures)
    whole, place = Image.new("RGB", (size[0], size[1]), "white"), [0, 0]
    for picture in pictures:
        whole.paste(picture, (place[0], place[1]))
        place[axis] += picture.size[axis]
    return whole


if __name__ == "__main__":
    main()
