"""Train the weights that ship with geseg, from the training halves of public data sets.

    python examples/train_weights.py drive/ stare/ chasedb1/ hrf/ -o weights/

The recipe of geseg/weights/README.md, from one seed: on the same machine and threads the same weights, bit for bit.
Three cycles of the learning rate, each from the weights of the one before. The last one varies the camera, too, and the
weights are the mean of those with and without it. Stopped, the same command goes on where it was. On two CPU cores the
first two took 45 minutes (AVX-512 and bfloat16), the third 33 (AVX2, beside other work).
"""

import argparse
from pathlib import Path

from studies import recipe

from geseg.errors import GesegError
from geseg.model.modelheader import read_header
from geseg.steps import export, prepare
from geseg.steps.runfolder import ONNX, WEIGHTS
from geseg.steps.trainconfig import TrainConfig


def main() -> None:
    """Read the command line, and do what is not there already."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="folders of data sets, in the order above")
    parser.add_argument("-o", "--out", type=Path, default=Path("weights"), help="run folder to write")
    parser.add_argument("--patches-per-image", type=int, default=64)
    parser.add_argument("--epochs", type=int, nargs="+", default=[8, 4], help="of each cycle (default: 8 4)")
    parser.add_argument("--camera-epochs", type=int, default=4, help="of one that varies the camera (default: 4)")
    words = parser.parse_args()
    try:
        train(words)
    except GesegError as error:
        parser.exit(1, f"geseg: {error}\n")


def train(words: argparse.Namespace) -> None:
    """Prepare, train, export."""
    patches = words.out.with_name(f"{words.out.name}.h5")
    if not patches.exists():
        prepare.run(
            prepare.PrepareConfig(
                sources=tuple(words.sources),
                out=patches,
                patch_size=256,
                patches_per_image=words.patches_per_image,
                val_fraction=0.1,
            )
        )
    config = TrainConfig(patches=patches, out=words.out, batch_size=4)
    steps = recipe.run(config, words.epochs, words.camera_epochs)
    export.run(export.ExportConfig(model=words.out, overwrite=(words.out / ONNX).exists()))
    header = read_header(words.out / WEIGHTS)
    dice = header.metrics["val_dice_at_threshold"]
    print(f"{words.out}: {steps} steps, validation Dice {dice:.4f} at threshold {header.threshold:g}")
    print(f"next: geseg eval {words.out} {patches} --split val --json, and copy the two models to geseg/weights/")


if __name__ == "__main__":
    main()
