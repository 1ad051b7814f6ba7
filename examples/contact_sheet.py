"""One picture per data set of what a patch file holds: python examples/contact_sheet.py patches.h5 [runs/NAME].

Each validation and test image is a row: photograph, label, field of view, and the probability by the model, which is by
default the one that `geseg train` makes of the file. Writes sheet-DATASET.png beside the patch file.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import geseg
from geseg.data.images import save_png
from geseg.data.patchfile import PatchFile, WholeImage
from geseg.files import refuse_to_overwrite
from geseg.steps.train import TrainConfig, default_folder

SIDE, GAP, LINE = 240, 6, 14
TITLES = ("photograph", "label", "field of view", "probability")
NONE = Image.new("L", (SIDE, SIDE), 90)
"""Grey where there is no label."""


def main(patches: Path, run: Path | None = None) -> None:
    """Draw the sheets of a patch file."""
    with PatchFile.open(patches) as file:
        model = geseg.load(run or default_folder(TrainConfig(patches=patches), file))
        sheets: dict[str, list[Image.Image]] = {}
        paths = {r.dataset: patches.with_name(f"sheet-{r.dataset}.png") for r in file.header.samples}
        for path in paths.values():
            refuse_to_overwrite(path, overwrite=False)
        for split in ("val", "test"):
            for whole in file.whole(split):
                sheets.setdefault(whole.record.dataset, []).append(row(whole, model.segment(whole.image)))
    for dataset, rows in sheets.items():
        sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
        for number, strip in enumerate(rows):
            sheet.paste(strip, (0, number * strip.height))
        save_png(paths[dataset], sheet)
        print(f"{paths[dataset]}: {len(rows)} images")


def row(whole: WholeImage, probability: np.ndarray) -> Image.Image:
    """The four panels of an image side by side, under their titles."""
    label = NONE if whole.label is None else Image.fromarray(whole.label)
    maps = [Image.fromarray(whole.image), label, Image.fromarray(whole.fov)]
    maps.append(Image.fromarray((probability * whole.fov * 255).astype(np.uint8)))
    strip = Image.new("RGB", (len(maps) * (SIDE + GAP), SIDE + LINE + GAP), "white")
    draw = ImageDraw.Draw(strip)
    record = whole.record
    for place, (title, panel) in enumerate(zip(TITLES, maps, strict=True)):
        words = f"{record.dataset}/{record.id}, {record.split}" if not place else title
        draw.text((place * (SIDE + GAP) + 2, 1), words, fill="black")
        small = panel.convert("RGB")
        small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
        strip.paste(small, (place * (SIDE + GAP), LINE))
    return strip


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
