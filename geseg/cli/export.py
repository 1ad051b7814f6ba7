"""`geseg export`: a trained model as one ONNX file of plain convolutions."""

from pathlib import Path
from typing import Annotated

import typer

from geseg.cli.console import choose_track, print_next_predict, say
from geseg.cli.options import Model, Overwrite, Quiet


def export(
    model: Model,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="ONNX file to write.", show_default="model.onnx beside the weights"),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Restrict an equivariant model to a plain convolutional net and write it as ONNX.

    Example: geseg export runs/drive-d4
    """
    from geseg.steps.export import ExportConfig, run

    result = run(ExportConfig(model=model, out=out, overwrite=overwrite), track=choose_track(quiet))
    say(
        f"{result.out}: same probabilities as the model up to {result.difference:.1e}; "
        f"any batch, height and width divisible by {result.divisor}"
    )
    print_next_predict(result.out)
