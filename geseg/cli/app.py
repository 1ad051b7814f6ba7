"""Registers the commands; the only place that knows exit codes."""

import errno
import functools
import os
from collections.abc import Callable
from typing import Annotated, ParamSpec

import typer

import geseg
from geseg.cli.evaluate import evaluate
from geseg.cli.export import export
from geseg.cli.info import info
from geseg.cli.predict import PredictCommand, predict
from geseg.cli.prepare import prepare
from geseg.cli.train import train
from geseg.errors import GesegError
from geseg.files import printable

P = ParamSpec("P")
UNREACHABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)

app = typer.Typer(
    name="geseg",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # a traceback is a bug of ours: the plain one is what a report needs
)


@app.callback()
def main_options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.", is_eager=True)] = False,
) -> None:
    """Segment vessels and other thin structures with U-Nets that are equivariant under rotations and reflections."""
    if version:
        typer.echo(f"geseg {geseg.__version__}")
        raise typer.Exit


def report_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a GesegError into one line on stderr and its exit code."""

    @functools.wraps(command)  # keeps the signature, from which Typer reads the options
    def reporting(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except GesegError as error:  # anything else is a bug of ours and keeps its traceback
            if not error.told:
                typer.echo(f"geseg: {printable(str(error))}", err=True)
            raise typer.Exit(error.exit_code) from error
        except OSError as error:  # asking for a file in a folder of somebody else, wherever that is asked
            if error.errno not in UNREACHABLE or error.filename is None:
                raise
            name = printable(os.fsdecode(error.filename))
            typer.echo(
                f"geseg: cannot reach {name}: {error.strerror}; choose another place, or make it readable", err=True
            )
            raise typer.Exit(1) from error

    return reporting


COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": prepare,
    "train": train,
    "eval": evaluate,
    "export": export,
    "predict": predict,
    "info": info,
}
for name, command in COMMANDS.items():
    app.command(name, cls=PredictCommand if command is predict else None)(report_errors(command))


def main() -> None:
    """Run the command line."""
    app(prog_name="geseg")
