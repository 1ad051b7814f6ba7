"""`geseg eval`: a model's figures on whole images."""

import json as json_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from geseg.cli.console import choose_track, print_table
from geseg.cli.options import Device, Model, Overwrite, Patches, Quiet, Split

if TYPE_CHECKING:
    from geseg.steps.evaluate import EvalResult


SHORT = {"sensitivity": "sens.", "specificity": "spec.", "accuracy": "acc."}
"""Names of figures that are too long for a table on 80 columns."""


def evaluate(
    model: Model,
    patches: Patches = Path("patches.h5"),
    split: Annotated[Split | None, typer.Option(help="Images to score. [default: test if labelled, else val]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the figures of each image to this file.")] = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on whole images, inside the field of view.

    Example: geseg eval runs/drive-d4
    """
    from geseg.steps.evaluate import EvalConfig, run

    config = EvalConfig(
        model=model,
        patches=patches,
        split=None if split is None else split.value,
        csv=csv,
        device=device,
        overwrite=overwrite,
    )
    result = run(config, track=choose_track(quiet or json))
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if json:
        typer.echo(json_.dumps(result.as_json(), indent=2))
    else:
        _print(result)
        typer.echo(f"next: geseg export {model}")


def _print(result: "EvalResult") -> None:
    figures = list(result.mean("0.5"))
    rows = [
        [f"{score.record.dataset}/{score.record.id}", *(f"{score.figures('0.5')[f]:.4f}" for f in figures)]
        for score in result.images
    ]
    for name, value in result.thresholds.items():
        mean, std, pooled = result.mean(name), result.std(name), result.pooled(name)
        rows.append([f"mean at {value:g}", *(f"{mean[f]:.4f}" for f in figures)])
        rows.append(["  std", *(f"{std[f]:.4f}" for f in figures)])
        rows.append(["  pooled", *(f"{pooled[f]:.4f}" for f in figures)])
    print_table(["image, at 0.5", *(SHORT.get(figure, figure) for figure in figures)], rows)
    typer.echo(f"{result.protocol}; by {result.model} on {result.device}")
    typer.echo("mean and std are over images, pooled is all pixels together; ", nl=False)
    typer.echo(f"{result.thresholds['fixed']:g} is the threshold fixed on the model's validation images")
