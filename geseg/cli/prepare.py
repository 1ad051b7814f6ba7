"""`geseg prepare`: from data set folders to one patch file."""

from pathlib import Path
from typing import Annotated

import typer

from geseg.cli.console import choose_track
from geseg.cli.options import Overwrite, Quiet, Seed


def prepare(
    sources: Annotated[list[Path], typer.Argument(help="Folders of data sets; each is recognised by its files.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Patch file to write.")] = Path("patches.h5"),
    patch_size: Annotated[int, typer.Option(help="Side of a training patch in pixels.")] = 128,
    patches_per_image: Annotated[int, typer.Option(help="Patches cut from each training image.")] = 125,
    val_fraction: Annotated[float, typer.Option(help="Share of the training people who validate; 0 for none.")] = 0.2,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Pack data sets into one file of training patches and whole validation and test images.

    Known are DRIVE, and any folder with images/ and masks/ (and fov/) that hold files of the same names; these may lie
    below train/ and test/.

    Example: geseg prepare drive/
    """
    from geseg.steps.prepare import PrepareConfig, run

    config = PrepareConfig(
        sources=tuple(sources),
        out=out,
        patch_size=patch_size,
        patches_per_image=patches_per_image,
        val_fraction=val_fraction,
        seed=seed,
        overwrite=overwrite,
    )
    result = run(config, track=choose_track(quiet))
    typer.echo(f"{result.out}: {'; '.join(result.contents())}")
    typer.echo(f"next: geseg train {result.out}")
