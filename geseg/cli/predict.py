"""`geseg predict`: photographs to masks."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from geseg.cli.console import choose_track, say
from geseg.cli.interrupt import Interrupt, typed_again
from geseg.cli.options import Device, Engine, Overwrite, Quiet, Turns
from geseg.files import printable


class PredictCommand(TyperCommand):
    """`--ray` without a value means `--ray local`: Typer has no options whose value may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - a class of Typer's without a public name
        for place in range(len(args), 0, -1):
            if args[place - 1] == "--ray" and (place == len(args) or args[place].startswith("-")):
                args = [*args[:place], "local", *args[place:]]
        return super().parse_args(ctx, args)


def predict(
    images: Annotated[Path, typer.Argument(help="Folder of images, or one image.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the masks, 8-bit PNG with 0 and 255.")],
    model: Annotated[
        Path, typer.Option(help="Run folder, .onnx or .safetensors file; shipped: the weights inside geseg.")
    ] = Path("shipped"),
    engine: Annotated[Engine, typer.Option(help="auto: the fastest one for model and device.")] = Engine.auto,
    device: Device = "auto",
    probabilities: Annotated[Path | None, typer.Option(help="Folder for probabilities, 16-bit PNG.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Folder for photographs with the mask drawn in.")] = None,
    skeleton: Annotated[Path | None, typer.Option(help="Folder for centre lines of the vessels, 1-bit PNG.")] = None,
    measure: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Table of the vessels' density, length, width and others.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability in (0, 1).", show_default="the model's own")
    ] = None,
    turns: Turns = 1,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too, kept in the output.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="Only the K-th of N parts of the folder, for job arrays.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on a Ray cluster: --ray=auto, --ray=HOST:PORT; on one made here with --ray as the last word.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Segment a folder of photographs of any size.

    What is done is not done again: the same command goes on where it was interrupted. MASKS/report.json has a row for
    each photograph: how sure the network is, and whether somebody should look at the mask, and why.

    Example: geseg predict images/ -o masks/
    """
    from geseg.steps.predict import PredictConfig, run
    from geseg.steps.shards import Shard

    config = PredictConfig(
        images=images,
        out=out,
        model=model,
        engine=engine.value,
        device=device,
        probabilities=probabilities,
        overlay=overlay,
        skeleton=skeleton,
        measure=measure,
        threshold=threshold,
        turns=turns,
        recursive=recursive,
        shard=None if shard is None else Shard.parse(shard),
        overwrite=overwrite,
        ray=ray,
    )
    with Interrupt(again=typed_again(), kill=ray is None) as interrupt:  # a cluster made here has to be ended
        result = run(config, track=choose_track(quiet), stop=interrupt.wanted)
    done = f"{result.written} masks" + (f", {result.done_before} were done already," if result.done_before else "")
    say(f"{out}: {done} at threshold {result.threshold:g}, by {result.model} on {result.device}")
    if result.report:
        say(f"{result.report}: {result.to_review} of {result.written + result.done_before} photographs need a look")
    for line in (*result.notes, *result.failures):
        typer.echo(f"geseg: {printable(line)}", err=True)
    if result.failures:
        typer.echo(f"geseg: {len(result.failures)} images could not be segmented, as listed above", err=True)
    if result.waiting and interrupt.received:
        name = interrupt.received.name
        typer.echo(f"geseg: {name} with {result.waiting} images left; the same command goes on with them", err=True)
        raise typer.Exit(128 + interrupt.received)
    if result.failures:
        raise typer.Exit(1)
