"""How well the recipe of the shipped weights does on photographs that it has not seen.

    python examples/validate_recipe.py drive/ chasedb1/ stare/ hrf/ -o validation

Asked: what may be expected of a net that train_weights.py makes of the training halves of several data sets? Three
times, each on photographs (of people) that the net has not seen:

- folds: trained on all sets but a fifth of the people of each, scored on these: cameras and annotators that are known;
- left out: trained on all sets but one, scored on that one: a camera and an annotator that are not;
- only: trained on the first set alone (or the one that `--only` names), scored on the others.

An answer: mean Dice, AUC and clDice per set inside the field of view, at the threshold of the net's file. As in
train_weights.py, it is fixed on a tenth of the training people, and so is the scale at which other cameras are
segmented; with `--val-fraction 0` it is 0.5, and the field of view alone decides the scale. Test halves are not read.

Writes results.json and table.md after each training; started again, it goes on where it stopped.
"""

import argparse
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from studies import grid, recipe, scoring, training
from studies.grid import Record
from studies.training import Sides

from geseg.data.patchfile import PatchFile
from geseg.data.samples import Sample
from geseg.errors import ConfigError, GesegError
from geseg.steps import models
from geseg.steps.prepare import PrepareConfig
from geseg.steps.runfolder import STATE
from geseg.steps.trainconfig import TrainConfig

TINY = {"patch_size": 32, "patches_per_image": 8, "epochs": [1, 1], "camera_epochs": 1}
TINY |= {"folds": 2, "params": training.TINY_PARAMS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One training: which of the three it belongs to, and which part of that it is."""

    protocol: str
    part: str
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.protocol}-{self.part}-seed{self.seed}".replace(" ", "-")


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*", help="folders of the data sets")
    parser.add_argument("--only", help="name of the set of the last of the three, such as drive (default: the first)")
    parser.add_argument("--group", default="d4", help="default: %(default)s")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--val-fraction", type=float, default=0.1, help="of the training people (default: %(default)s)")
    parser.add_argument("--epochs", type=int, nargs="+", default=[8, 4], help="of each cycle (default: 8 4)")
    camera = "of one that varies the camera; 0: none (default: %(default)s)"
    parser.add_argument("--camera-epochs", type=int, default=4, help=camera)
    numbers = {"patch-size": 256, "patches-per-image": 64, "batch-size": 4, "folds": 5, "params": 62_500}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help="default: %(default)s")
    args = grid.parse(parser, TINY)
    if not args.data:
        args.data = [training.draw_set(args.out / "drive", 4), training.draw_set(args.out / "eyes", 3, "generic")]
    try:
        validate(args)
    except GesegError as error:
        parser.exit(1, f"geseg: {error}\n")


def validate(args: argparse.Namespace) -> None:
    """Run the trainings that are missing."""
    sets = {half[0].dataset: half for half in map(training.training_half, args.data)}
    args.only = args.only or next(iter(sets))
    if args.only not in sets:
        raise ConfigError(f"--only names {args.only}; expected one of {', '.join(sets)}")
    names = (
        "group",
        "epochs",
        "camera_epochs",
        "folds",
        "val_fraction",
        "patch_size",
        "patches_per_image",
        "batch_size",
    )
    images = [sample for half in sets.values() for sample in half]
    kept = {"study": "recipe", "only": args.only, "images": training.names(images), "params": args.params}
    grid.keep_settings(args.out, kept | {name: getattr(args, name) for name in names})
    sides = {(protocol, part): both for protocol, part, both in parts(args, sets)}
    cells = [Part(protocol=protocol, part=part, seed=seed) for seed, (protocol, part) in product(args.seeds, sides)]
    measure = functools.partial(measure_part, args=args, sides=sides)
    grid.run_cells(cells, args.out, measure, functools.partial(report, args.out))


def parts(args: argparse.Namespace, sets: dict[str, list[Sample]]) -> Iterator[tuple[str, str, Sides]]:
    """Who learns and who is scored: the folds of all sets together, each set left out, and one set only."""
    everybody = [sample for half in sets.values() for sample in half]
    for number, both in enumerate(training.split_folds(everybody, args.folds), 1):
        yield f"{args.folds} folds", str(number), both
    if len(sets) > 1:
        for name, half in sets.items():
            yield "left out", name, ([sample for sample in everybody if sample.dataset != name], half)
        yield f"{args.only} only", args.only, (sets[args.only], [s for s in everybody if s.dataset != args.only])


def measure_part(part: Part, args: argparse.Namespace, sides: dict[tuple[str, str], Sides]) -> Record:
    """Prepare, train, and score each photograph of the other side."""
    patches, run = args.out / "patches" / f"{part.name}.h5", args.out / "runs" / part.name
    packed = PrepareConfig(
        sources=tuple(args.data),
        out=patches,
        patch_size=args.patch_size,
        patches_per_image=args.patches_per_image,
        val_fraction=args.val_fraction,
    )
    training.write_patches(packed, *sides[part.protocol, part.part])
    config = TrainConfig(
        patches=patches,
        out=run,
        group=args.group,
        params=args.params,
        overwrite=True,  # of what was stopped before it could be scored
        batch_size=args.batch_size,
        seed=part.seed,
        device=args.device,
    )
    steps = recipe.run(config, args.epochs, args.camera_epochs)
    model = models.load(run, device=args.device)
    with PatchFile.open(patches) as file:
        figures = scoring.score(file.whole("test"), model.segmenter.whole, model.threshold)
    for path in (patches, run / STATE, *run.parent.glob(f"{run.name}-*/{STATE}")):
        path.unlink(missing_ok=True)  # patches of all sets are large, and no other training needs these
    return {"steps": steps, "threshold": model.threshold, "figures": figures}


def report(out: Path, records: list[Record]) -> None:
    """Write the results and the table of what is there: means over all photographs (and seeds) of a set."""
    images: dict[tuple[str, str], list[dict[str, float]]] = {}
    thresholds: dict[tuple[str, str], set[float]] = {}
    for record in records:
        for name, figures in record["figures"].items():
            key = (record["cell"]["protocol"], name.partition("/")[0])
            images.setdefault(key, []).append(figures)
            thresholds.setdefault(key, set()).add(record["threshold"])
    rows: list[Record] = [
        {"protocol": protocol, "scored": dataset, "images": len(found), "thresholds": sorted(thresholds[key])}
        | {name: float(np.mean([figures[name] for figures in found])) for name in scoring.FIGURES}
        for key, found in images.items()
        for protocol, dataset in [key]
    ]
    grid.write_json(out / "results.json", {"rows": rows, "parts": records})
    lines = ["| Trained | Scored | Photographs | Threshold | " + " | ".join(scoring.FIGURES.values()) + " |"]
    lines.append("|" + " --- |" * (4 + len(scoring.FIGURES)))
    for row in rows:
        threshold = " to ".join(f"{value:g}" for value in dict.fromkeys((row["thresholds"][0], row["thresholds"][-1])))
        cells = [row["protocol"], row["scored"], str(row["images"]), threshold]
        lines.append(f"| {' | '.join(cells + [f'{row[name]:.4f}' for name in scoring.FIGURES])} |")
    grid.write_text(out / "table.md", "\n".join(lines))


if __name__ == "__main__":
    main()
