"""What equivariance buys where vessels run in directions that no net has seen: the question of the study of 2021.

    python examples/study_rotation.py drive/ -o study-rotation

Asked: trained on patches whose vessels run at about 0 or 45 degrees, how well does a net do where they run at 90 or
135, and how much does that change when these test patches are turned? Nets of 62,500 parameters learn from 20, 200 and
2,000 patches: plain ones without and with rotation augmentation, and groups c4, c8, d4 and d8 without it; beside them a
plain net of d4's width (`plain-wide`). All nets take equally many steps, with three seeds or more; none mirrors.

An answer: at 2,000 patches the loss of the nets that know rotations lies below that of the plain net by more than the
seeds differ, and turning the test patches by 90 degrees changes the plain net's loss but not theirs. The study of 2021
had .96 for the plain net and .46 for d8, and over the turns .81 to .96 and .447 to .461. If the plain net with rotation
augmentation does as well, the answer is that the augmentation suffices.

The loss is Dice + binary cross-entropy in the field of view, in float32, of all test patches together (the Dice of a
mean over batches would depend on the batches). The test patches are of people who neither train nor validate. Writes
results.json, table.md and curves.png into the folder, after each cell; started again, it goes on where it stopped.
"""

import argparse
import functools
from itertools import product
from pathlib import Path

import numpy as np
import torch
from studies import figure, grid, training
from studies.figure import Panel
from studies.grid import Cell, Record
from studies.training import Net

from geseg.data.augment import Augmentation
from geseg.data.patchfile import PatchFile, WholeImage
from geseg.errors import DataError, GesegError
from geseg.metrics.equivariance import Move
from geseg.model.losses import dice_bce
from geseg.steps import models, moving, prepare
from geseg.steps.models import Model
from geseg.steps.prepare import PrepareConfig
from geseg.steps.runfolder import STATE
from geseg.steps.trainconfig import TrainConfig

STILL = Augmentation(rotation=False, mirror=False)
NETS = {
    "plain": Net(group="c1", augmentation=STILL),
    "plain-turned": Net(group="c1", augmentation=Augmentation(mirror=False)),
    "plain-wide": Net(group="c1", wide=True, augmentation=STILL),
    **{group: Net(group=group, augmentation=STILL) for group in ("d4", "c4", "c8", "d8")},
}
LEAD = ("plain", "plain-turned", "plain-wide", "d4")
TURNS = tuple(range(0, 360, 45))
"""Degrees by which the test patches are turned; between the quarter turns pixels are interpolated."""
SURE = 1e-6
"""Probabilities this near to 0 and 1 count as this near, so that their logits are finite."""
TINY = {"amounts": [4, 16], "seeds": [0, 1], "groups": ["plain", "d4"], "steps": 8, "params": training.TINY_PARAMS}
TINY |= {"patch_size": 32, "patches_per_image": 8}
CITED = """
Dice + cross-entropy on the test patches, mean ± standard deviation over (n) seeds; less is better. The study of 2021
had at 2,000 patches: plain .96, d8 .46; over the turns of the test patches: plain .81 to .96, d8 .447 to .461.
"""


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of DRIVE, or of another data set")
    parser.add_argument("--groups", nargs="+", choices=NETS, default=list(NETS), help="nets (default: all)")
    parser.add_argument("--amounts", nargs="+", type=int, default=[20, 200, 2000], help="training patches")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    for name, default in (("steps", 1000), ("params", 62_500), ("patch-size", 128), ("patches-per-image", 160)):
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    args = grid.parse(parser, TINY)
    try:
        study(args)
    except GesegError as error:
        parser.exit(1, f"geseg: {error}\n")


def study(args: argparse.Namespace) -> None:
    """Cut the patches once, then run the cells."""
    source = args.data or training.draw_set(args.out / "drive", train=7)
    settings = {"study": "rotation", "images": training.names(training.training_half(source))}
    names = ("steps", "params", "patch_size", "patches_per_image")
    grid.keep_settings(args.out, settings | {name: getattr(args, name) for name in names})
    patches = args.out / "patches.h5"
    if not patches.exists():
        size, count = args.patch_size, args.patches_per_image
        prepare.run(
            PrepareConfig(
                sources=(source,), out=patches, orientation_shift=True, patch_size=size, patches_per_image=count
            )
        )
    with PatchFile.open(patches) as file:
        found, tests = len(file.train_samples), list(file.whole("test"))
    if found < max(args.amounts) or not tests:
        raise DataError(
            f"{patches} has {found} training and {len(tests)} test patches; expected at least {max(args.amounts)} and "
            "one: choose smaller --amounts, or another folder and more --patches-per-image"
        )
    cells = [Cell(net=n, amount=a, seed=s) for s, a, n in product(args.seeds, args.amounts, args.groups)]
    measure = functools.partial(measure_cell, args=args, patches=patches, found=found, tests=tests)
    grid.run_cells(grid.in_order(cells, LEAD), args.out, measure, functools.partial(report, args.out))


def measure_cell(cell: Cell, args: argparse.Namespace, patches: Path, found: int, tests: list[WholeImage]) -> Record:
    """Train a net on some of the patches; its loss on the test patches, and at the largest amount on turned ones."""
    net, run = NETS[cell.net], args.out / "runs" / cell.name
    epochs = training.epochs_for(patches, args.steps)
    steps = training.run(
        TrainConfig(
            patches=patches,
            out=run,
            group=net.group,
            widths=net.widths(args.params),
            fraction=cell.amount / found,
            fraction_of="patches",
            augmentation=net.augmentation,
            epochs=epochs,
            patience=epochs,  # equally many steps for all; validation patches, which run as those of training, choose
            batch_size=training.BATCH,
            seed=cell.seed,
            device=args.device,
            overwrite=True,  # of what was stopped before it could be scored
        )
    )
    model = models.load(run, device=args.device)
    turns = TURNS if cell.amount == max(args.amounts) else ()
    turned = {str(degrees): turned_loss(model, tests, Move(degrees)) for degrees in turns}
    loss = turned["0"] if turned else turned_loss(model, tests, Move(0))
    (run / STATE).unlink()
    return {"steps": steps, "loss": loss, "turned": turned}


def turned_loss(model: Model, tests: list[WholeImage], move: Move) -> float:
    """The loss of maps of moved patches, moved back, on the pixels of the field of view that come through both ways."""
    maps, labels, regions = [], [], []
    for whole in tests:
        assert whole.label is not None, "patches for the test are cut from photographs with labels"
        maps += moving.backs_of(model, whole, [move])
        labels.append(whole.label)
        regions.append(move.covered(whole.fov))
    probability, label, region = (
        torch.from_numpy(np.stack(stack)[:, None].astype(np.float32)) for stack in (maps, labels, regions)
    )
    return float(dice_bce(torch.logit(probability, SURE), label, region))


def report(out: Path, records: list[Record]) -> None:
    """Write the results, the table and the picture of what is there."""
    cells = [(record, record["cell"]) for record in records]
    curves = grid.gather(((c["net"], c["amount"], c["seed"], record["loss"]) for record, c in cells), NETS)
    largest = max((c["amount"] for record, c in cells if record["turned"]), default=0)
    at_largest = [(record, c) for record, c in cells if record["turned"] and c["amount"] == largest]
    turned = grid.gather(
        ((c["net"], int(turn), c["seed"], loss) for record, c in at_largest for turn, loss in record["turned"].items()),
        NETS,
    )
    grid.write_json(out / "results.json", {"rows": grid.rows(curves), "turned": grid.rows(turned), "cells": records})
    tables, loss = [grid.table(curves, "Net, training patches"), CITED], "test loss (Dice + cross-entropy)"
    panels = [Panel("Vessels in unseen directions", "training patches", loss, curves)]
    if turned:
        tables.append(grid.table(turned, f"At {largest:,}, turned by degrees"))
        panels.append(Panel(f"After {largest:,} patches, test patches turned", "degrees", loss, turned, log=False))
    grid.write_text(out / "table.md", "\n".join(tables))
    figure.draw(out / "curves.png", panels)


if __name__ == "__main__":
    main()
