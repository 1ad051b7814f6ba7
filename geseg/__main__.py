"""Lets `python -m geseg` do what `geseg` does."""

from geseg.cli.app import main

main()
