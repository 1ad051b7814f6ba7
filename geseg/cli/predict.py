"""`geseg predict`: photographs to masks."""

from pathlib import Path
from typing import Annotated

import typer

from geseg.cli.console import choose_track
from geseg.cli.options import Device, Engine, Overwrite, Quiet


def predict(
    images: Annotated[Path, typer.Argument(help="Folder of images, or one image.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the masks, 8-bit PNG with 0 and 255.")],
    model: Annotated[Path | None, typer.Option(help="Run folder, .onnx or .safetensors file.")] = None,
    engine: Annotated[Engine, typer.Option(help="auto: onnx where the model is exported.")] = Engine.auto,
    device: Device = "auto",
    probabilities: Annotated[Path | None, typer.Option(help="Folder for probabilities, 16-bit PNG.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Folder for photographs with the mask drawn in.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Probability in (0, 1). [default: the model's own]")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too, kept in the output.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Segment a folder of photographs of any size.

    Example: geseg predict images/ -o masks/ --model runs/drive-d4
    """
    from geseg.steps.predict import PredictConfig, run

    config = PredictConfig(
        images=images,
        out=out,
        model=model,
        engine=engine.value,
        device=device,
        probabilities=probabilities,
        overlay=overlay,
        threshold=threshold,
        recursive=recursive,
        overwrite=overwrite,
    )
    result = run(config, track=choose_track(quiet))
    typer.echo(f"{out}: {result.written} masks at threshold {result.threshold:g}, by {result.model} on {result.device}")
    for failure in result.failures:
        typer.echo(f"geseg: {failure}", err=True)
    if result.failures:
        typer.echo(f"geseg: {len(result.failures)} images could not be segmented, as listed above", err=True)
        raise typer.Exit(1)
