"""What equivariance buys where few photographs are annotated, and all are augmented: in domain, by 5 folds.

    python examples/study_labels.py drive/ -o study-labels --others chasedb1/ stare/ hrf/

Asked: trained on 1, 2, 5, 10 or 16 photographs of DRIVE's training half and scored on 4 others, how much better is an
equivariant net than a plain one that also sees every photograph turned, mirrored, scaled and recoloured at random? At
equally many optimiser steps (`--steps`), in which nets of a group do more arithmetic, and in equal time (`--minutes`),
in which plain nets take more steps. Beside a plain net of d4's width, the mean of a plain net's maps of the photograph
in eight positions (`plain + test-time`), and nets that go on from the photographs of `--others` (`-tuned`): with 0
photographs, as they are before they see one.

An answer: a difference of mean Dice between d4 and the best of the plain rows, at the same amount and budget, that
exceeds what seeds differ by; and from which amount on it is gone.

Nothing is taken from the photographs that are scored: no stopping, no threshold (it is 0.5), no choice. The weights are
those of the last step, and those that others go on from have not seen them. A seed also draws which photographs are
learned from; its figure is the mean over the photographs of all folds, inside the field of view. What is known of
humans (.788) and wished for (1 photograph .800, 5 .828) refers to the test half. To have that scored elsewhere, train
on named photographs, without folds:

    python examples/study_labels.py drive/ -o five --named 21 24 28 33 39 --groups d4 --seeds 0

Writes results.json, table.md and curves.png after each cell; started again, it goes on where it stopped.
"""

import argparse
import dataclasses
import functools
from itertools import product
from pathlib import Path

from studies import figure, grid, scoring, training
from studies.figure import Panel
from studies.grid import Cell, Record
from studies.training import Net

from geseg.data.patchfile import PatchFile
from geseg.data.samples import Sample
from geseg.errors import ConfigError, GesegError
from geseg.files import sha256
from geseg.steps import models
from geseg.steps.prepare import PrepareConfig
from geseg.steps.runfolder import STATE
from geseg.steps.trainconfig import TrainConfig

NETS = {
    "plain": Net(group="c1"),
    "plain-wide": Net(group="c1", wide=True),
    "d4": Net(group="d4"),
    "plain-tuned": Net(group="c1", tuned=True),
    "d4-tuned": Net(group="d4", tuned=True),
    **{group: Net(group=group) for group in ("c4", "c8", "d8")},
}
LEAD = ("plain", "plain-wide", "d4")
TEST_TIME = "plain + test-time"
ROWS = ("plain", TEST_TIME, *list(NETS)[1:])
BUDGETS = {"steps": "equal steps", "time": "equal time"}
START = 3
"""How many times as many steps the nets take that others go on from."""
TINY = {"amounts": [1, 2], "seeds": [0], "groups": ["plain", "d4-tuned"], "steps": 2, "minutes": 0.01, "folds": 2}
TINY |= {"params": training.TINY_PARAMS, "patch_size": 32, "patches_per_image": 8}
CITED = """
Mean ± standard deviation over (n) seeds, at 0.5 in the field of view, over the photographs of {folds} folds of the
training half. Of the test half are known: a second human .788; goals: 1 photograph .800, 5 photographs .828.
"""


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder of DRIVE, or of another data set")
    parser.add_argument("--others", type=Path, nargs="+", default=[], help="folders of other data sets to start from")
    parser.add_argument("--groups", nargs="+", choices=NETS, help="nets (default: all; -tuned needs --others)")
    parser.add_argument("--amounts", nargs="+", type=int, default=[1, 2, 5, 10, 16], help="training photographs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--budgets", nargs="+", choices=BUDGETS, default=list(BUDGETS), help="equal steps, equal time")
    parser.add_argument("--minutes", type=float, default=12.0, help="of each training in equal time")
    parser.add_argument("--named", nargs="+", help="ids of photographs: train on all of these, and score nothing")
    numbers = {"steps": 1000, "folds": 5, "params": 62_500, "patch-size": 128, "patches-per-image": 125}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    args = grid.parse(parser, TINY)
    if not args.data:
        args.data = training.draw_set(args.out / "drive", 4)
        args.others = args.others or [training.draw_set(args.out / "others", 3, "generic")]
    args.groups = args.groups or [name for name, net in NETS.items() if args.others or not net.tuned]
    if not args.others and any(NETS[name].tuned for name in args.groups):
        parser.error("nets with -tuned go on from other data sets: give their folders with --others")
    try:
        samples = training.training_half(args.data)
        others = [sample for folder in args.others for sample in training.training_half(folder)]
        refuse_seen(others, samples)
        kept = ("steps", "minutes", "folds", "params", "patch_size", "patches_per_image", "named")
        settings = {
            "study": "labels",
            "images": training.names(samples),
            "images to start from": training.names(others),
        }
        grid.keep_settings(args.out, settings | {name: getattr(args, name) for name in kept})
        (train_named if args.named else study)(args, samples, others)
    except GesegError as error:
        parser.exit(1, f"geseg: {error}\n")


def refuse_seen(learned: list[Sample], scored: list[Sample]) -> None:
    """Raise ConfigError if a photograph that nets start from is one that is scored."""
    hashes = {sha256(sample.image) for sample in scored}
    if seen := [sample.image for sample in learned if sha256(sample.image) in hashes]:
        raise ConfigError(f"{seen[0]} of --others is one of the photographs to score; leave its data set out")


def study(args: argparse.Namespace, samples: list[Sample], others: list[Sample]) -> None:
    """Write the patches of each fold, and run the cells."""
    sides = training.split_folds(samples, args.folds)
    if (fewest := min(len(learned) for learned, _ in sides)) < max(args.amounts):
        raise ConfigError(f"a fold leaves {fewest} photographs to learn from; expected --amounts of at most as many")
    patches = [training.write_patches(cut(args, f"fold{fold}.h5"), *both) for fold, both in enumerate(sides)]
    axes = product(args.seeds, range(args.folds), args.budgets, dict.fromkeys((0, *args.amounts)), args.groups)
    cells = [
        Cell(net=net, amount=n, seed=seed, fold=fold, budget=budget)
        for seed, fold, budget, n, net in axes
        if n or (NETS[net].tuned and seed == args.seeds[0])
    ]
    measure = functools.partial(measure_cell, args=args, patches=patches, others=others)
    grid.run_cells(grid.in_order(cells, LEAD), args.out, measure, functools.partial(report, args))


def train_named(args: argparse.Namespace, samples: list[Sample], others: list[Sample]) -> None:
    """Train each net and seed on the named photographs, in equal steps, for somebody who has others to score."""
    learned = [sample for sample in samples if sample.id in args.named]
    if missing := sorted(set(args.named) - {sample.id for sample in learned}):
        raise ConfigError(f"{args.data} has no training photograph {missing[0]}; it has {samples[0].id} and so on")
    patches = training.write_patches(cut(args, "named.h5"), learned)
    for seed, name in product(args.seeds, args.groups):
        run = f"runs/{name}-seed{seed}"
        training.run(configure(args, name, patches, seed, run, others))
        print(f"{args.out / run}: geseg eval {args.out / run} {args.data} --split test")


def cut(args: argparse.Namespace, name: str) -> PrepareConfig:
    """How the patches of a file are cut; nobody validates."""
    sizes = {"patch_size": args.patch_size, "patches_per_image": args.patches_per_image}
    return PrepareConfig(sources=(args.data,), out=args.out / name, val_fraction=0.0, **sizes)


def configure(
    args: argparse.Namespace, name: str, patches: Path, seed: int, run: str, others: list[Sample]
) -> TrainConfig:
    """The training of a net, in equal steps and augmented as by default; what it goes on from is trained first."""
    net, start = NETS[name], None
    if net.tuned:
        start = args.out / "starts" / net.group
        learned = training.write_patches(cut(args, "others.h5"), others)
        before = configure(args, name.removesuffix("-tuned"), learned, 0, f"starts/{net.group}", [])
        training.run(dataclasses.replace(before, epochs=START * before.epochs))
    return TrainConfig(
        patches=patches,
        out=args.out / run,
        group=net.group,
        start=start,
        widths=net.widths(args.params),
        epochs=training.epochs_for(patches, args.steps),
        batch_size=training.BATCH,
        seed=seed,
        device=args.device,
        overwrite=True,  # of what was stopped before it could be scored
    )


def measure_cell(cell: Cell, args: argparse.Namespace, patches: list[Path], others: list[Sample]) -> Record:
    """Train a net on some photographs of a fold; the figures of each photograph that is only scored."""
    file = PatchFile.open(patches[cell.fold])
    config = configure(args, cell.net, file.path, cell.seed, f"runs/{cell.name}", others)
    trained, steps = (config.out, train_cell(cell, config, file, args.minutes)) if cell.amount else (config.start, 0)
    assert trained is not None, "only nets that go on from others learn from no photograph"
    model, wholes = models.load(trained, device=args.device), list(file.whole("test"))
    figures = {cell.net: scoring.score(wholes, model.segmenter.whole)}
    if cell.net == "plain":
        figures[TEST_TIME] = scoring.score(wholes, functools.partial(scoring.mean_of_moves, model))
    if cell.amount:  # what others go on from stays as it is
        (trained / STATE).unlink()
    return {"steps": steps, "figures": figures}


def train_cell(cell: Cell, config: TrainConfig, file: PatchFile, minutes: float) -> int:
    """Train on as many photographs as the cell says, in its budget; how many steps that took."""
    learned = sum(record.split == "train" for record in file.header.samples)
    config = dataclasses.replace(config, fraction=cell.amount / learned)
    if cell.budget == "time":
        config = dataclasses.replace(config, epochs=training.ENDLESS, minutes=minutes)
    return training.run(config)


def report(args: argparse.Namespace, records: list[Record]) -> None:
    """Write the results, the tables and the picture of what is there."""
    found = {(b, f): scoring.curves_of(records, b, f, args.folds, ROWS) for b, f in product(BUDGETS, scoring.FIGURES)}
    rows = [{"budget": b, "figure": f, **row} for (b, f), curves in found.items() for row in grid.rows(curves)]
    grid.write_json(args.out / "results.json", {"rows": rows, "cells": records})
    tables = [
        grid.table(curves, f"{scoring.FIGURES[name]} in {BUDGETS[budget]}, photographs") + "\n"
        for (budget, name), curves in found.items()
        if curves
    ]
    timed = [(record["cell"], record["steps"]) for record in records if record["cell"]["budget"] == "time"]
    taken = grid.gather(((c["net"], c["amount"], c["seed"], float(steps)) for c, steps in timed), ROWS)
    if taken:
        tables.append(grid.table(taken, "Steps in equal time (of n trainings), photographs", digits=0) + "\n")
    grid.write_text(args.out / "table.md", "\n".join([*tables, CITED.format(folds=args.folds).strip()]))
    y = f"Dice ({args.folds} folds of the training half)"
    panels = [Panel(words.capitalize(), "training photographs", y, found[b, "dice"]) for b, words in BUDGETS.items()]
    figure.draw(args.out / "curves.png", panels)


if __name__ == "__main__":
    main()
