"""`geseg eval`: figures of a model or of masks on whole photographs."""

import json as json_
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geseg.cli.console import choose_track, print_next, print_next_predict, print_table, say
from geseg.cli.options import Device, Overwrite, Quiet, Split, Turns
from geseg.files import printable

if TYPE_CHECKING:
    from geseg.steps.evalresult import EvalResult
    from geseg.steps.moving import Moved
    from geseg.steps.scores import Figures, Row

SHORT = {
    "dice": "Dice",
    "cldice": "clDice",
    "sensitivity": "sens.",
    "specificity": "spec.",
    "accuracy": "acc.",
    "mcc": "MCC",
    "auc": "AUC",
    "aupr": "AUPR",
    "ece": "ECE",
}
"""The figures of the table and their names on 80 columns; IoU, a function of Dice, is in the JSON and CSV only."""
REGIONS = {"fov": "inside the field of view", "all": "on all pixels"}


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(help="Run folder, model file or shipped, or a folder of masks or probability maps of any tool."),
    ],
    truths: Annotated[Path, typer.Argument(metavar="[SOURCE]", help="Patch file, or the folder of a data set.")] = Path(
        "patches.h5"
    ),
    split: Annotated[
        Split | None, typer.Option(help="Images to score.", show_default="test if labelled, else val, else train")
    ] = None,
    equivariance: Annotated[
        bool, typer.Option("--equivariance", help="Also score turned and mirrored photographs, every 15 degrees.")
    ] = False,
    beside: Annotated[
        Path | None, typer.Option(help="Another model for the table of --equivariance, such as a plain one.")
    ] = None,
    turns: Turns = 1,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the figures of each image to this file.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for index.html: figures, curves and all photographs to look at.")
    ] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Score a model, or masks of any origin, on whole photographs.

    Inside the field of view and on all pixels, per image and pooled, beside the second observer where there is one.
    Files in a folder of masks belong to the photographs whose names they have.

    Example: geseg eval runs/drive-d4 --report reports/drive-d4
    """
    from geseg.steps.evaluate import EvalConfig, run

    config = EvalConfig(
        model=model,
        truths=truths,
        split=None if split is None else split.value,
        equivariance=equivariance,
        beside=beside,
        turns=turns,
        csv=csv,
        report=report,
        device=device,
        overwrite=overwrite,
    )
    result = run(config, track=choose_track(quiet or json))
    for note in result.notes:
        typer.echo(f"note: {printable(note)}", err=True)
    if json:
        typer.echo(json_.dumps(result.as_json(), indent=2))
    else:
        _print_all(result, model, turns)


def _print_all(result: "EvalResult", model: Path, turns: int) -> None:
    from geseg.steps.runfolder import ONNX

    _print_images(result)
    for dataset in result.summaries:
        _print_summary(result, dataset)
    if result.moved:
        _print_moved(result)
    if result.report is not None:
        say(f"{result.report}: the same to look at, with the photographs; open it in a browser")
    say(f"{result.protocol}; by {result.model} on {result.made_by}")
    typer.echo("mean and std are over images, pooled is all pixels together", nl=False)
    fixed = result.thresholds.get("fixed")
    typer.echo("" if fixed is None else f"; {fixed:g} is the threshold in the model's file")
    if result.model.suffix == ".onnx" or result.model.with_name(ONNX).is_file():
        print_next_predict(model, turns)
    elif fixed is not None:
        print_next("export", model)


def _print_images(result: "EvalResult") -> None:
    rows = [
        [f"{image.dataset}/{image.id}", *_cells(figures)]
        for image in result.images
        for row, figures in image.rows.items()
        if (row.by, row.region, row.at) == ("model", "fov", "0.5")
    ]
    print_table(["image, at 0.5", *SHORT.values()], rows)


def _print_summary(result: "EvalResult", dataset: str) -> None:
    for region, words in REGIONS.items():
        rows = [
            line
            for row, summary in result.summaries[dataset].items()
            if row.region == region and not result.repeats(row.at)
            for line in (
                [_title(result, dataset, row), *_cells(summary.mean)],
                ["  std", *_cells(summary.std)],
                ["  pooled", *_cells(summary.pooled)],
            )
        ]
        say(f"{dataset}, {words}")
        print_table(["", *SHORT.values()], rows)


def _title(result: "EvalResult", dataset: str, row: "Row") -> str:
    if row.by == "model":
        return f"mean at {result.thresholds[row.at]:g}"
    return row.by + result.how_few(dataset, row)


def _print_moved(result: "EvalResult") -> None:
    _print_moves(result.moved)
    if result.beside is not None:
        say(f"beside it {result.beside.model} on {result.beside.made_by}")
        _print_moves(result.beside.moved)
    typer.echo("differences of probability, and share of the mask at 0.5, to the map of the unmoved photograph;")
    typer.echo("* between pixels: the photograph is interpolated, which alone changes a map")


def _print_moves(moved_rows: "Sequence[Moved]") -> None:
    rows = [
        [
            moved.move + ("" if moved.exact else " *"),
            *map(_short, (moved.dice, moved.auc)),
            *(f"{value:.1e}" for value in (moved.mean_difference, moved.max_difference, moved.flipped)),
        ]
        for moved in moved_rows
    ]
    print_table(["photograph moved by", "Dice", "AUC", "mean diff.", "max diff.", "mask flipped"], rows)


def _cells(figures: "Figures") -> Iterator[str]:
    return (_short(figures[name]) for name in SHORT)


def _short(value: float) -> str:
    """Four decimals without the zero before the point, as the field's tables have them."""
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"
