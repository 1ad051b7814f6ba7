"""`geseg train`: from a patch file to a run folder with a model."""

import math
from pathlib import Path
from typing import Annotated

import typer

from geseg.cli.console import choose_view, print_next, print_next_predict, say
from geseg.cli.interrupt import Interrupt, typed_again
from geseg.cli.options import Device, FractionOf, GroupName, Loss, Overwrite, Patches, Precision, Quiet, Seed


def train(
    patches: Patches = Path("patches.h5"),
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Run folder to write.", show_default="runs/NAME")
    ] = None,
    group: Annotated[
        GroupName,
        typer.Option(
            case_sensitive=False, help="Symmetry: cN turns by 360/N degrees, dN mirrors, too; c1 is a plain U-Net."
        ),
    ] = GroupName.d4,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Model to go on from: a run folder, a .safetensors file or shipped."),
    ] = None,
    params: Annotated[int, typer.Option(min=1, help="Learned parameters, met within 2 % by the widths.")] = 62_500,
    widths: Annotated[str | None, typer.Option(help="Fields per level instead, such as 3,6,10,18.")] = None,
    fraction: Annotated[float, typer.Option(help="Share of the training images to learn from, in (0, 1].")] = 1.0,
    fraction_of: Annotated[FractionOf, typer.Option(help="What the fraction counts.")] = FractionOf.images,
    loss: Annotated[Loss, typer.Option(help="Loss inside the field of view.")] = Loss.dice_bce,
    colour: Annotated[bool, typer.Option(help="Vary brightness, contrast, colour and texture.")] = True,
    camera: Annotated[bool, typer.Option("--camera", help="Vary sharpness and noise, too, for other cameras.")] = False,
    scale: Annotated[bool, typer.Option(help="Vary the scale from 0.67 to 2.5.")] = True,
    mirror: Annotated[bool, typer.Option(help="Mirror at random.")] = True,
    rotation: Annotated[bool, typer.Option(help="Turn by random angles.")] = True,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over as many patches as the file has.")] = 12,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Finish within this many minutes.")] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Patches per step.")] = 8,
    learning_rate: Annotated[
        float | None,
        typer.Option(min=1e-6, help="Peak learning rate of AdamW.", show_default="0.02; with --from 0.002"),
    ] = None,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without a better Dice before stopping.")] = 10,
    seed: Seed = 0,
    device: Device = "auto",
    precision: Annotated[Precision, typer.Option(help="auto: bf16 where the hardware has it.")] = Precision.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the run folder.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train an equivariant U-Net on a patch file.

    Ctrl-C or SIGTERM stop it after the current step; --resume goes on with the next one. `torchrun --nproc-per-node 2
    -m geseg train ...` trains on several processes, each with a GPU of its own where there are some.

    Example: geseg train --group d4 --fraction 0.25
    """
    with Interrupt("step", typed_again(without=["--overwrite"], more="--resume")) as interrupt:
        from geseg.data.augment import Augmentation
        from geseg.steps.distributed import is_first
        from geseg.steps.train import run
        from geseg.steps.trainconfig import TrainConfig

        config = TrainConfig(
            patches=patches,
            out=out,
            group=group.value,
            start=start,
            params=params,
            widths=_parse_widths(widths),
            fraction=fraction,
            fraction_of=fraction_of.value,
            loss=loss.value,
            augmentation=Augmentation(colour=colour, camera=camera, scale=scale, mirror=mirror, rotation=rotation),
            epochs=epochs,
            minutes=minutes,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience,
            seed=seed,
            device=device,
            precision=precision.value,
            resume=resume,
            overwrite=overwrite,
        )
        with choose_view(quiet or not is_first()) as (track, watch):
            result = run(config, track, watch, interrupt.wanted)
    if not is_first():
        return
    say(f"{result.model}: {result.description}")
    if math.isnan(result.dice):
        typer.echo(
            f"no validation images: weights of the last epoch, {result.best_epoch}; threshold {result.threshold:g}"
        )
    else:
        typer.echo(
            f"validation Dice {result.dice:.4f} at threshold 0.5, epoch {result.best_epoch}; "
            f"fixed threshold {result.threshold:g}"
        )
    typer.echo(f"{result.model.with_name('curves.png')}: loss and validation Dice of the epochs")
    if math.isnan(result.dice):  # the patch file may hold no image to score
        print_next_predict(result.model.parent)
    else:
        print_next("eval", result.model.parent, patches)


def _parse_widths(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of whole numbers such as 3,6,10,18") from None
