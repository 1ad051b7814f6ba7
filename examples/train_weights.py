"""Train the weights that ship with geseg, from the training halves of public data sets.

    python examples/train_weights.py drive/ stare/ chasedb1/ hrf/ -o weights/

The recipe of geseg/weights/README.md, from one seed: on the same machine and threads the same weights, bit for bit. Two
cycles of the learning rate, the second one from the weights of the first. Stopped, the same command goes on where it
was. The two cycles took 45 minutes on two CPU cores with AVX-512 and bfloat16.
"""

import argparse
from pathlib import Path

from studies import training

from geseg.model.modelheader import read_header
from geseg.steps import export, prepare
from geseg.steps.runfolder import ONNX, WEIGHTS
from geseg.steps.trainconfig import TrainConfig


def main() -> None:
    """Prepare, train, export; what is there already is used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, help="folders of data sets, in the order above")
    parser.add_argument("-o", "--out", type=Path, default=Path("weights"), help="run folder to write")
    parser.add_argument("--patches-per-image", type=int, default=64)
    parser.add_argument("--epochs", type=int, nargs="+", default=[8, 4], help="of each cycle (default: 8 4)")
    words = parser.parse_args()
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
    steps = training.run_cycles(TrainConfig(patches=patches, out=words.out, batch_size=4), words.epochs)
    export.run(export.ExportConfig(model=words.out, overwrite=(words.out / ONNX).exists()))
    header = read_header(words.out / WEIGHTS)
    dice = header.metrics["val_dice_at_threshold"]
    print(f"{words.out}: {steps} steps, validation Dice {dice:.4f} at threshold {header.threshold:g}")
    print(f"next: geseg eval {words.out} {patches} --split val --json, and copy the two models to geseg/weights/")


if __name__ == "__main__":
    main()
