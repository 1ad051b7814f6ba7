"""Options that several commands share, so that they read and mean the same everywhere."""

from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists at the output.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn at random.")]
