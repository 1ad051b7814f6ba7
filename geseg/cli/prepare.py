"""`geseg prepare`: from data set folders to one patch file."""

from pathlib import Path
from typing import Annotated

import typer

from geseg.cli.console import choose_track, print_next, say
from geseg.cli.interrupt import Interrupt, typed_again
from geseg.cli.options import Overwrite, Quiet, Seed
from geseg.files import printable


def prepare(
    sources: Annotated[list[Path], typer.Argument(help="Folders of data sets; each is recognised by its files.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Patch file to write.")] = Path("patches.h5"),
    patch_size: Annotated[int, typer.Option(help="Side of a training patch in pixels.")] = 128,
    patches_per_image: Annotated[int, typer.Option(help="Patches cut from each training image.")] = 125,
    diameter: Annotated[
        int,
        typer.Option(help="Pixels; training photographs with a field of view wider by a tenth are reduced to it."),
    ] = 1600,
    val_fraction: Annotated[float, typer.Option(help="Share of the training people who validate, in [0, 1).")] = 0.2,
    protocols: Annotated[
        list[str],
        typer.Option("--protocol", metavar="NAME", help="Split to follow; once per data set that has several."),
    ] = (),  # type: ignore[assignment]  # the step's default, for which Typer gives an empty list
    orientation_shift: Annotated[
        bool, typer.Option("--orientation-shift", help="Train on vessels of some directions, test on the others.")
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Pack data sets into one file of training patches and whole validation and test images.

    Known are DRIVE, CHASEDB1 (splits 8/20, 20/8), STARE, HRF, PRIME-FP20 (fold1 to fold5), FIVES and LES-AV;
    folders with images/ and masks/ (and fov/) that hold files of the same names, also below train/ and test/;
    and folders with a samples.csv of the columns image,label and perhaps fov,second,person,split.

    With --orientation-shift, train and val hold patches in which most vessels run at 0 or 45 degrees, and test (people
    held out if no test labels are there) patches of 90 or 135: what a net must know about rotations to do well on.

    Example: geseg prepare drive/
    """
    with Interrupt(again=typed_again()) as interrupt:
        from geseg.steps.prepare import PrepareConfig, run

        config = PrepareConfig(
            sources=tuple(sources),
            out=out,
            patch_size=patch_size,
            patches_per_image=patches_per_image,
            diameter=diameter,
            val_fraction=val_fraction,
            protocols=tuple(protocols),
            orientation_shift=orientation_shift,
            seed=seed,
            overwrite=overwrite,
        )
        result = run(config, track=choose_track(quiet), stop=interrupt.wanted)
    say(f"{result.out}: {'; '.join(result.contents())}")
    for line in result.notes:
        typer.echo(f"geseg: {printable(line)}", err=True)
    print_next(*(("train",) if result.trains else ("eval", "MODEL")), result.out)
