"""Makes the picture of the README with any model: python examples/pictures.py runs/drive-d4."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from geseg.data import drawn

PICTURE = Path(__file__).parent / "pictures" / "turned.png"
GAP = 8


def main(model: str) -> None:
    """Segment a drawn photograph as it is and turned, through the command line, and put all four side by side."""
    image = drawn.draw(3, 453, 440).image
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        Image.fromarray(image).save(folder / "photos" / "straight.png")
        Image.fromarray(np.rot90(image)).save(folder / "photos" / "turned.png")
        command = ["geseg", "predict", str(folder / "photos"), "-o", str(folder / "masks"), "--model", model]
        subprocess.run(command, check=True)
        straight, turned = (np.asarray(Image.open(folder / "masks" / f"{n}.png")) for n in ("straight", "turned"))
    panels = [image, straight[..., None].repeat(3, 2), np.rot90(image), turned[..., None].repeat(3, 2)]
    height = max(len(panel) for panel in panels)
    padded = [np.pad(p, ((0, height - len(p)), (0, GAP), (0, 0)), constant_values=255) for p in panels]
    PICTURE.parent.mkdir(exist_ok=True)
    Image.fromarray(np.hstack(padded)[:, :-GAP]).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {np.sum(np.rot90(straight) != turned)} of {straight.size} pixels of the two masks differ")


if __name__ == "__main__":
    main(sys.argv[1])
